"""What is taken from a student's file, and what is not."""

import json

import pytest
from nbval.plugin import comment_markers

from course_lib.grading import transplant
from course_lib.grading.exercises import exercises, read
from course_lib.grading.transplant import (
    UnreadableError,
    answers,
    open_answers,
    pristine,
    read_submission,
    suspicions,
)


@pytest.fixture
def solution(released):
    return read(released / "solutions" / "01_demo.ipynb")


def found(handed_in, solution, tmp_path):
    cells, _ = read_submission(handed_in.save(tmp_path / "a.ipynb"))
    return answers(cells, solution, exercises(solution))


def test_answers_by_id(handed, solution, tmp_path):
    given = found(handed().answer("square", "x * x"), solution, tmp_path)
    assert {name: a.state for name, a in given.items()} == {
        "square": "given",
        "centre": "unanswered",
        "scale": "unanswered",
    }
    assert given["square"].source == "# answer: square\ndef square(x):\n    return x * x"


def test_answers_by_first_line_where_ids_were_lost(handed, solution, tmp_path):
    copy = handed().right()
    for number, cell in enumerate(copy.json["cells"]):
        cell["id"] = f"new{number}"
    copy.json["cells"].reverse()
    assert all(a.state == "given" for a in found(copy, solution, tmp_path).values())


def test_missing_and_doubtful_answers(handed, solution, tmp_path):
    copy = handed().right()
    copy.json["cells"].remove(copy.cell("square-answer"))
    second = dict(
        copy.cell("centre-answer"), id="copy", source="# answer: centre\ndef centre(x):\n    return x"
    )
    same = dict(copy.cell("scale-answer"), id="copy2")
    copy.json["cells"] += [second, same]
    given = found(copy, solution, tmp_path)
    assert given["square"].state == "missing"
    assert given["centre"].state == "undecided"
    assert "2 different cells answer centre" in given["centre"].flags
    assert given["scale"].state == "given"


@pytest.mark.parametrize(
    "source", ["# answer: square\nx = '\ud800'", "# answer: square\n" + "#" * 200_000, "# answer: square\n\0"]
)
def test_an_answer_that_no_kernel_can_take_is_for_a_person(source, handed, solution, tmp_path):
    copy = handed()
    copy.cell("square-answer")["source"] = source
    assert found(copy, solution, tmp_path)["square"].state == "undecided"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not JSON"),
        (b"{" * 100_000, "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1, 2]", "format 4"),
        (b'{"cells": {}, "nbformat": 4}', "format 4"),
        (b'{"worksheets": [], "nbformat": 3}', "format 4"),
    ],
)
def test_what_is_no_notebook_is_unreadable(content, says, tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=says):
        read_submission(path)


def test_large_files_and_links_are_not_read(tmp_path):
    path = tmp_path / "a.ipynb"
    with path.open("wb") as file:
        file.truncate(21 * 2**20)
    with pytest.raises(UnreadableError, match="clear its outputs"):
        read_submission(path)
    (tmp_path / "link.ipynb").symlink_to(path)
    with pytest.raises(UnreadableError, match="not an ordinary file"):
        read_submission(tmp_path / "link.ipynb")


def test_odd_cells_are_skipped(tmp_path):
    cells = [
        3,
        None,
        {"cell_type": "code", "source": 7},
        {"cell_type": "code"},
        {"cell_type": "markdown", "source": "x"},
    ]
    cells.append({"cell_type": "code", "source": ["a\n", "b"], "id": ["no", "id"]})
    (tmp_path / "a.ipynb").write_text(json.dumps({"nbformat": 4, "cells": cells}))
    assert read_submission(tmp_path / "a.ipynb")[0] == [
        {"id": None, "source": ""},
        {"id": ["no", "id"], "source": "a\nb"},
    ]


def test_the_pristine_notebook_is_the_solutions_own(solution):
    notebook = pristine(
        solution, {"square": "# NBVAL_SKIP\n# nbval-skip\nsquare = abs", "centre": "centre = abs"}
    )
    cells = {c.id: c for c in notebook.cells}
    assert "thought-answer" not in cells
    assert cells["square-answer"].source == "#\n# nbval-skip\nsquare = abs"
    assert "NotImplementedError" in cells["scale-answer"].source
    assert cells["square-check"] == next(c for c in solution.cells if c.id == "square-check")
    alone = pristine(solution, {"square": "square = abs"}, only="square")
    assert [c.id for c in alone.cells] == [
        "setup",
        "imports",
        "square-answer",
        "square-visible",
        "square-check",
    ]


def test_open_answers_are_kept_for_a_person(handed, solution, tmp_path):
    copy = handed()
    copy.cell("thought-answer")["source"] = "# answer: thought\nprint('my own')"
    cells, _ = read_submission(copy.save(tmp_path / "a.ipynb"))
    assert open_answers(cells, solution) == {"thought": "# answer: thought\nprint('my own')"}


def test_every_comment_that_nbval_obeys_is_known():
    assert set(comment_markers) == transplant._NBVAL_COMMENTS


LIBRARY = ("course_lib.models.vae.elbo",)


@pytest.mark.parametrize(
    "source",
    [
        "from course_lib.models.vae import elbo\ndef loss(x): return elbo(x)",
        "from course_lib.models.vae import elbo as mine\ndef loss(x): return mine(x)",
        "from course_lib.models import vae\ndef loss(x): return vae.elbo(x)",
        "import course_lib\ndef loss(x): return getattr(course_lib.models.vae, 'elbo')(x)",
        "def loss(x): return elbo(x)",
    ],
)
def test_a_call_of_the_librarys_own_function_is_flagged(source):
    assert suspicions(source, LIBRARY) == ["may use course_lib.models.vae.elbo"]


@pytest.mark.parametrize(
    "source",
    [
        "def elbo(x):\n    return x.sum()",
        "class M:\n    def elbo(self, x): return x\n    def loss(self, x): return -self.elbo(x)",
        "import torch\nfrom torch import nn\nfrom course_lib.distributions import gaussian_kl\ndef f(x): return gaussian_kl(x, x)",
        "class M:\n    def __init__(self): super().__init__()",
        "def f(x):\n    print(x.shape)\n    return x",
    ],
)
def test_honest_code_is_not_flagged(source):
    assert suspicions(source, LIBRARY) == []


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import os.path", "imports os.path"),
        ("from pathlib import Path", "imports pathlib"),
        ("from course_lib.grading import checks", "imports course_lib.grading"),
        ("from course_lib import grading", "imports grading from course_lib"),
        ("checks.show = print", "uses checks"),
        ("def print(*a): pass", "redefines print"),
        ("import numpy as checks", "redefines checks"),
        ("open('solutions/01.ipynb')", "mentions solutions/"),
        ("exec('1')", "uses exec"),
        ("().__class__.__base__", "uses __class__"),
        ("!cat x", "not plain Python"),
        ("x = (", "not plain Python"),
    ],
)
def test_code_that_reaches_around_the_exercise_is_flagged(source, says):
    assert says in suspicions(source)
