"""Mark a folder of students' notebooks.

    python -m course_lib grade handed_in/ --out grades/ --jobs 2

SUBMISSIONS holds either files named `<student>__NN_name.ipynb`, or one folder for each student with `NN_name.ipynb` in
it; both may be mixed. `NN_name` is an exercise notebook of the course. Every other file is listed as not recognised.

For each notebook the source of the answer cells is put into a fresh copy of the exercises, which runs in processes of
its own with limits on time and memory (`course_lib.grading.sandbox`). The check cells draw their inputs from a secret
seed and print values; nbval compares the text, outside the student's process, with what the reference solution prints
for the same seed. So a student sees neither the inputs nor the results in advance, and metadata, outputs or extra cells
in a submitted file do nothing. An exercise that fails in the whole notebook is tried once more alone, so that no answer
costs another one its points.

DIR gets:

- `grades.csv`: a line for each submission with the points of each exercise, the sum, `status` and `flags`.
  0 means that the answer is wrong, missing, raises, or takes too long. **Blank means that the grader could not decide**
  (an unreadable file, two different answers, a failure of the grader itself): a person must. The sum is blank too then.
- `<student>__NN_name.json`: for each exercise the outcome, the first error or differing line, what to look at, and the
  answers to the exercises that a person reads.
- `run.json`: the secret seed, the solutions' hashes, files that were not recognised.

Keep DIR from students while they may hand in again: the reports quote what the reference printed for the secret seed.

Started again with the same DIR, the same seed is used, and submissions that have not changed since and were decided are
not run again. `flags` (an answer which may use the library's own function, imports `os`, redefines `print` ...) never
change points: they name what a person should read. Exit code: 0 when every exercise of every submission was decided and
every file recognised, else 1.

An answer that replaces the functions which draw inputs or print values gains nothing: it does not know what the
reference prints. What this version does not prevent is an answer that sets out to find the solutions or the references
on the grader's disk (`course_lib.grading.sandbox` says where a stronger jail goes); the flags catch careless ones. Grade
copies from people you do not know on a machine that holds nothing you would miss.
"""

import argparse
import csv
import hashlib
import importlib.util
import io
import json
import re
import secrets
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from tqdm import tqdm

from course_lib.grading import sandbox
from course_lib.grading.checks import near_boundary
from course_lib.grading.exercises import ROOT, Exercise, course, exercises, problems, read, role
from course_lib.grading.release import write_atomic
from course_lib.grading.sandbox import Limits, Run
from course_lib.grading.transplant import (
    Answer,
    UnreadableError,
    answers,
    open_answers,
    pristine,
    read_submission,
)

DRAWS = 20  # seeds tried for references that are far from rounding boundaries
_STUDENT = re.compile(r"\w[\w.@+-]*")


@dataclass(frozen=True)
class Reference:
    """A solutions notebook with the outputs that its check cells print for the secret seed."""

    notebook: NotebookNode
    exercises: list[Exercise]
    seed: int
    sha256: str


