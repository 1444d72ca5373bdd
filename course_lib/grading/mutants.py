"""Wrong answers that the checks must reject: `solutions/mutants/NN_name/<exercise>__<what>.py`.

Each file is one answer cell, first line `# answer: <exercise>`, right but for one bug. `verify` proves for a solutions
notebook that the stubs earn nothing, the solution everything and each mutant nothing, also beside each other: in every
round each exercise carries one of its variants (a mutant, the solution, the stub), shifted from exercise to exercise.
`lucky_seeds` looks for seeds whose inputs happen to hide a bug: the grader may draw any.
"""

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

from course_lib.grading.exercises import ROOT, exercises, read, role, stub
from course_lib.grading.grade import grade_answers, reference
from course_lib.grading.sandbox import Limits
from course_lib.grading.transplant import Answer

FEWEST = 3  # mutants of a graded exercise
_BROKEN = ("NameError", "SyntaxError", "IndentationError", "ImportError", "ModuleNotFoundError")


def mutants(name: str, root: Path = ROOT) -> dict[str, dict[str, str]]:
    """exercise -> what is wrong -> source, of the solutions notebook `name`."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted((root / "solutions" / "mutants" / name).glob("*.py")):
        exercise, _, what = path.stem.partition("__")
        found.setdefault(exercise, {})[what] = path.read_text(encoding="utf-8").rstrip("\n")
    return found


def mutant_problems(name: str, root: Path = ROOT) -> list[str]:
    """Exercises with too few mutants, and mutant files that belong to no exercise or do not say to which."""
    known = [e.name for e in exercises(read(root / "solutions" / f"{name}.ipynb"))]
    found = mutants(name, root)
    wrong = [f"{e}: {len(found.get(e, {}))} mutants, at least {FEWEST} are wanted" for e in known]
    wrong = [line for line, e in zip(wrong, known, strict=True) if len(found.get(e, {})) < FEWEST]
    for exercise, sources in found.items():
        for what, source in sources.items():
            if exercise not in known:
                wrong.append(f"{exercise}__{what}.py: there is no exercise {exercise!r}")
            if source.split("\n", 1)[0].strip() != f"# answer: {exercise}":
                wrong.append(f"{exercise}__{what}.py: the first line must be `# answer: {exercise}`")
    return wrong


def rounds(variants: dict[str, list[str]]) -> list[dict[str, str]]:
    """Rounds in which each exercise carries one variant, so that all of them come up and neighbours vary."""
    count = max((len(v) for v in variants.values()), default=0)
    return [{e: v[(r + i) % len(v)] for i, (e, v) in enumerate(variants.items())} for r in range(count)]


def verify(name: str, seed: int, root: Path = ROOT, limits: Limits | None = None) -> list[str]:
    """Grade every mutant, the stubs and the solution of a notebook; returns what was not graded as it should be."""
    limits = limits or Limits()
    ref = reference(name, seed, limits, root)
    sources = {
        e: {f"mutant {what}": source for what, source in m.items()} for e, m in mutants(name, root).items()
    }
    for cell in ref.notebook.cells:
        if role(cell) == "answer":
            exercise = cell.metadata["course"]["exercise"]
            sources.setdefault(exercise, {})["solution"] = cell.source
            sources[exercise]["stub"] = stub(cell.source, exercise)
    plan = rounds({e.name: list(sources[e.name]) for e in ref.exercises})
    wrong = []
    for carried in [{e.name: "stub" for e in ref.exercises}, *plan]:
        given = {e: Answer("given", sources[e][label]) for e, label in carried.items()}
        verdicts, _ = grade_answers(given, ref, limits, root, alone=False)
        for exercise in ref.exercises:
            label, verdict = carried[exercise.name], verdicts[exercise.name]
            wanted = exercise.points if label == "solution" else 0
            says = f"{verdict['outcome']}: {verdict['message']}" if verdict["message"] else verdict["outcome"]
            if verdict["points"] != wanted:
                wrong.append(
                    f"{exercise.name}, {label}: {verdict['points']} points, {wanted} expected ({says})"
                )
            elif label.startswith("mutant") and verdict["message"].startswith(_BROKEN):
                wrong.append(f"{exercise.name}, {label}: it is rejected because it does not run ({says})")
    return wrong


def lucky_seeds(name: str, seeds: Iterable[int] = range(1, 11), root: Path = ROOT) -> list[str]:
    """The mutants that print what the solution prints, with the seeds for which they do.

    Runs the notebook's code in this process, with whatever it does to torch's defaults: call it in one of its own.
    """
    notebook = read(root / "solutions" / f"{name}.ipynb")
    common = [c.source for c in notebook.cells if c.cell_type == "code" and not role(c)]
    by_id = {c.id: c.source for c in notebook.cells}
    wrong = []
    before = os.environ.get("COURSE_CHECK_SEED")
    try:
        for exercise in exercises(notebook):
            check = compile(by_id[exercise.check], exercise.check, "exec")
            right = _printed([*common, by_id[exercise.answer]], check, seeds)
            for what, source in mutants(name, root).get(exercise.name, {}).items():
                got = _printed([*common, source], check, seeds)
                lucky = [seed for seed, a, b in zip(seeds, right, got, strict=True) if a == b]
                if lucky:
                    wrong.append(
                        f"{exercise.name}, mutant {what}: the check cannot tell it from right with seeds {lucky}"
                    )
    finally:
        os.environ.pop("COURSE_CHECK_SEED", None)
        if before is not None:
            os.environ["COURSE_CHECK_SEED"] = before
    return wrong


def _printed(cells: list[str], check, seeds: Iterable[int]) -> list[str]:
    """What the check prints for each seed; the error's name where it raises."""
    names: dict = {}
    texts = []
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            for source in cells:
                exec(source, names)
        except Exception as error:  # a mutant may fail as early as that
            return [repr(error) for _ in seeds]
    for seed in seeds:
        os.environ["COURSE_CHECK_SEED"] = str(seed)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                exec(check, names)
            except Exception as error:
                print("check raises", repr(error))
        texts.append("\n".join(line for line in printed.getvalue().splitlines() if line.startswith("check ")))
    return texts
