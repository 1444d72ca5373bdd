"""Release: what is generated, what is called stale, what an author is told."""

import argparse
import json
import shutil
import subprocess
import sys

import nbformat
import pytest

from course_lib.grading import release
from course_lib.grading.exercises import exercises, output_problems, problems, read, stub


def cell(notebook, cell_id):
    return next(c for c in notebook.cells if c.id == cell_id)


def edit(path, change):
    notebook = read(path)
    change(notebook)
    path.write_text(nbformat.writes(notebook) + "\n")


def test_the_exercise_notebook_holds_stubs_and_no_secrets(released):
    path = released / "exercises" / "01_demo.ipynb"
    notebook, solution = read(path), read(released / "solutions" / "01_demo.ipynb")
    assert [c.id for c in notebook.cells] == [c.id for c in solution.cells]
    for word in ("x * x\n", "x.mean(0)\n", "cubes", "HIDDEN", "SOLUTION", "library", "nbval", "checks.show"):
        assert word.strip() not in path.read_text().replace("checks.compare(square(x), x * x", "").replace(
            "checks.compare(centre(x), x - x.mean(0)", ""
        )
    assert all(c.outputs == [] and c.execution_count is None for c in notebook.cells if c.cell_type == "code")
    answer = cell(notebook, "centre-answer").source
    assert '"""x (n, d) without its mean over the n rows."""' in answer
    with pytest.raises(NotImplementedError, match="exercise 'centre' is not answered yet: subtract the mean"):
        exec(answer + "\ncentre(0)", {})


def test_a_stub_quotes_what_it_asks_for():
    text = '# answer: f\n### BEGIN SOLUTION write "log p" with \\beta\nx = 1\n### END SOLUTION\ny = 2'
    with pytest.raises(NotImplementedError, match=r'write "log p" with \\beta$'):
        exec(stub(text, "f"), {})
    assert stub(text, "f").endswith("\ny = 2")


def test_release_is_stable_and_check_names_what_is_stale(course, released, capsys):
    assert release.main(check=True, root=released) == 0
    before = {p: p.read_bytes() for p in released.rglob("*.ipynb")}
    assert release.main(root=released) == 0
    assert before == {p: p.read_bytes() for p in released.rglob("*.ipynb")}

    capsys.readouterr()
    assert release.main(check=True, root=course) == 1
    said = capsys.readouterr().out
    assert "exercises/01_demo.ipynb is missing. Run `python -m course_lib release`" in said
    assert "notebooks/01_demo.ipynb: cells links, setup changed" in said
    assert (
        "check cell 'square-check' has no stored output: run `python -m course_lib release --execute 01_demo`"
        in said
    )
    assert not (course / "exercises").exists()


@pytest.mark.parametrize("change", ["edited", "outputs", "metadata", "chapter", "orphan", "address"])
def test_every_kind_of_staleness_is_found_and_mended(change, released, tmp_path, capsys):
    root = shutil.copytree(released, tmp_path / "course")
    exercise, chapter = root / "exercises" / "01_demo.ipynb", root / "notebooks" / "01_demo.ipynb"
    output = nbformat.v4.new_output("stream", text="1\n")
    if change == "edited":
        edit(exercise, lambda n: cell(n, "square").update(source="changed"))
        said = "exercises/01_demo.ipynb: cells square changed"
    elif change == "outputs":
        edit(chapter, lambda n: cell(n, "imports").update(outputs=[output], execution_count=3))
        said = "notebooks/01_demo.ipynb stores outputs in cells imports"
    elif change == "metadata":
        edit(
            root / "solutions" / "01_demo.ipynb", lambda n: n.metadata.language_info.update(version="3.11.7")
        )
        said = "solutions/01_demo.ipynb: metadata or formatting"
    elif change == "chapter":
        edit(chapter, lambda n: cell(n, "setup").update(source="%pip install course"))
        said = "notebooks/01_demo.ipynb: cells setup changed"
    elif change == "orphan":
        shutil.copy(exercise, root / "exercises" / "02_gone.ipynb")
        said = "exercises/02_gone.ipynb has no solutions notebook"
    else:
        (root / "_config.yml").write_text("repository: {url: 'https://github.com/OWNER/REPOSITORY'}\n")
        said = "exercises/01_demo.ipynb: cells links, setup changed"
    assert release.main(check=True, root=root) == 1
    assert said in capsys.readouterr().out
    assert release.main(root=root) == 0
    assert release.main(check=True, root=root) == 0


