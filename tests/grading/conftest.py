"""A course of two small chapters in a temporary folder, with everything that release and grade look at."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course_lib.grading import release

IMPORTS = "import numpy as np\n\nfrom course_lib.grading import checks"

SQUARE = '''# answer: square
def square(x):
    """x squared, elementwise."""
    ### BEGIN SOLUTION return x times x
    return x * x
    ### END SOLUTION'''

CENTRE = '''# answer: centre
def centre(x):
    """x (n, d) without its mean over the n rows."""
    ### BEGIN SOLUTION subtract the mean over rows
    mean = x.mean(0)
    return x - mean
    ### END SOLUTION'''

SCALE = """# answer: scale
### BEGIN SOLUTION write scale(x): x divided by its largest absolute value
def scale(x):
    return x / np.abs(x).max()
### END SOLUTION"""

THOUGHT = """# answer: thought
### BEGIN SOLUTION try another power and plot it
print("cubes")
### END SOLUTION"""


def meta(role: str, exercise: str, **more) -> dict:
    tags = {"tags": ["nbval-check-output"]} if role == "check" else {}
    return {"course": {"role": role, "exercise": exercise, **more}} | tags


def check(exercise: str, call: str) -> str:
    return (
        f'### BEGIN HIDDEN TESTS\nx = checks.rng("{exercise}").standard_normal((3, 2))\n'
        f'checks.show("{exercise}", {call})\n### END HIDDEN TESTS'
    )


def visible(exercise: str, call: str, right: str, hints: str) -> str:
    return (
        f'x = checks.rng("{exercise}, visible").standard_normal((3, 2))\n'
        f'checks.compare({call}, {right}, {hints}, name="{exercise}")'
    )


def exercise_cells(name: str, answer: str, right: str, hints: str, points: int, library=()) -> list:
    call = f"{name}(x)"
    more = {"library": list(library)} if library else {}
    return [
        new_markdown_cell(f"## Exercise: {name}", id=name),
        new_code_cell(answer, id=f"{name}-answer", metadata=meta("answer", name, **more)),
        new_code_cell(
            visible(name, call, right, hints), id=f"{name}-visible", metadata=meta("visible", name)
        ),
        new_code_cell(check(name, call), id=f"{name}-check", metadata=meta("check", name, points=points)),
    ]


def head(title: str) -> list:
    return [
        new_markdown_cell(f"# {title}", id="title"),
        new_markdown_cell("(generated)", id="links"),
        new_code_cell("# generated", id="setup"),
        new_code_cell(IMPORTS, id="imports"),
    ]


def solution_notebook():
    cells = head("01 Exercises")
    cells += exercise_cells(
        "square", SQUARE, "x * x", '{"it is doubled": 2 * x}', 1, ["course_lib.nn.square"]
    )
    cells += exercise_cells(
        "centre", CENTRE, "x - x.mean(0)", '{"mean over columns": x - x.mean(1, keepdims=True)}', 2
    )
    cells += exercise_cells("scale", SCALE, "x / np.abs(x).max()", "{}", 3)
    cells.append(new_code_cell(THOUGHT, id="thought-answer", metadata=meta("open", "thought")))
    return new_notebook(cells=cells)


MUTANTS = {
    "square": {"doubled": "x + x", "signed": "x * abs(x)", "cubed": "x**3"},
    "centre": {
        "over_all": "x - x.mean()",
        "over_columns": "x - x.mean(1, keepdims=True)",
        "added": "x + x.mean(0)",
    },
    "scale": {
        "range": "x / np.ptp(x)",
        "per_row": "x / np.abs(x).max(1, keepdims=True)",
        "std": "x / x.std()",
    },
}


def write(notebook, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(nbformat.writes(notebook) + "\n")


def build(root: Path) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / "_config.yml").write_text(
        "repository:\n  url: https://github.com/someone/course\n  branch: main\n"
    )
    write(solution_notebook(), root / "solutions" / "01_demo.ipynb")
    write(new_notebook(cells=head("01 Demo")), root / "notebooks" / "01_demo.ipynb")
    for exercise, bugs in MUTANTS.items():
        for what, value in bugs.items():
            path = root / "solutions" / "mutants" / "01_demo" / f"{exercise}__{what}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# answer: {exercise}\ndef {exercise}(x):\n    return {value}\n")
    return root


@pytest.fixture
def course(tmp_path) -> Path:
    """The course before anything was released."""
    return build(tmp_path / "course")


@pytest.fixture(scope="session")
def released(tmp_path_factory) -> Path:
    """The course with stored reference outputs (run here, without a kernel) and exercises; tests leave it as it is."""
    root = build(tmp_path_factory.mktemp("released") / "course")
    notebook, names = solution_notebook(), {}
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        with redirect_stdout(io.StringIO()) as printed:
            exec(cell.source, names)
        if cell.id.endswith("-check"):
            cell.outputs, cell.execution_count = (
                [new_output("stream", name="stdout", text=printed.getvalue())],
                number,
            )
    write(notebook, root / "solutions" / "01_demo.ipynb")
    assert release.main(root=root) == 0
    return root


class Handed:
    """A student's copy of an exercise notebook, filled cell by cell."""

    def __init__(self, root: Path, name: str = "01_demo"):
        self.json = json.loads((root / "exercises" / f"{name}.ipynb").read_text())

    def cell(self, cell_id: str) -> dict:
        return next(c for c in self.json["cells"] if c["id"] == cell_id)

    def answer(self, exercise: str, body: str) -> "Handed":
        """Fill in `body`: a function of x, or a whole cell when it holds several lines."""
        whole = body if "\n" in body else f"# answer: {exercise}\ndef {exercise}(x):\n    return {body}"
        self.cell(f"{exercise}-answer")["source"] = whole
        return self

    def right(self) -> "Handed":
        return (
            self.answer("square", "x * x")
            .answer("centre", "x - x.mean(0)")
            .answer("scale", "x / np.abs(x).max()")
        )

    def save(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.json))
        return path


@pytest.fixture
def handed(released):
    """Makes a student's copy: handed() is the empty one, handed().right() the full one."""
    return lambda: Handed(released)
