"""From a student's file to a notebook that can be run: only the source of the answer cells makes the journey.

The student's file is parsed as JSON and trusted in nothing: not its format, size, metadata, tags, outputs, other cells
or order. An answer is a code cell with the id of the solution's answer cell, or, where ids were lost (some editors
rewrite them), one whose first line is `# answer: NAME`. Two different candidates are no answer: a person decides.
"""

import ast
import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from course_lib.grading.exercises import Exercise, course, defined_names, role, stub

LARGEST = 20 * 2**20  # bytes of a submitted file
LONGEST_ANSWER = 100_000  # characters of one answer

# What an answer has no need of, and what code that looks for the reference outputs would start with.
_MODULES = {"builtins", "ctypes", "gc", "importlib", "inspect", "os", "pathlib", "pickle", "shutil", "socket"}
_MODULES |= {"subprocess", "sys", "IPython", "ipykernel", "nbformat", "requests", "urllib"}
_NAMES = {
    "__import__",
    "__builtins__",
    "breakpoint",
    "checks",
    "compile",
    "eval",
    "exec",
    "get_ipython",
    "globals",
}
_NAMES |= {"input", "open", "vars"}
_WORDS = ("COURSE_CHECK", "solutions/", "/proc", "BEGIN HIDDEN")


_NBVAL_COMMENTS = {f"NBVAL_{w}" for w in ("IGNORE_OUTPUT", "CHECK_OUTPUT", "RAISES_EXCEPTION", "SKIP")}
_NBVAL_COMMENTS.add("PYTEST_VALIDATE_IGNORE_OUTPUT")


class UnreadableError(ValueError):
    """The submitted file is no notebook that can be graded; the message says why."""


@dataclass(frozen=True)
class Answer:
    """What was found for one exercise: `state` is "given", "unanswered" (the stub), "missing" or "undecided".

    `flags` say what a person should look at; they never change the points.
    """

    state: str
    source: str = ""
    flags: tuple[str, ...] = ()


def read_submission(path: Path) -> tuple[list[dict], str]:
    """The code cells of a submitted notebook as `{"id", "source"}`, and the file's sha256.

    Raises:
        UnreadableError: too large, no JSON, no notebook of format 4.
    """
    if not path.is_file() or path.is_symlink():
        raise UnreadableError("it is not an ordinary file")
    if path.stat().st_size > LARGEST:
        raise UnreadableError(
            f"it has {path.stat().st_size} bytes, at most {LARGEST} are read: clear its outputs"
        )
    data = path.read_bytes()
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"it is not JSON: {error}") from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or notebook.get("nbformat") != 4:
        raise UnreadableError("it is not a notebook of format 4")
    found = []
    for cell in cells:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if isinstance(source, str):
            found.append({"id": cell.get("id"), "source": source})
    return found, hashlib.sha256(data).hexdigest()


def answers(cells: list[dict], solution: NotebookNode, graded: list[Exercise]) -> dict[str, Answer]:
    """The student's answer to every exercise."""
    by_id = {cell.id: cell for cell in solution.cells}
    return {e.name: _answer(cells, e, stub(by_id[e.answer].source, e.name)) for e in graded}


def _answer(cells: list[dict], exercise: Exercise, unanswered: str) -> Answer:
    first_line = f"# answer: {exercise.name}"
    candidates = [
        cell["source"]
        for cell in cells
        if cell["id"] == exercise.answer or cell["source"].lstrip().split("\n", 1)[0].strip() == first_line
    ]
    different = list(dict.fromkeys(source.strip() for source in candidates))
    if not different:
        return Answer("missing", flags=(f"{exercise.name}: no cell answers it",))
    if len(different) > 1:
        return Answer("undecided", flags=(f"{len(different)} different cells answer {exercise.name}",))
    source = different[0]
    if source == unanswered.strip():
        return Answer("unanswered", source)
    try:
        source.encode("utf-8")
    except UnicodeEncodeError:
        return Answer("undecided", flags=(f"{exercise.name}: the answer holds characters that no text has",))
    if len(source) > LONGEST_ANSWER or "\0" in source:
        return Answer("undecided", flags=(f"{exercise.name}: the answer is too long or binary",))
    return Answer(
        "given", source, tuple(f"{exercise.name}: {flag}" for flag in suspicions(source, exercise.library))
    )


