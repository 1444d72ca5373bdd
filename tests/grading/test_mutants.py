"""Every solutions notebook of the course: fresh, right, and with checks that reject what is wrong.

Nothing here names a chapter: a new `solutions/NN_name.ipynb` with its mutants is tested as it arrives.
"""

import multiprocessing
import os
import pkgutil
import resource
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from course_lib.grading import release
from course_lib.grading.exercises import ROOT, exercises, output_problems, problems, read
from course_lib.grading.mutants import lucky_seeds, mutant_problems, rounds, verify

NAMES = sorted(path.stem for path in (ROOT / "solutions").glob("*.ipynb"))
of_each_notebook = pytest.mark.parametrize("name", NAMES)


def test_everything_generated_is_fresh(capsys):
    code = release.main(check=True)
    assert code == 0, capsys.readouterr().out


@of_each_notebook
def test_solutions_follow_the_rules(name):
    notebook = read(ROOT / "solutions" / f"{name}.ipynb")
    assert problems(notebook) + output_problems(notebook) == []
    assert mutant_problems(name) == []


@of_each_notebook
def test_functions_that_would_answer_an_exercise_exist(name):
    for exercise in exercises(read(ROOT / "solutions" / f"{name}.ipynb")):
        for full in exercise.library:
            assert pkgutil.resolve_name(full) is not None


@pytest.mark.slow
@of_each_notebook
def test_solutions_print_their_stored_values(name):
    """As an instructor would call it; at most 20 s of processor time on one thread."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--dist=no", "--timeout=300"]
    command += ["--nbval-lax", "--nbval-cell-timeout=60", f"solutions/{name}.ipynb"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COURSE_TIER": "smoke", "OMP_NUM_THREADS": "1"}
    environment.pop("COURSE_CHECK_SEED", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout[-3000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert seconds <= 20, f"{name} takes {seconds:.1f} s"


@pytest.mark.slow
@of_each_notebook
def test_stubs_earn_nothing_solutions_everything_mutants_nothing(name):
    assert verify(name, seed=1) == []


@pytest.mark.slow
@of_each_notebook
def test_no_seed_hides_a_bug(name):
    """In a process of its own: notebooks change torch's defaults."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as other:
        assert other.submit(lucky_seeds, name).result() == []


def test_every_variant_comes_up_and_neighbours_vary():
    variants = ["m1", "m2", "m3", "solution", "stub"]
    plan = rounds({"a": variants, "b": variants, "c": [*variants, "m4"]})
    assert len(plan) == 6
    assert {r["a"] for r in plan} == {r["b"] for r in plan} == set(variants)
    assert {r["c"] for r in plan} == {*variants, "m4"}
    assert all(r["a"] != r["b"] for r in plan)
    assert rounds({}) == []


def test_a_check_that_some_seeds_satisfy_is_named(released, tmp_path, monkeypatch):
    root = Path(shutil.copytree(released, tmp_path / "course"))
    monkeypatch.setenv("COURSE_CHECK_SEED", "7")
    assert lucky_seeds("01_demo", root=root) == []
    mutant = root / "solutions" / "mutants" / "01_demo" / "scale__maximum.py"
    mutant.write_text("# answer: scale\ndef scale(x):\n    return x / x.max()\n")
    (said,) = lucky_seeds("01_demo", root=root)
    assert said.startswith("scale, mutant maximum: the check cannot tell it from right with seeds [")
    assert os.environ["COURSE_CHECK_SEED"] == "7"


def test_missing_and_stray_mutants_are_named(released, tmp_path):
    root = Path(shutil.copytree(released, tmp_path / "course"))
    assert mutant_problems("01_demo", root) == []
    folder = root / "solutions" / "mutants" / "01_demo"
    (folder / "square__cubed.py").unlink()
    (folder / "cube__squared.py").write_text("# answer: square\n")
    (folder / "centre__added.py").write_text("def centre(x): pass\n")
    assert mutant_problems("01_demo", root) == [
        "square: 2 mutants, at least 3 are wanted",
        "centre__added.py: the first line must be `# answer: centre`",
        "cube__squared.py: there is no exercise 'cube'",
        "cube__squared.py: the first line must be `# answer: cube`",
    ]


@pytest.mark.slow
def test_verify_finds_mutants_that_pass_or_do_not_run(released, tmp_path):
    root = Path(shutil.copytree(released, tmp_path / "course"))
    folder = root / "solutions" / "mutants" / "01_demo"
    (folder / "square__none.py").write_text("# answer: square\ndef square(x):\n    return x**2\n")
    (folder / "scale__typo.py").write_text("# answer: scale\ndef scale(x):\n    return x / y\n")
    said = verify("01_demo", seed=4, root=root)
    assert "square, mutant none: 1 points, 0 expected (passed)" in said
    assert any(
        line.startswith("scale, mutant typo: it is rejected because it does not run (error: NameError")
        for line in said
    )
    assert {line.split(":")[0] for line in said} == {"square, mutant none", "scale, mutant typo"}