def test_links_come_from_the_one_setting(released):
    chapter = cell(read(released / "notebooks" / "01_demo.ipynb"), "links").source
    assert (
        "https://colab.research.google.com/github/someone/course/blob/main/notebooks/01_demo.ipynb" in chapter
    )
    assert "https://mybinder.org/v2/gh/someone/course/main?labpath=exercises%2F01_demo.ipynb" in chapter
    assert "[01_demo](../exercises/01_demo.ipynb)" in chapter
    assert "![" not in chapter
    unset = ("https://github.com/OWNER/REPOSITORY", "main")
    assert "once the repository's address is set" in release.links_cell("notebooks", "01_demo", unset, True)
    assert "http" not in release.links_cell("notebooks", "01_demo", unset, True)
    assert "exercises" not in release.links_cell("notebooks", "01_demo", unset, False)


@pytest.mark.parametrize("url", ["https://github.com/OWNER/REPOSITORY", "https://github.com/someone/course"])
def test_the_setup_cell_acts_on_colab_only(url, monkeypatch, tmp_path):
    source = release.setup_cell((url, "main"))
    calls = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append([str(c) for c in command]))
    monkeypatch.setattr(sys, "path", list(sys.path))
    exec(source, {})
    assert calls == []
    monkeypatch.setitem(sys.modules, "google.colab", object())
    if "OWNER" in url:
        with pytest.raises(RuntimeError, match=r"set `repository: url` in _config\.yml"):
            exec(source, {})
        return
    exec(source, {})
    assert calls[0] == ["git", "clone", "--quiet", "--depth", "1", "--branch", "main", url, "/content/course"]
    assert calls[1][1:] == ["-m", "pip", "install", "--quiet", "--editable", "/content/course"]
    assert sys.path[0] == "/content/course"


def broken(change):
    def make(course):
        notebook = read(course / "solutions" / "01_demo.ipynb")
        change(notebook)
        return notebook

    return make


def set_source(cell_id, old, new):
    def change(notebook):
        found = cell(notebook, cell_id)
        assert old in found.source
        found.source = found.source.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda n: cell(n, "square").update(id="centre"), "two cells have the id 'centre'"),
        (lambda n: cell(n, "square").pop("id"), "cell number 4 has no id"),
        (lambda n: n.update(nbformat_minor=4), "older than 4.5"),
        (
            set_source("square-answer", "# answer: square", "# my answer"),
            "the first line must be `# answer: square`",
        ),
        (set_source("square-answer", "### END SOLUTION", ""), "do not alternate"),
        (
            set_source("square-answer", "### BEGIN SOLUTION return x times x", "### BEGIN SOLUTION"),
            "say after",
        ),
        (set_source("square-check", "### END HIDDEN TESTS", "### BEGIN HIDDEN TESTS"), "do not alternate"),
        (set_source("square-check", "### BEGIN HIDDEN TESTS", ""), "do not alternate"),
        (
            set_source("square-visible", "x =", "### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\nx ="),
            "belong in check",
        ),
        (
            set_source("imports", "import numpy", "### BEGIN SOLUTION x\n### END SOLUTION\nimport numpy"),
            "without `course`",
        ),
        (lambda n: cell(n, "square-check").metadata.course.pop("points"), 'needs "points"'),
        (lambda n: cell(n, "square-check").metadata.course.update(points=0.5), 'needs "points"'),
        (lambda n: cell(n, "square-check").metadata.pop("tags"), "no tag nbval-check-output"),
        (lambda n: cell(n, "square-check").metadata.course.update(role="test"), "needs a role out of"),
        (
            lambda n: cell(n, "square-visible").metadata.course.update(exercise="a__b"),
            "an exercise's name is",
        ),
        (lambda n: cell(n, "square-answer").metadata.course.update(library="square"), '"library" is a list'),
        (lambda n: n.cells.remove(cell(n, "square-check")), "0 cells of role check"),
        (lambda n: n.cells.remove(cell(n, "square-answer")), "0 cells of role answer"),
        (
            lambda n: cell(n, "centre-answer").metadata.course.update(exercise="square"),
            "2 cells of role answer",
        ),
        (
            set_source("centre-check", "centre(x)", "centre(square(x))"),
            "'centre' uses 'square', which exercise 'square'",
        ),
        (
            set_source("imports", "import numpy as np", "import numpy as np\nsquare(2)"),
            "belongs to no exercise uses",
        ),
        (set_source("square", "##", "$$ a = b $$ (demo-label)\n##"), "labels an equation (demo-label)"),
        (set_source("imports", "import numpy as np", "%matplotlib inline"), "is not plain Python"),
    ],
)
def test_an_author_is_told_what_is_wrong(change, says, course):
    assert problems(read(course / "solutions" / "01_demo.ipynb")) == []
    assert any(says in line for line in problems(broken(change)(course)))


