"""The build's promises, on a book of one chapter: it fails on errors every time, and redoes what it must and no more."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = "# 07 Toy\n\n$$ a = b $$ (toy-law)\n\nBy {eq}`toy-law`, see {doc}`/book/preface`."
TOC = "format: jb-book\nroot: book/preface\nchapters:\n  - file: notebooks/07_toy\n"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small book, built once."""
    root = tmp_path_factory.mktemp("book")
    for name in ("build.py", "registry.py", "results.py", "_ext", "_static"):
        copy = shutil.copytree if (ROOT / "book" / name).is_dir() else shutil.copy
        (root / "book").mkdir(exist_ok=True)
        copy(ROOT / "book" / name, root / "book" / name)
    (root / "_config.yml").write_text((ROOT / "_config.yml").read_text())
    (root / "_toc.yml").write_text(TOC)
    (root / "book/preface.md").write_text("# Preface\n\n```{include} generated/equations.md\n```\n")
    (root / "book/references.bib").write_text("")
    (root / "course_lib").mkdir()
    (root / "course_lib/__init__.py").write_text("ANSWER = 42\n")
    write(root / "notebooks/07_toy.ipynb")
    result = run(root)
    assert result.returncode == 0, result.stderr
    return root


@pytest.fixture
def book(built, tmp_path):
    """A copy of the small book, to be spoilt by one test."""
    return Path(shutil.copytree(built, tmp_path / "book"))


def write(path: Path, text: str = CHAPTER, code: str = "import course_lib; course_lib.ANSWER") -> None:
    path.parent.mkdir(exist_ok=True)
    cells = [nbformat.v4.new_markdown_cell(text, id="title"), nbformat.v4.new_code_cell(code, id="answer")]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def run(root: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(root)}  # its course_lib, not the installed one
    command = [sys.executable, root / "book/build.py"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_nothing_changed_is_answered_from_the_last_build(book):
    again = run(book)
    assert again.returncode == 0
    assert "Typesetting" not in again.stdout
    assert "07_toy" in again.stdout
    assert "cached" in again.stdout
    assert (book / "_build/html/index.html").as_uri() in again.stdout


def test_changed_library_runs_the_chapters_again(book):
    (book / "course_lib/__init__.py").write_text("ANSWER = 4711\n")
    assert "executed" in run(book).stdout
    assert "4711" in (book / "_build/html/notebooks/07_toy.html").read_text()


def test_damaged_output_is_built_again(book):
    (book / "_build/html/book/preface.html").unlink()
    assert "cached" in run(book).stdout
    assert (book / "_build/html/book/preface.html").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"code": "1 / 0"}, "notebooks/07_toy.ipynb, cell 'answer' (number 2)"),
        ({"text": CHAPTER + "\n\n{eq}`toy-lwa`"}, "equation not found: toy-lwa"),
        ({"text": CHAPTER + "\n\n{doc}`/notebooks/08_gone`"}, "08_gone"),
    ],
)
def test_an_error_fails_the_build_every_time(book, change, complaint):
    write(book / "notebooks/07_toy.ipynb", **change)
    for _ in range(2):
        result = run(book)
        assert result.returncode == 1
        assert complaint in result.stderr


def test_notebooks_of_the_same_code_are_told_apart(book):
    write(book / "notebooks/08_toy.ipynb", text="# 08 Another")
    (book / "_toc.yml").write_text(TOC + "  - file: notebooks/08_toy\n")
    result = run(book)
    assert result.returncode == 1
    assert "hold the same code" in result.stderr


def test_launch_links_appear_with_the_repository_s_address(book):
    page = book / "_build/html/notebooks/07_toy.html"
    assert "colab.research" not in page.read_text()
    config = (book / "_config.yml").read_text()
    (book / "_config.yml").write_text(config.replace("OWNER/REPOSITORY\n", "someone/course\n"))
    assert run(book).returncode == 0
    assert (
        "https://colab.research.google.com/github/someone/course/blob/main/notebooks/07_toy.ipynb"
        in page.read_text()
    )


def test_equations_are_numbered_by_chapter(built):
    page = (built / "_build/html/notebooks/07_toy.html").read_text()
    assert '<span class="eqno">(7.1)' in page
    assert ">(7.1)</a>" in page
