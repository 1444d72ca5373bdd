"""Run a notebook in processes of its own.

Two processes and two folders for each run. The *judge* is pytest with nbval: it holds the notebook with the reference
outputs, starts the kernel, and compares. The *jail* is the kernel's working folder, empty, and the only place a
student's code is meant to see. Both processes have limits on memory, processor time and file size; a cell and the whole
run have limits in wall-clock time; the environment is made from nothing.

What this first version does not do: the kernel is the same user on the same machine, so code that looks for them can
read `solutions/`, the judge's folder or the network. `kernel_command` is the one place where a stronger jail
(bubblewrap) goes; nothing else knows how the kernel is started.
"""

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from course_lib.grading.exercises import ROOT

HERE = Path(__file__).parent
# nbval replaces what matches before it compares: lines that no check printed.
SANITIZE = "regex: (?m)^(?!check ).*\\n?\nreplace: \n"


@dataclass(frozen=True)
class Limits:
    """How much a run may take."""

    cell_seconds: float = 30  # wall clock, one cell
    memory: int = 3 * 2**30  # bytes, each process; with torch imported the kernel starts at about 1/2 GiB
    file_size: int = 64 * 2**20  # bytes, one file

    @property
    def run_seconds(self) -> float:
        """Wall clock of one run, a few hung cells included."""
        return 60 + 5 * self.cell_seconds

    @property
    def cpu_seconds(self) -> int:
        """Processor time of one process."""
        return int(self.run_seconds)


@dataclass(frozen=True)
class Cell:
    """How one code cell ended (the words are the judge's) and what it said."""

    ended: str
    message: str


@dataclass(frozen=True)
class Run:
    """How a run ended: code cell id -> Cell (a cell without a verdict is absent), and what went wrong around them."""

    cells: dict[str, Cell]
    seconds: float
    trouble: str


class SolutionError(RuntimeError):
    """A solutions notebook does not run: nothing can be graded against it."""


def kernel_command(jail: Path, limits: Limits) -> list[str]:
    """The command that starts a kernel in `jail`; the connection file's path is appended to it."""
    numbers = (limits.memory, limits.cpu_seconds, limits.file_size)
    return [sys.executable, str(HERE / "kernel.py"), str(jail), *map(str, numbers)]


def run(notebook: NotebookNode, seed: int, limits: Limits, root: Path = ROOT) -> Run:
    """Execute `notebook` with nbval and compare its check cells with the outputs stored in it.

    Args:
        notebook: only the metadata of our own notebooks; a student's words stand in answer cells' source alone.
        seed: `COURSE_CHECK_SEED` of the kernel.
        root: the course, put on the kernel's import path.
    """
    start = time.monotonic()
    with _folders(limits, seed, root) as (judge, environment):
        (judge / "notebook.ipynb").write_text(json.dumps(notebook))
        (judge / "sanitize.cfg").write_text(SANITIZE)
        (judge / "pytest.ini").write_text("[pytest]\n")
        (judge / "limits.json").write_text(json.dumps([limits.memory, limits.file_size]))
        shutil.copy(HERE / "judge.py", judge / "conftest.py")
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            "pytest.ini",
            "-p",
            "nbval.plugin",
            "-p",
            "no:cacheprovider",
        ]
        command += [
            "-q",
            "--tb=no",
            "--nbval-lax",
            "--nbval-kernel-name=course",
            "--nbval-sanitize-with=sanitize.cfg",
        ]
        command += [f"--nbval-cell-timeout={limits.cell_seconds}", "notebook.ipynb"]
        with (judge / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=judge,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(limits.run_seconds)
                trouble = "" if code in (0, 1) else f"pytest ended with code {code}"
            except subprocess.TimeoutExpired:
                trouble = f"the run took longer than {limits.run_seconds:g} s"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        ids = [cell.id for cell in notebook.cells if cell.cell_type == "code"]
        cells = {}
        for record in _records(judge / "record.jsonl"):
            if record["ended"] == "judge":
                trouble = trouble or record["message"]
            else:
                cells[ids[record["cell"]]] = Cell(record["ended"], record["message"])
        if trouble:
            tail = (judge / "log.txt").read_text(errors="replace")[-1000:].strip()
            trouble += f"\n{tail}" if tail else ""
    return Run(cells, time.monotonic() - start, trouble)


def execute(notebook: NotebookNode, seed: int, limits: Limits | None = None, root: Path = ROOT):
    """Run a notebook of our own under the same conditions and keep its outputs.

    Returns:
        (the executed copy, the unrounded floats that its checks showed, seconds).

    Raises:
        SolutionError: a cell fails, or the kernel does not start.
    """
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    start = time.monotonic()
    limits = limits or Limits()
    executed = copy.deepcopy(notebook)
    with _folders(limits, seed, root) as (judge, environment):
        exact = judge / "exact.jsonl"
        manager = AsyncKernelManager(
            kernel_name="course",
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(judge / "share" / "kernels")]),
            connection_file=str(judge / "kernel.json"),
        )
        client = NotebookClient(
            executed,
            km=manager,
            timeout=int(limits.cell_seconds),
            kernel_name="course",
            coalesce_streams=True,  # under load a kernel sends a printed line in two pieces
        )
        try:
            client.execute(env=environment | {"COURSE_CHECK_FULL": str(exact)}, stderr=subprocess.DEVNULL)
        except CellExecutionError as error:
            raise SolutionError(f"the solution fails: {error.ename}: {error.evalue}") from error
        except Exception as error:  # a dead kernel, a time-out, no free port: all leave us without references
            raise SolutionError(f"the solution does not run: {type(error).__name__}: {error}") from error
        values = [v for line in _records(exact) for v in line]
    return executed, values, time.monotonic() - start


@contextmanager
def _folders(limits: Limits, seed: int, root: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """The judge's folder, holding a kernel specification that starts in an empty jail, and the judge's environment."""
    judge, jail = (Path(tempfile.mkdtemp(prefix=f"course-{what}-")) for what in ("judge", "jail"))
    try:
        kernel = {
            "argv": [*kernel_command(jail, limits), "-f", "{connection_file}"],
            "display_name": "course",
            "language": "python",
            "env": dict.fromkeys(("HOME", "TMPDIR", "IPYTHONDIR", "XDG_CACHE_HOME"), str(jail))
            | {"COURSE_CHECK_SEED": str(seed)},
        }
        specification = judge / "share" / "kernels" / "course" / "kernel.json"
        specification.parent.mkdir(parents=True)
        specification.write_text(json.dumps(kernel))
        yield (
            judge,
            {
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(judge),
                "TMPDIR": str(judge),
                "LANG": "C.UTF-8",
                "JUPYTER_PATH": str(judge / "share"),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTHONPATH": os.pathsep.join([str(root), str(ROOT)]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONHASHSEED": "0",
                "PYTHONWARNINGS": "ignore",
                "COURSE_TIER": "smoke",
                "CUDA_VISIBLE_DEVICES": "",
                "MPLBACKEND": "agg",
                **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
            },
        )
    finally:
        for folder in (judge, jail):
            shutil.rmtree(folder, ignore_errors=True)


def _records(path: Path) -> list:
    """The JSON lines of a file; a last line that was cut short is dropped."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found