def pristine(solution: NotebookNode, sources: dict[str, str], only: str | None = None) -> NotebookNode:
    """The solution's code cells with these answers (exercise -> source) in them; exercises without one get the stub.

    Tags, metadata and reference outputs are the solution's own. Cells that a person reads ("open") and markdown are left
    out. With `only`, the cells of all other exercises are left out too.
    """
    notebook = NotebookNode(copy.deepcopy({k: v for k, v in solution.items() if k != "cells"}), cells=[])
    for original in solution.cells:
        name = course(original).get("exercise")
        if original.cell_type != "code" or role(original) == "open" or (only and name and name != only):
            continue
        cell = copy.deepcopy(original)
        if role(cell) == "answer":
            cell.source = _without_nbval_comments(sources.get(name, stub(cell.source, name)))
        notebook.cells.append(cell)
    return notebook


def open_answers(cells: list[dict], solution: NotebookNode) -> dict[str, str]:
    """The student's words in the exercises that a person reads, '' where there are none."""
    found = {}
    for original in solution.cells:
        if role(original) == "open":
            sources = [cell["source"] for cell in cells if cell["id"] == original.id]
            found[course(original)["exercise"]] = sources[0] if sources else ""
    return found


def suspicions(source: str, library: tuple[str, ...] = ()) -> list[str]:
    """What a person should look at in an answer: the library's own function, or code that reaches around the exercise.

    Names are read from the syntax tree, so this finds the careless and not the determined.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ["not plain Python"]
    defined = defined_names(tree)
    imported = {
        (a.asname or a.name) for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names
    }
    own = defined - imported
    found = {f"redefines {name}" for name in defined & {"print", "checks"}}
    for full in library:
        last = full.rsplit(".", 1)[-1]
        if any(_mentions(node, full, last, own) for node in ast.walk(tree)):
            found.add(f"may use {full}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(f"imports {a.name}" for a in node.names if a.name.split(".")[0] in _MODULES)
            found.update(f"imports {a.name}" for a in node.names if a.name.startswith("course_lib.grading"))
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if module.split(".")[0] in _MODULES or module.startswith("course_lib.grading"):
                found.add(f"imports {module}")
            if module.startswith("course_lib") and any(a.name in ("*", "grading") for a in node.names):
                found.add(f"imports {node.names[0].name} from {module}")
        elif isinstance(node, ast.Name) and node.id in _NAMES:
            found.add(f"uses {node.id}")
        elif isinstance(node, ast.Attribute) and node.attr.startswith("__") and node.attr != "__init__":
            found.add(f"uses {node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(f"mentions {word}" for word in _WORDS if word in node.value)
    return sorted(found)


def _mentions(node: ast.AST, full: str, last: str, own: set[str]) -> bool:
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").startswith("course_lib") and any(a.name == last for a in node.names)
    if isinstance(node, ast.Attribute):
        return node.attr == last and isinstance(node.ctx, ast.Load) and not _is_self(node.value)
    if isinstance(node, ast.Name):
        return node.id == last and isinstance(node.ctx, ast.Load) and last not in own
    return isinstance(node, ast.Constant) and node.value in (full, last)


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _without_nbval_comments(source: str) -> str:
    """nbval obeys comments such as `# NBVAL_SKIP` in the source of a cell; in an answer they say nothing."""
    lines = source.split("\n")
    return "\n".join("#" if line.strip().lstrip("#").strip() in _NBVAL_COMMENTS else line for line in lines)
