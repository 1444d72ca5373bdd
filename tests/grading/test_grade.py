"""Grading from end to end: what a class hands in, and what the grader makes of it."""

import argparse
import csv
import json
import time
from pathlib import Path

import pytest
from nbformat.v4 import new_output

from course_lib.grading import grade as grading
from course_lib.grading import sandbox
from course_lib.grading.exercises import read
from course_lib.grading.sandbox import Cell, Limits, Run

LIMITS = Limits(cell_seconds=20)
NAMES = ("square", "centre", "scale")


def table(out):
    with (out / "grades.csv").open() as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def points(row):
    return [row[f"01_demo/{name}"] for name in NAMES]


def report(out, student):
    return json.loads((out / f"{student}__01_demo.json").read_text())


@pytest.fixture
def ref(released):
    """A reference without running anything: the stored outputs, which belong to seed 0."""
    notebook = read(released / "solutions" / "01_demo.ipynb")
    return grading.Reference(notebook, grading.exercises(notebook), 0, "hash")


def test_both_layouts_are_found_and_nothing_is_passed_over(released, handed, tmp_path):
    folder = tmp_path / "in"
    for place in (
        "ada__01_demo",
        "a__b__01_demo",
        "bob/01_demo",
        "Zoë/01_demo",
        "bob__01_demo",
        "cyd__02_none",
        "01_demo",
    ):
        handed().save(folder / f"{place}.ipynb")
    handed().save(folder / "dan" / "week 1" / "01_demo.ipynb")
    handed().save(folder / "=cmd()" / "01_demo.ipynb")
    handed().save(folder / "bob" / ".ipynb_checkpoints" / "01_demo.ipynb")
    (folder / "notes.txt").write_text("hello")
    found, others = grading.find_submissions(folder, released)
    assert {s.student for s in found} == {"ada", "a__b", "bob", "Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}"}
    reasons = {o["file"]: o["reason"] for o in others}
    assert reasons == {
        "notes.txt": "not a notebook (.ipynb)",
        "01_demo.ipynb": "the name is not <student>__NN_name.ipynb",
        "cyd__02_none.ipynb": "there is no solutions/02_none.ipynb",
        "dan/week 1/01_demo.ipynb": "too deep: SUBMISSIONS/<student>/NN_name.ipynb",
        "=cmd()/01_demo.ipynb": "a student's name is letters, digits and . _ @ + -",
        "bob__01_demo.ipynb": "bob/01_demo.ipynb is the same student's 01_demo",
    }


def test_the_first_cell_that_says_why_decides(ref):
    cells = {
        "setup": Cell("passed", ""),
        "imports": Cell("passed", ""),
        "square-answer": Cell("passed", ""),
        "square-visible": Cell("raised", "AssertionError: square is wrong"),
    }
    square, centre, _ = ref.exercises

    def outcome(trouble="", **more):
        verdict = grading._decide(square, ref.notebook, Run(cells | more, 1.0, trouble))
        return verdict["points"], verdict["outcome"], verdict["message"]

    assert outcome(**{"square-check": Cell("passed", "")}) == (1, "passed", "")
    assert outcome(**{"square-check": Cell("differs", "expected 1")}) == (
        0,
        "wrong",
        "AssertionError: square is wrong\nexpected 1",
    )
    assert outcome(**{"square-check": Cell("raised", "TypeError: x")}) == (
        0,
        "error",
        "AssertionError: square is wrong",
    )
    assert outcome(**{"square-check": Cell("timeout", "too long")}) == (0, "timeout", "too long")
    assert outcome(**{"square-check": Cell("dead", "gone")})[:2] == (None, "undecided")
    assert outcome("pytest ended with code 3") == (None, "undecided", "pytest ended with code 3")
    assert outcome(imports=Cell("timeout", "slow"))[:2] == (None, "undecided")
    assert grading._decide(centre, ref.notebook, Run(cells, 1.0, ""))["outcome"] == "undecided"


def test_an_exercise_that_fails_beside_others_is_tried_alone(ref, handed, monkeypatch):
    runs = []

    def fake(notebook, seed, limits, root):
        ids = [c.id for c in notebook.cells]
        runs.append([name for name in NAMES if f"{name}-check" in ids])
        alone = len(runs[-1]) == 1
        ended = {
            "square-check": "passed",
            "centre-check": "passed" if alone else "raised",
            "scale-check": "differs",
        }
        ended |= {"setup": "passed", "imports": "passed"}
        return Run({i: Cell(e, "m") for i, e in ended.items() if i in ids}, 1.0, "")

    monkeypatch.setattr(sandbox, "run", fake)
    given = {name: grading.Answer("given", f"{name} = 1") for name in NAMES}
    verdicts, _ = grading.grade_answers(given, ref, LIMITS)
    assert [verdicts[name]["points"] for name in NAMES] == [1, 2, 0]
    assert runs == [list(NAMES), ["centre"], ["scale"]]


