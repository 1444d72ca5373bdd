"""Write the exercise notebooks and every other generated part of the notebooks.

    python -m course_lib release                      write exercises/ and the generated cells
    python -m course_lib release --check              write nothing; exit 1 and name every stale file (CI)
    python -m course_lib release --execute 05_vae     run that solutions notebook and store its check cells' outputs

What is generated:

- `exercises/NN_name.ipynb`, wholly, from `solutions/NN_name.ipynb`: answers become stubs that say what to write, hidden
  tests and all outputs go. Never edit these.
- The cells with ids "links" and "setup" in `notebooks/`, `solutions/` and `exercises/`, from the repository's address in
  `_config.yml` (`repository: url, branch`). Write them with any text; release replaces it.
- Outputs, execution counts and volatile metadata are stripped from `notebooks/` and `solutions/`, but for the reference
  outputs of the check cells.

Before anything is written, each solutions notebook is checked against the rules of `course_lib.grading.exercises`; a
notebook with problems is left alone and its problems are listed.
"""

import argparse
import copy
import os
import sys
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from course_lib.grading import sandbox
from course_lib.grading.checks import near_boundary
from course_lib.grading.exercises import (
    CHECK_TAG,
    ROOT,
    course,
    identity_problems,
    output_problems,
    problems,
    read,
    role,
    stub,
    without_hidden_tests,
)

