"""The shape that all notebooks share: format, cell ids, stripped outputs, the chapters' sections."""

import re
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = (
    "The question",
    "The oracle",
    "The derivation",
    "The code",
    "The experiment",
    "What goes wrong",
    "Images",
    "In the source",
    "Summary",
    "Exercises",
    "Further reading",
)
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OTHERS = [path for folder in ("exercises", "solutions") for path in sorted((ROOT / folder).glob("*.ipynb"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", CHAPTERS + OTHERS, ids=name)
def test_format(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell_id in ids:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", cell_id), (
            f"{cell_id!r}: say what the cell is, as in 'elbo-code'"
        )
        assert not re.fullmatch(r"[0-9a-f]{8}", cell_id), f"{cell_id!r} is a random id: name it"


@pytest.mark.parametrize(
    "path", [path for path in CHAPTERS + OTHERS if path.parent.name != "solutions"], ids=name
)
def test_outputs_are_stripped(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [], f"cell {cell.id!r} holds outputs: clear them before you commit"
            assert cell.execution_count is None, f"cell {cell.id!r} holds an execution count: clear it"


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_chapter_has_the_common_shape(path):
    cells = nbformat.read(path, as_version=4).cells
    number = path.stem.split("_")[0]
    assert cells[0].id == "title"
    assert cells[0].source.startswith(f"# {number} "), "the title is a heading with the chapter's number"
    assert [cell.id for cell in cells[1:4]] == ["links", "outcomes", "setup"]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, "one title"
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [section for heading in headings for section in SECTIONS if heading.startswith(section)] == [
        *SECTIONS
    ]
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert "plt.show(" not in code, "viz.show gives a figure its caption and its alt text"


@pytest.mark.parametrize("path", CHAPTERS, ids=name)
def test_chapter_is_in_the_book_with_its_exercises(path):
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    files = re.findall(r"\b(?:file|root): *(\S+)", toc)
    for folder in ("notebooks", "exercises", "solutions"):
        assert f"{folder}/{path.stem}" in files
        assert (ROOT / folder / path.name).exists()


def test_table_of_contents_is_sorted():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    numbered = [chapter for chapter in chapters if chapter.startswith("notebooks/")]
    assert numbered == sorted(numbered)
