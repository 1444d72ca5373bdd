"""What the book's pages need beyond Jupyter Book: numbers by chapter, and no launch buttons that lead nowhere."""

import re

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


def drop_launch_buttons(app: Sphinx) -> None:
    """While the repository's address is a placeholder, Colab and Binder buttons would lead nowhere."""
    options = app.config.html_theme_options
    if PLACEHOLDER in options["repository_url"]:
        options["launch_buttons"] = {}


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", drop_launch_buttons, priority=100)
    app.connect("env-check-consistency", number_by_chapter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