@dataclass(frozen=True)
class Submission:
    """A file that is to be graded."""

    student: str
    notebook: str
    path: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m course_lib grade`."""
    parser.add_argument(
        "submissions", type=Path, help="folder of notebooks: STUDENT__NN_name.ipynb or STUDENT/NN_name.ipynb"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where grades.csv and the reports go"
    )
    parser.add_argument(
        "--seed", type=int, help="the secret seed (default: the one of DIR, else drawn at random)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="submissions graded at a time (default: 1)")
    parser.add_argument(
        "--cell-seconds",
        type=float,
        default=Limits.cell_seconds,
        help="time limit for one cell (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """The sub-command; returns the exit code."""
    limits = Limits(cell_seconds=args.cell_seconds)
    try:
        return grade(args.submissions, args.out, seed=args.seed, jobs=args.jobs, limits=limits)
    except ValueError as error:
        print(f"grade: {error}", file=sys.stderr)
        return 2


def grade(
    submissions: Path,
    out: Path,
    *,
    seed: int | None = None,
    jobs: int = 1,
    limits: Limits | None = None,
    root: Path = ROOT,
) -> int:
    """Grade every submission, write the reports and say what a person must look at; returns the exit code.

    Raises:
        ValueError: `submissions` is no folder, `jobs` or `seed` is out of range, or pytest or nbval is not installed.
    """
    missing = [name for name in ("pytest", "nbval") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"grading needs {' and '.join(missing)}: pip install -r requirements.txt")
    if not submissions.is_dir():
        raise ValueError(f"{submissions} is not a folder of submissions")
    if jobs < 1 or (seed is not None and seed < 0):
        raise ValueError(f"jobs must be at least 1 and the seed at least 0; got {jobs} and {seed}")
    limits = limits or Limits()
    found, unrecognised = find_submissions(submissions, root)
    seed = seed if seed is not None else _earlier_seed(out)
    references: dict[str, Reference | str] = {}
    names = sorted({s.notebook for s in found})
    for name in tqdm(names, desc="reference solutions", disable=not names):
        try:
            references[name] = reference(name, seed, limits, root)
        except (sandbox.SolutionError, ValueError) as error:
            references[name] = str(error)
    run_record = {
        "seed": seed,
        "solutions": {
            n: r if isinstance(r, str) else {"seed": r.seed, "sha256": r.sha256}
            for n, r in references.items()
        },
        "unrecognised": unrecognised,
    }
    write_atomic(out / "run.json", _json(run_record))

    reports = {}
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_graded, s, references[s.notebook], out, limits, root): s for s in found}
        try:
            for done in tqdm(
                as_completed(waiting), total=len(waiting), desc="submissions", disable=not waiting
            ):
                reports[waiting[done]] = done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    ordered = [reports[s] for s in found]
    write_atomic(out / "grades.csv", grades_csv(ordered, references))
    return _summary(ordered, unrecognised, out)


def find_submissions(folder: Path, root: Path = ROOT) -> tuple[list[Submission], list[dict[str, str]]]:
    """The submissions in a folder, and what else lies there, each with a reason; hidden files are skipped."""
    known = {path.stem for path in (root / "solutions").glob("*.ipynb")}
    found: dict[tuple[str, str], Submission] = {}
    others = []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") for part in place.parts):
            continue
        student, name = "", path.stem
        if len(place.parts) == 1:
            student, _, name = path.stem.rpartition("__")
        elif len(place.parts) == 2:
            student = place.parts[0]
        if path.suffix != ".ipynb":
            reason = "not a notebook (.ipynb)"
        elif len(place.parts) > 2:
            reason = "too deep: SUBMISSIONS/<student>/NN_name.ipynb"
        elif not student:
            reason = "the name is not <student>__NN_name.ipynb"
        elif name not in known:
            reason = f"there is no solutions/{name}.ipynb"
        elif not _STUDENT.fullmatch(student):
            reason = "a student's name is letters, digits and . _ @ + -"
        elif (student, name) in found:
            reason = f"{found[student, name].path.relative_to(folder)} is the same student's {name}"
        else:
            found[student, name] = Submission(student, name, path)
            continue
        others.append({"file": ascii(str(place))[1:-1], "reason": reason})
    return list(found.values()), others


def reference(name: str, seed: int, limits: Limits, root: Path = ROOT) -> Reference:
    """Run the solution with the secret seed, or with the next ones while a printed value is a near tie between roundings.

    Raises:
        ValueError: the notebook cannot be released as it is.
        sandbox.SolutionError: it does not run, or prints near ties with every seed.
    """
    path = root / "solutions" / f"{name}.ipynb"
    notebook = read(path)
    wrong = problems(notebook)
    if wrong:
        raise ValueError(f"solutions/{name}.ipynb: {wrong[0]}")
    code = pristine(
        notebook, {c.metadata["course"]["exercise"]: c.source for c in notebook.cells if role(c) == "answer"}
    )
    for draw in range(seed, seed + DRAWS):
        executed, values, _ = sandbox.execute(code, draw, limits, root)
        if any(near_boundary(v) for v in values):
            continue
        printed = {c.id: c.outputs for c in executed.cells if role(c) == "check"}
        for number, cell in enumerate(notebook.cells):
            if role(cell) == "check":
                cell.outputs, cell.execution_count = printed[cell.id], number
                if not cell.outputs:
                    raise sandbox.SolutionError(f"check cell {cell.id!r} of the solution prints nothing")
        sha256 = hashlib.sha256((nbformat.writes(notebook) + str(limits)).encode()).hexdigest()
        return Reference(notebook, exercises(notebook), draw, sha256)
    raise sandbox.SolutionError(
        f"{DRAWS} seeds in a row give values near a rounding boundary: let the checks print fewer"
    )


def grade_answers(
    given: dict[str, Answer], ref: Reference, limits: Limits, root: Path = ROOT, alone: bool = True
) -> tuple[dict[str, dict], float]:
    """Run a notebook of answers and decide each exercise.

    Args:
        given: exercise -> answer, as `transplant.answers` finds them.
        alone: try an exercise that failed beside other answers once more without them.

    Returns:
        exercise -> {"points": int or None, "possible", "outcome", "message"}, and the seconds that the runs took.
    """
    sources = {name: a.source for name, a in given.items() if a.state == "given"}
    verdicts, seconds = {}, 0.0
    whole = None
    if sources:
        whole = sandbox.run(pristine(ref.notebook, sources), ref.seed, limits, root)
        seconds += whole.seconds
    for exercise in ref.exercises:
        state = given[exercise.name].state
        if state != "given":
            message = {"missing": "there is no answer cell", "unanswered": "the stub is unchanged"}.get(
                state, ""
            )
            verdicts[exercise.name] = _verdict(exercise, state, message)
            continue
        verdict = _decide(exercise, ref.notebook, whole)
        settled = verdict["outcome"] == "passed" or (verdict["outcome"] == "timeout" and not whole.trouble)
        if alone and not settled and (len(sources) > 1 or verdict["points"] is None):
            own = {exercise.name: sources[exercise.name]}
            again = sandbox.run(pristine(ref.notebook, own, only=exercise.name), ref.seed, limits, root)
            seconds += again.seconds
            verdict = _decide(exercise, ref.notebook, again)
        verdicts[exercise.name] = verdict
    return verdicts, seconds


def _decide(exercise: Exercise, notebook: NotebookNode, ran: Run) -> dict:
    """The verdict on an exercise: its check cell passed, or the first of its cells that says why not."""
    code = [c for c in notebook.cells if c.cell_type == "code"]
    own = [ran.cells[c.id] for c in code if course(c).get("exercise") == exercise.name and c.id in ran.cells]
    before = [c.id for c in code[: [c.id for c in code].index(exercise.answer)] if not course(c)]
    check = ran.cells.get(exercise.check)
    if check is not None and check.ended == "passed":
        return _verdict(exercise, "passed", "")
    if any(i not in ran.cells or ran.cells[i].ended != "passed" for i in before):
        return _verdict(exercise, "undecided", ran.trouble or "a cell before the answer failed")
    hung = [c for c in own if c.ended == "timeout"]
    if hung:
        return _verdict(exercise, "timeout", hung[0].message)
    if check is None or any(c.ended == "dead" for c in own):
        return _verdict(exercise, "undecided", ran.trouble or "the kernel was gone")
    raised = [c for c in own if c.ended == "raised"]
    if raised and check.ended == "raised":
        return _verdict(exercise, "error", raised[0].message)
    reasons = [raised[0].message] if raised else []
    return _verdict(exercise, "wrong", "\n".join([*reasons, check.message]))


def _verdict(exercise: Exercise, outcome: str, message: str) -> dict:
    points = {"passed": exercise.points, "undecided": None}.get(outcome, 0)
    return {"points": points, "possible": exercise.points, "outcome": outcome, "message": message}


def _graded(submission: Submission, ref: Reference | str, out: Path, limits: Limits, root: Path) -> dict:
    """The report on one submission: an earlier one, if nothing changed and it was decided, or a new one."""
    target = out / f"{submission.student}__{submission.notebook}.json"
    report = {"student": submission.student, "notebook": submission.notebook, "file": str(submission.path)}
    try:
        if isinstance(ref, str):
            raise sandbox.SolutionError(ref)
        cells, sha256 = read_submission(submission.path)
        earlier = _read_json(target)
        same = earlier.get("sha256") == sha256 and earlier.get("solution_sha256") == ref.sha256
        if same and earlier.get("status") == "graded":
            return earlier
        report |= {"sha256": sha256, "solution_sha256": ref.sha256}
        given = answers(cells, ref.notebook, ref.exercises)
        verdicts, seconds = grade_answers(given, ref, limits, root)
        report["seconds"] = round(seconds, 1)
        undecided = [name for name, verdict in verdicts.items() if verdict["points"] is None]
        report["status"] = f"undecided: {', '.join(undecided)}" if undecided else "graded"
        report["exercises"] = verdicts
        report["flags"] = [flag for answer in given.values() for flag in answer.flags]
        report["open"] = open_answers(cells, ref.notebook)
    except UnreadableError as error:
        report["status"] = f"unreadable: {error}"
    except (
        Exception
    ) as error:  # whatever else goes wrong is the grader's failure, and costs this submission no point
        report["status"] = f"not graded: {type(error).__name__}: {error}"
    write_atomic(target, _json(report))
    return report


def grades_csv(reports: list[dict], references: dict[str, Reference | str]) -> str:
    """The table: one line for each submission, one column for each exercise of each notebook."""
    columns = [
        (n, e.name) for n, ref in references.items() if not isinstance(ref, str) for e in ref.exercises
    ]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["student", "notebook", "status", "points", "possible", *(f"{n}/{e}" for n, e in columns), "flags"]
    )
    for report in reports:
        verdicts, ref = report.get("exercises", {}), references[report["notebook"]]
        points = [verdicts[e]["points"] for e in verdicts]
        total = sum(points) if verdicts and None not in points else ""
        possible = "" if isinstance(ref, str) else sum(e.points for e in ref.exercises)
        cells = [verdicts.get(e, {}).get("points") if n == report["notebook"] else None for n, e in columns]
        marks = ["" if c is None else c for c in cells]
        flags = "; ".join(report.get("flags", ()))
        table.writerow(
            [
                report["student"],
                report["notebook"],
                report["status"].split("\n", 1)[0],
                total,
                possible,
                *marks,
                flags,
            ]
        )
    return text.getvalue()


def _summary(reports: list[dict], unrecognised: list[dict[str, str]], out: Path) -> int:
    open_cases = [r for r in reports if r["status"] != "graded"]
    for report in open_cases:
        print(f"for a person: {report['student']}, {report['notebook']}: {report['status'].splitlines()[0]}")
    for other in unrecognised:
        print(f"not recognised: {other['file']}: {other['reason']}")
    flagged = sum(bool(r.get("flags")) for r in reports)
    print(
        f"{len(reports)} submissions, {len(reports) - len(open_cases)} decided, {flagged} flagged: {out / 'grades.csv'}"
    )
    return 1 if open_cases or unrecognised else 0


def _earlier_seed(out: Path) -> int:
    seed = _read_json(out / "run.json").get("seed")
    return seed if isinstance(seed, int) else secrets.randbelow(2**31)


def _read_json(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _json(value: dict) -> str:
    return json.dumps(value, indent=1) + "\n"
