"""The registry of the book's numbered equations: where each stands, which code implements it, which test verifies it.

A chapter writes `$$ ... $$ (vae-elbo)`; the code that computes it says `Implements: vae-elbo` in its docstring; the
test that verifies it carries `@pytest.mark.equation("vae-elbo")`. Everything is read from the sources, nothing is
imported. `Registry.problems` says what does not fit together, `Registry.page` is the index that the book shows.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

FENCE = re.compile(
    r"^(?P<marks>`{3,}|~{3,}|:{3,})(?P<info>[^\n]*)\n.*?^(?P=marks)[ \t]*$", re.MULTILINE | re.DOTALL
)
MATH_FENCE = re.compile(r"^[ \t]*[`~:]{3,}[ \t]*\{math\}", re.MULTILINE)
DISPLAY = re.compile(r"\$\$.*?\$\$(?:[ \t]*\((?P<label>[^()\s]+)\))?", re.DOTALL)
CITATION = re.compile(r"\{eq\}`(?:[^`<]*<)?([^`<>]+)>?`")
IMPLEMENTS = re.compile(r"^\s*Implements:(.*)$", re.MULTILINE)


@dataclass
class Registry:
    """What the sources of one repository say about equations.

    Attributes:
        chapters: label -> notebook (path from the root), in the order of the book.
        titles: notebook -> its first heading.
        code: label -> the objects that implement it, as `course_lib.models.vae.VAE.elbo`.
        tests: label -> the tests that verify it, as `tests/test_vae.py::test_elbo`.
        faults: what is wrong by itself, found while reading.
        cited: (label, file) of each reference to an equation.
    """

    chapters: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    code: dict[str, list[str]] = field(default_factory=dict)
    tests: dict[str, list[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    cited: list[tuple[str, str]] = field(default_factory=list)

    def problems(self) -> list[str]:
        """One sentence for each thing to mend; empty when the book, the code and the tests agree."""
        found = list(self.faults)
        for label, where in self.cited:
            if label not in self.chapters:
                found.append(f"{where}: cites the equation {label!r}, which no chapter defines")
        for label, objects in self.code.items():
            if label not in self.chapters:
                found.append(f"{objects[0]}: implements {label!r}, an equation that no chapter defines")
            elif label not in self.tests:
                found.append(
                    f'{objects[0]}: implements {label!r}, and no test has @pytest.mark.equation("{label}")'
                )
        for label, tests in self.tests.items():
            if label not in self.chapters:
                found.append(f"{tests[0]}: verifies {label!r}, an equation that no chapter defines")
        return found

    def page(self) -> str:
        """The index as MyST text: one table per chapter, each number a link to its equation."""
        lines = []
        for chapter in dict.fromkeys(self.chapters.values()):
            lines += [f"## {self.titles.get(chapter, chapter)}", ""]
            lines += ["| Equation | Label | Code, and the test that verifies it |", "|:--|:--|:--|"]
            for label in (label for label, home in self.chapters.items() if home == chapter):
                names = "<br>".join(
                    f"`{name}`" for name in self.code.get(label, []) + self.tests.get(label, [])
                )
                lines.append(f"| {{eq}}`{label}` | `{label}` | {names} |")
            lines.append("")
        return "\n".join(lines)


def read(root: Path) -> Registry:
    """Read the registry from the notebooks, pages, library and tests under `root`."""
    registry = Registry()
    for folder in ("notebooks", "exercises", "solutions"):
        for path in sorted((root / folder).glob("*.ipynb")):
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "markdown":
                    _read_text(registry, cell.source, path.relative_to(root).as_posix())
    for path in sorted((root / "book").glob("*.md")):
        _read_text(registry, path.read_text(encoding="utf-8"), path.relative_to(root).as_posix())
    for path in sorted((root / "course_lib").rglob("*.py")):
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for name, node in _definitions(ast.parse(path.read_text(encoding="utf-8")), module):
            for line in IMPLEMENTS.findall(ast.get_docstring(node) or ""):
                for label in (part.strip(" `.") for part in line.split(",")):
                    registry.code.setdefault(label, []).append(name)
    for path in sorted((root / "tests").rglob("test_*.py")):
        where = path.relative_to(root).as_posix()
        for name, node in _definitions(ast.parse(path.read_text(encoding="utf-8")), ""):
            for label in _marked(node):
                registry.tests.setdefault(label, []).append(f"{where}::{name.strip('.').replace('.', '::')}")
    return registry


def _read_text(registry: Registry, text: str, where: str) -> None:
    """Take the equations and the citations of one Markdown text."""
    chapter = re.fullmatch(r"notebooks/\d+_(\w+)\.ipynb", where)
    if title := re.match(r"# (.+)", text):
        registry.titles.setdefault(where, title[1])
    # Directives hold text; plain fences and backticks hold code, where a label is only an example.
    text = FENCE.sub(lambda fence: fence[0] if fence["info"].strip().startswith("{") else "", text)
    registry.cited += [(label, where) for label in CITATION.findall(text)]
    if MATH_FENCE.search(text):
        registry.faults.append(
            f"{where}: an equation in a {{math}} fence; write $$ ... $$ (label), Colab shows that too"
        )
    text = re.sub(r"`[^`\n]*`", "", text)
    for label in filter(None, (display["label"] for display in DISPLAY.finditer(text))):
        if not chapter:
            registry.faults.append(
                f"{where}: defines the equation {label!r}; numbered equations stand in chapters only"
            )
        elif label in registry.chapters:
            registry.faults.append(f"{where}: defines {label!r} again, after {registry.chapters[label]}")
        else:
            registry.chapters[label] = where
            words = {chapter[1], *chapter[1].split("_")}
            if label.split("-")[0] not in words:
                registry.faults.append(
                    f"{where}: the label {label!r} does not start with '{chapter[1]}-' or one of its words"
                )


def _definitions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.AST]]:
    """A module, its classes and functions and theirs, each with its dotted name."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        if not isinstance(node, ast.Module):
            prefix = f"{prefix}.{node.name}"
        yield prefix, node
    for child in ast.iter_child_nodes(node):
        yield from _definitions(child, prefix)


def _marked(node: ast.AST) -> list[str]:
    """The labels of `pytest.mark.equation(...)` among the decorators of a test (parametrised cases included)."""
    calls = (call for mark in getattr(node, "decorator_list", []) for call in ast.walk(mark))
    return [
        argument.value
        for call in calls
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "equation"
        for argument in call.args
        if isinstance(argument, ast.Constant)
    ]