def test_a_failure_of_the_grader_leaves_the_points_blank(
    released, ref, handed, monkeypatch, tmp_path, capsys
):
    handed().right().save(tmp_path / "in" / "ada__01_demo.ipynb")
    handed().right().save(tmp_path / "in" / "bob__01_demo.ipynb")
    (tmp_path / "in" / "cyd__01_demo.ipynb").write_text("{")
    calls = []

    def crash(notebook, seed, limits, root):
        calls.append(1)
        if len(calls) > 4:
            raise OSError("no space left")
        return Run({"square-check": Cell("passed", "")}, 1.0, "pytest ended with code -9")

    monkeypatch.setattr(grading, "reference", lambda *_: ref)
    monkeypatch.setattr(sandbox, "run", crash)
    assert grading.grade(tmp_path / "in", tmp_path / "out", root=released) == 1
    rows = table(tmp_path / "out")
    assert points(rows["ada"]) == ["1", "", ""]
    assert rows["ada"]["points"] == ""
    assert rows["ada"]["status"] == "undecided: centre, scale"
    assert points(rows["bob"]) == ["", "", ""]
    assert "no space left" in rows["bob"]["status"]
    assert points(rows["cyd"]) == ["", "", ""]
    assert rows["cyd"]["status"].startswith("unreadable")
    assert "for a person: ada, 01_demo: undecided: centre, scale" in capsys.readouterr().out


def test_a_solution_that_does_not_run_costs_nobody_points(released, handed, monkeypatch, tmp_path):
    handed().right().save(tmp_path / "in" / "ada__01_demo.ipynb")

    def fails(*_, **__):
        raise sandbox.SolutionError("the solution fails: ValueError: x")

    monkeypatch.setattr(sandbox, "execute", fails)
    assert grading.grade(tmp_path / "in", tmp_path / "out", root=released) == 1
    row = table(tmp_path / "out")["ada"]
    assert row["points"] == ""
    assert "the solution fails" in row["status"]


def test_the_seed_is_redrawn_near_a_rounding_boundary(released, monkeypatch):
    drawn = []

    def execute(notebook, seed, limits, root):
        drawn.append(seed)
        for cell in notebook.cells:
            cell.outputs = [new_output("stream", name="stdout", text=f"check {seed}")]
        return notebook, [1.0, 2.34550000001 if seed < 9 else 2.3451], 1.0

    monkeypatch.setattr(sandbox, "execute", execute)
    found = grading.reference("01_demo", 7, LIMITS, released)
    assert (found.seed, drawn) == (9, [7, 8, 9])
    assert {c.outputs[0]["text"] for c in found.notebook.cells if c.id.endswith("-check")} == {"check 9"}
    monkeypatch.setattr(sandbox, "execute", lambda n, s, limits, r: (n, [2.34550000001], 1.0))
    with pytest.raises(sandbox.SolutionError, match="20 seeds in a row"):
        grading.reference("01_demo", 7, LIMITS, released)


def test_a_second_run_does_only_what_is_new(released, ref, handed, monkeypatch, tmp_path):
    handed().right().save(tmp_path / "in" / "ada__01_demo.ipynb")
    handed().save(tmp_path / "in" / "bob__01_demo.ipynb")
    seeds, runs = [], []
    monkeypatch.setattr(grading, "reference", lambda name, seed, *_: seeds.append(seed) or ref)

    def run(notebook, seed, limits, root):
        runs.append(1)
        return Run({f"{name}-check": Cell("passed", "") for name in NAMES}, 1.0, "")

    monkeypatch.setattr(sandbox, "run", run)
    assert grading.grade(tmp_path / "in", tmp_path / "out", root=released) == 0
    assert points(table(tmp_path / "out")["ada"]) == ["1", "2", "3"]
    assert points(table(tmp_path / "out")["bob"]) == ["0", "0", "0"]
    assert len(runs) == 1, "an empty copy needs no run"
    assert grading.grade(tmp_path / "in", tmp_path / "out", root=released) == 0
    assert len(runs) == 1
    assert seeds[0] == seeds[1], "the seed of the first run is used again"
    handed().answer("square", "x + x").save(tmp_path / "in" / "ada__01_demo.ipynb")
    grading.grade(tmp_path / "in", tmp_path / "out", root=released)
    assert len(runs) == 2