PLACEHOLDER = "OWNER/REPOSITORY"
COMMAND = "python -m course_lib release"
_VOLATILE = ("execution", "ExecuteTime", "scrolled", "collapsed", "outputId", "colab")
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m course_lib release`."""
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if anything is stale")
    parser.add_argument(
        "--execute",
        nargs="*",
        metavar="NN_name",
        help="first run these solutions notebooks (all of them, when none is named) and store their check outputs",
    )


def run(args: argparse.Namespace) -> int:
    """The sub-command; returns the exit code."""
    if args.check and args.execute is not None:
        print("release: --check writes nothing, so it cannot --execute: give one of the two", file=sys.stderr)
        return 2
    return main(args.check, args.execute)


def main(check: bool = False, execute: list[str] | None = None, root: Path = ROOT) -> int:
    """Release (or check) everything under `root` and print what was done; returns the exit code.

    Args:
        check: write nothing.
        execute: names of solutions notebooks to run first, [] for all, None for none.
    """
    found = execute_solutions(execute, root) if execute is not None else []
    wanted, more = generated_files(root)
    found += more
    stale = [
        path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    orphans = [p for p in _notebooks(root, "exercises") if not (root / "solutions" / p.name).exists()]
    for line in found:
        print(f"problem: {line}")
    for path in stale:
        place = path.relative_to(root)
        if check:
            print(f"stale: {place}{_reason(path, wanted[path])}. Run `{COMMAND}`.")
        else:
            write_atomic(path, wanted[path])
            print(f"wrote {place}")
    for path in orphans:
        place = path.relative_to(root)
        if check:
            print(f"stale: {place} has no solutions notebook. Run `{COMMAND}`.")
        else:
            path.unlink()
            print(f"removed {place}: it has no solutions notebook")
    if not (found or stale or orphans):
        print(f"release: {len(wanted)} notebooks are up to date")
    return 1 if found or (check and (stale or orphans)) else 0


def generated_files(root: Path = ROOT) -> tuple[dict[Path, str], list[str]]:
    """What the files under notebooks/, solutions/ and exercises/ should hold, and the problems that need an author."""
    address, found, wanted = repository(root), [], {}
    for folder in ("notebooks", "solutions"):
        for path in _notebooks(root, folder):
            place = path.relative_to(root)
            try:
                notebook = read(path)
            except ValueError as error:
                found.append(str(error))
                continue
            wrong = problems(notebook) if folder == "solutions" else identity_problems(notebook)
            wrong += [f"no cell with the id {i!r}" for i in ("links", "setup") if not _cells(notebook, i)]
            if folder == "notebooks" and any(role(c) for c in notebook.cells):
                wrong.append("exercises stand in solutions/, not in a chapter")
            if wrong:
                found += [f"{place}: {what}" for what in wrong]
                continue
            if folder == "solutions":
                found += [
                    f"{place}: {what}: run `{COMMAND} --execute {path.stem}`"
                    for what in output_problems(notebook)
                ]
                wanted[root / "exercises" / path.name] = _text(
                    exercise_notebook(notebook), "exercises", path, address
                )
            wanted[path] = _text(notebook, folder, path, address)
    return wanted, found


def exercise_notebook(solution: NotebookNode) -> NotebookNode:
    """The student's notebook: stubs, no hidden tests, no outputs, only the metadata that identify the cells."""
    notebook = copy.deepcopy(solution)
    for cell in notebook.cells:
        meta = course(cell)
        if cell.cell_type == "code":
            if role(cell) in ("answer", "open"):
                cell.source = stub(cell.source, meta["exercise"])
            elif role(cell) == "check":
                cell.source = without_hidden_tests(cell.source)
            cell.outputs, cell.execution_count = [], None
        tags = [tag for tag in cell.metadata.get("tags", ()) if tag != CHECK_TAG]
        cell.metadata = NotebookNode({"tags": tags} if tags else {})
        if meta:
            cell.metadata["course"] = {k: v for k, v in meta.items() if k in ("role", "exercise", "points")}
    notebook.metadata = NotebookNode()
    return notebook


def execute_solutions(names: list[str], root: Path = ROOT) -> list[str]:
    """Run solutions notebooks with the default seed and store what their check cells print; returns problems."""
    found = []
    for path in _notebooks(root, "solutions"):
        if names and path.stem not in names:
            continue
        notebook = read(path)
        wrong = problems(notebook)
        if wrong:
            found += [f"solutions/{path.name}: {what}" for what in wrong]
            continue
        try:
            executed, values, seconds = sandbox.execute(notebook, seed=0, root=root)
        except sandbox.SolutionError as error:
            found.append(f"solutions/{path.name}: {error}")
            continue
        for number, (cell, ran) in enumerate(zip(notebook.cells, executed.cells, strict=True)):
            if role(cell) == "check":
                cell.outputs, cell.execution_count = ran.outputs, number
        close = [v for v in values if near_boundary(v)]
        if close:
            found.append(
                f"solutions/{path.name}: with the default seed {close[0]!r} lies so near a rounding boundary that another"
                " machine may print another digit: rename the inputs of that check, which draws others"
            )
        write_atomic(path, nbformat.writes(notebook) + "\n")
        print(f"executed solutions/{path.name} in {seconds:.1f} s: {len(values)} values stored")
    unknown = set(names) - {path.stem for path in _notebooks(root, "solutions")}
    return found + [f"there is no solutions/{name}.ipynb to execute" for name in sorted(unknown)]


def repository(root: Path = ROOT) -> tuple[str, str]:
    """(address, branch) of the repository, from `_config.yml`.

    Raises:
        ValueError: the file does not say.
    """
    try:
        setting = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
        return setting["url"].rstrip("/"), setting.get("branch", "main")
    except (OSError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(
            f"{root / '_config.yml'} must hold `repository: {{url: ..., branch: ...}}`: {error!r}"
        ) from error


def links_cell(folder: str, name: str, address: tuple[str, str], has_exercises: bool) -> str:
    """Where else this notebook opens, in text, and the way between a chapter and its exercises."""
    unset = PLACEHOLDER in address[0]
    if folder == "notebooks":
        elsewhere = "" if unset else f" (in {_links(address, 'exercises', name)})"
        neighbour = (
            f"Exercises of this chapter: [{name}](../exercises/{name}.ipynb){elsewhere}."
            if has_exercises
            else ""
        )
    else:
        neighbour = f"The chapter: [{name}](../notebooks/{name}.ipynb)."
    if unset:
        here = (
            "Links that open this page in Colab or Binder appear here once the repository's address is set"
            " (`repository: url` in `_config.yml`)."
        )
    else:
        here = f"Open this page in {_links(address, folder, name)}."
    return "\n\n".join(filter(None, [here, neighbour]))


def _links(address: tuple[str, str], folder: str, name: str) -> str:
    url, branch = address
    path = url.split("github.com/", 1)[-1]
    colab = f"https://colab.research.google.com/github/{path}/blob/{branch}/{folder}/{name}.ipynb"
    binder = f"https://mybinder.org/v2/gh/{path}/{branch}?labpath={folder}%2F{name}.ipynb"
    return f"[Colab]({colab}) or [Binder]({binder})"


def setup_cell(address: tuple[str, str]) -> str:
    """On Colab: fetch the course and install it beside the torch that is there. Elsewhere: nothing."""
    url, branch = address
    if PLACEHOLDER in url:
        return """# On Colab this cell installs the course; elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    raise RuntimeError("no repository known: set `repository: url` in _config.yml")"""
    return f"""# On Colab this cell installs the course beside its torch; elsewhere it does nothing.
import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules:
    folder = Path("/content/course")
    if not folder.exists():
        clone = ["git", "clone", "--quiet", "--depth", "1", "--branch", "{branch}"]
        subprocess.run([*clone, "{url}", folder], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--editable"]
    subprocess.run([*pip, folder], check=True)
    sys.path.insert(0, str(folder))  # this kernel started before the install"""


def write_atomic(path: Path, text: str) -> None:
    """Write the whole file or nothing: a temporary neighbour, flushed to disk, takes the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _notebooks(root: Path, folder: str) -> list[Path]:
    return sorted(p for p in (root / folder).glob("*.ipynb") if not p.name.startswith("."))


def _cells(notebook: NotebookNode, cell_id: str) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.get("id") == cell_id]


def _text(notebook: NotebookNode, folder: str, path: Path, address: tuple[str, str]) -> str:
    """The file's text: generated cells filled, outputs stripped, the same bytes for the same content."""
    has_exercises = (path.parents[1] / "solutions" / path.name).exists()
    for cell in notebook.cells:
        if cell.id == "links":
            cell.source = links_cell(folder, path.stem, address, has_exercises)
        elif cell.id == "setup":
            cell.source = setup_cell(address)
        for key in _VOLATILE:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code" and not (folder == "solutions" and role(cell) == "check"):
            cell.outputs, cell.execution_count = [], None
    others = {
        k: v for k, v in notebook.metadata.items() if k not in (*_METADATA, "widgets", "colab", "accelerator")
    }
    notebook.metadata = NotebookNode(copy.deepcopy(_METADATA) | others)
    return nbformat.writes(notebook) + "\n"


def _reason(path: Path, wanted: str) -> str:
    """Why a file is stale, where that can be said in a few words."""
    if not path.exists():
        return " is missing"
    try:
        old, new = read(path), nbformat.reads(wanted, as_version=4)
    except ValueError:
        return " is not a notebook"
    if [c.get("id") for c in old.cells] != [c.id for c in new.cells]:
        return " has other cells"
    changed = [b.id for a, b in zip(old.cells, new.cells, strict=True) if a.source != b.source]
    if changed:
        return f": cells {', '.join(changed)} changed"
    stored = [b.id for a, b in zip(old.cells, new.cells, strict=True) if a.get("outputs") != b.get("outputs")]
    return f" stores outputs in cells {', '.join(stored)}" if stored else ": metadata or formatting"