def test_a_notebook_with_problems_is_left_alone(course, capsys):
    path = course / "solutions" / "01_demo.ipynb"
    edit(path, lambda n: cell(n, "square-check").metadata.pop("tags"))
    before = path.read_bytes()
    assert release.main(root=course) == 1
    assert (
        "problem: solutions/01_demo.ipynb: cell 'square-check': no tag nbval-check-output"
        in capsys.readouterr().out
    )
    assert path.read_bytes() == before
    assert not (course / "exercises").exists()
    (course / "notebooks" / "02_broken.ipynb").write_text("{")
    assert release.main(check=True, root=course) == 1
    assert "02_broken.ipynb is not a notebook" in capsys.readouterr().out


def test_generated_cells_must_be_there(course, capsys):
    edit(course / "notebooks" / "01_demo.ipynb", lambda n: n.cells.remove(cell(n, "setup")))
    assert release.main(root=course) == 1
    assert "notebooks/01_demo.ipynb: no cell with the id 'setup'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ([], "has no stored output"),
        ([{"output_type": "stream", "name": "stderr", "text": "warning"}], "more than printed text"),
        (
            [{"output_type": "stream", "name": "stdout", "text": "check f: 1\nTrue\n"}],
            "lines that the grader would skip",
        ),
    ],
)
def test_stored_outputs_are_checked(outputs, says, released):
    notebook = read(released / "solutions" / "01_demo.ipynb")
    assert output_problems(notebook) == []
    cell(notebook, "square-check").outputs = nbformat.from_dict(outputs)
    assert says in output_problems(notebook)[0]
    cell(notebook, "square-check").execution_count = None
    assert "has no stored output" in output_problems(notebook)[0]


def test_exercises_are_read_in_order(released):
    found = exercises(read(released / "solutions" / "01_demo.ipynb"))
    assert [(e.name, e.points) for e in found] == [("square", 1), ("centre", 2), ("scale", 3)]
    assert found[0].library == ("course_lib.nn.square",)


@pytest.mark.parametrize("text", ["title: none\n", "repository: [", "repository: {url: 3}\n"])
def test_a_missing_address_is_an_error(text, course):
    (course / "_config.yml").write_text(text)
    with pytest.raises(ValueError, match="must hold `repository"):
        release.repository(course)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    release.write_atomic(path, "old")
    monkeypatch.setattr(release.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        release.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_options():
    parser = argparse.ArgumentParser()
    release.add_arguments(parser)
    assert parser.parse_args([]).execute is None
    assert parser.parse_args(["--execute"]).execute == []
    assert parser.parse_args(["--execute", "01_demo"]).execute == ["01_demo"]
    assert release.run(parser.parse_args(["--check", "--execute"])) == 2


@pytest.mark.slow
def test_execute_stores_what_the_solution_prints(course, released, capsys):
    assert release.main(execute=["01_demo"], root=course) == 0
    assert release.main(check=True, root=course) == 0
    for path in ("solutions", "exercises"):
        assert (course / path / "01_demo.ipynb").read_bytes() == (
            released / path / "01_demo.ipynb"
        ).read_bytes()

    edit(course / "solutions" / "01_demo.ipynb", lambda n: set_source("square-answer", "x * x", "x * y")(n))
    assert release.main(execute=["01_demo", "09_none"], root=course) == 1
    said = capsys.readouterr().out
    assert "the solution fails: NameError: name 'y' is not defined" in said
    assert "there is no solutions/09_none.ipynb" in said
    assert json.loads((course / "solutions" / "01_demo.ipynb").read_text())["cells"]