def test_wrong_arguments_are_named(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    grading.add_arguments(parser)
    assert grading.run(parser.parse_args([str(tmp_path / "none"), "--out", str(tmp_path)])) == 2
    assert "is not a folder of submissions" in capsys.readouterr().err
    assert grading.run(parser.parse_args([str(tmp_path), "--out", str(tmp_path), "--jobs", "0"])) == 2


CRASHES = {
    "forever": "# answer: square\ndef square(x):\n    while True:\n        pass",
    "stubborn": "# answer: square\ndef square(x):\n    while True:\n        try:\n            while True: pass\n"
    "        except BaseException: pass",
    "exit": "# answer: square\nimport os\ndef square(x):\n    os._exit(0)",
    "quit": "# answer: square\nimport sys\ndef square(x):\n    sys.exit()",
    "hog": "# answer: square\nkept = []\ndef square(x):\n    while True:\n        kept.append(np.ones(10**8))",
    "flood": "# answer: square\ndef square(x):\n    while True:\n        print('x' * 1000)",
    "damage": "# answer: square\nimport builtins\ndef square(x):\n    return x\nnp = checks = None\nbuiltins.print = None",
    "syntax": "# answer: square\ndef square(x)\n    return x",
    "fixed": "# answer: square\ndef square(x):\n    return x * x\nprint('check square (3, 2): 1 2 3 4 5 6')\n"
    "checks.show = lambda name, value: print('check square (3, 2): 1 2 3 4 5 6')",
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_answer_costs_its_neighbours_anything(released, handed, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    for student, source in CRASHES.items():
        handed().right().answer("square", source).save(folder / student / "01_demo.ipynb")
    handed().right().save(folder / "right__01_demo.ipynb")
    handed().save(folder / "empty__01_demo.ipynb")
    chatty = handed().right()
    chatty.answer(
        "square",
        "# answer: square\n# NBVAL_SKIP\nimport warnings\ndef square(x):\n    print('my x is', x)\n"
        "    warnings.warn('hm')\n    return x * x",
    )
    for cell in chatty.json["cells"]:
        cell["metadata"] = {"tags": ["nbval-skip", "raises-exception"], "course": {"points": 100}}
        if cell["cell_type"] == "code":
            cell["outputs"] = [
                {"output_type": "stream", "name": "stdout", "text": "check square (3, 2): 1\n"}
            ]
    chatty.json["cells"].insert(4, {"cell_type": "code", "id": "mine", "source": "import os; os._exit(1)"})
    chatty.save(folder / "chatty__01_demo.ipynb")
    careless = handed().right()
    careless.answer(
        "square", "# answer: square\nfrom course_lib.nn import square as s\ndef square(x):\n    return x * x"
    )
    careless.save(folder / "careless__01_demo.ipynb")

    grading.grade(folder, out, seed=3, jobs=2, limits=LIMITS, root=released)
    rows = table(out)
    assert points(rows["right"]) == points(rows["chatty"]) == ["1", "2", "3"]
    assert rows["right"]["points"] == rows["right"]["possible"] == "6"
    assert rows["right"]["flags"] == ""
    assert points(rows["empty"]) == ["0", "0", "0"]
    for student in CRASHES:
        assert points(rows[student]) == ["0", "2", "3"], (student, report(out, student))
    outcomes = {student: report(out, student)["exercises"]["square"]["outcome"] for student in CRASHES}
    assert outcomes["forever"] == outcomes["stubborn"] == outcomes["exit"] == "timeout"
    assert outcomes["quit"] == outcomes["flood"] == outcomes["syntax"] == "error"
    assert "printed more than" in report(out, "flood")["exercises"]["square"]["message"]
    assert "square: redefines checks" in rows["damage"]["flags"]
    assert "square: may use course_lib.nn.square" in rows["careless"]["flags"]


@pytest.mark.slow
def test_the_kernel_sees_an_empty_folder_and_a_bare_environment(released, handed, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    code = (
        "# answer: square\nimport os\ndef square(x):\n"
        "    seen = [f for f in os.listdir() if not f.startswith(('.', 'profile'))] + os.listdir('..') * 0\n"
        '    raise ValueError(f\'{seen} {os.environ.get("SECRET_TOKEN")} {os.environ["HOME"] == os.getcwd()}\')'
    )
    handed().answer("square", code).save(tmp_path / "in" / "ada__01_demo.ipynb")
    grading.grade(tmp_path / "in", tmp_path / "out", limits=LIMITS, root=released)
    assert report(tmp_path / "out", "ada")["exercises"]["square"]["message"] == "ValueError: [] None True"


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_cut_and_leaves_no_process(released, handed, tmp_path):
    notebook = read(released / "solutions" / "01_demo.ipynb")
    marker = tmp_path / "pid"
    source = f"# answer: square\nimport os, time\nopen({str(marker)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    short = grading.pristine(notebook, {"square": source}, only="square")
    short.cells = [cell for cell in short.cells if cell.id == "square-answer"]

    class Impatient(Limits):
        run_seconds = 15

    ran = sandbox.run(short, 0, Impatient(cell_seconds=500), released)
    assert "took longer than 15 s" in ran.trouble
    process = Path("/proc") / marker.read_text()
    deadline = time.monotonic() + 5
    while process.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not process.exists(), "the kernel outlived its judge"
