"""What the book's pages need beyond Jupyter Book.

Numbers by chapter, no comma alone at the start of a line, and no launch buttons that lead nowhere.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

PLACEHOLDER = "OWNER/REPOSITORY"


def number_by_chapter(app: Sphinx, env: BuildEnvironment) -> None:
    """Number equations, theorems and figures 5.1, 5.2 ... in notebooks/05_*.

    Sphinx's own numbers by section would number the chapters of the table of contents from 1, also while some of
    the course's chapters are missing, and print that number before titles that carry theirs.
    """
    for page, kinds in env.toc_fignumbers.items():
        if chapter := re.match(r"notebooks/(\d+)_", page):
            for numbers in kinds.values():
                numbers.update({label: (int(chapter[1]), i) for i, label in enumerate(numbers, 1)})


def keep_punctuation(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Tie a formula in a line to the punctuation around it: a browser may break the line at either side of a formula."""
    for formula in list(tree.findall(nodes.math)):
        parent, place = formula.parent, formula.parent.index(formula)
        before, after = (parent[i] if 0 <= i < len(parent) else None for i in (place - 1, place + 1))
        opens = isinstance(before, nodes.Text) and before.endswith("(")
        closes = isinstance(after, nodes.Text) and re.match(r"[-.,:;!?)\]’”]+", after)
        if not (opens or closes):
            continue
        together = nodes.inline(classes=["formula"])
        parent.replace(formula, together)
        if opens:
            parent.replace(before, nodes.Text(before[:-1]))
            together += nodes.Text("(")
        together += formula
        if closes:
            parent.replace(after, nodes.Text(after[closes.end() :]))
            together += nodes.Text(closes[0])


def drop_launch_buttons(app: Sphinx) -> None:
    """While the repository's address is a placeholder, Colab and Binder buttons would lead nowhere."""
    options = app.config.html_theme_options
    if PLACEHOLDER in options["repository_url"]:
        options["launch_buttons"] = {}


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", drop_launch_buttons, priority=100)
    app.connect("env-check-consistency", number_by_chapter)
    app.connect("doctree-resolved", keep_punctuation)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
