"""Build the book: `python book/build.py`, from anywhere, with the Python that has the requirements.

1. The chapters are executed in the smoke tier, two at a time, into a jupyter-cache. The cache knows a notebook by its
   code alone, so it is emptied whenever the library, its data or an installed package changed.
2. The generated pages are written: the equation index, the results, the execution times.
3. Jupyter Book typesets everything with warnings as errors, into an empty folder: on an old one Sphinx repeats no
   warning of a page that it does not read again.

A stamp, written after full success, spares a book with nothing changed step 3.
"""

import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbclient import NotebookClient
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # for `book`, also when this file is run as a script
from book import registry, results  # noqa: E402

BUILD = ROOT / "_build"
HTML = BUILD / "html"
CACHE = BUILD / ".jupyter_cache"  # where Jupyter Book looks for it
STAMP = BUILD / "stamp"
GENERATED = ROOT / "book" / "generated"
WORKERS = 2
# Seconds of processor time a chapter may take in the smoke tier: the clock depends on what else the machine does.
CHAPTER_LIMIT = 45.0

LIBRARY = ("course_lib", "pretrained")
PAGES = ("notebooks", "exercises", "solutions", "book", "_config.yml", "_toc.yml")


def main() -> int:
    smoke_environment()
    notebooks = chapters()
    empty_stale_cache()
    executed, failures = execute(notebooks)
    if failures:
        print("\n\n".join(failures), file=sys.stderr)
        print(
            f"\nThe book was not built: {len(failures)} of {len(notebooks)} notebooks failed.",
            file=sys.stderr,
        )
        return 1

    GENERATED.mkdir(exist_ok=True)
    (GENERATED / "equations.md").write_text(registry.read(ROOT).page(), encoding="utf-8")
    (GENERATED / "results.md").write_text(results.page(ROOT / "pretrained"), encoding="utf-8")
    (GENERATED / "timings.md").write_text(timing_table(notebooks), encoding="utf-8")

    inputs = fingerprint(*LIBRARY, *PAGES)
    if not STAMP.exists() or STAMP.read_text() != inputs + produced():
        STAMP.unlink(missing_ok=True)
        if not typeset():
            print("\nThe book was not built: see the warnings above.", file=sys.stderr)
            return 1
        STAMP.write_text(inputs + produced())
    report(notebooks, executed)
    return 0


def smoke_environment() -> None:
    """What the chapters see: one thread each, embedded data only, and nothing that differs from run to run."""
    os.environ.update(COURSE_TIER="smoke", OMP_NUM_THREADS="1", PYTHONHASHSEED="0")
    for name in ("COURSE_DATA", "COURSE_CHECK_SEED"):
        os.environ.pop(name, None)


def chapters() -> list[Path]:
    """The notebooks to execute, in the order of the table of contents.

    Raises:
        SystemExit: two of them hold the same code, so that the cache would take one for the other.
    """

    def files(entry: dict) -> list[str]:
        below = [child for key in ("parts", "chapters", "sections") for child in entry.get(key, [])]
        return [entry[key] for key in ("root", "file") if key in entry] + [
            x for child in below for x in files(child)
        ]

    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    notebooks = [ROOT / f"{name}.ipynb" for name in files(toc) if name.startswith("notebooks/")]
    seen: dict[str, Path] = {}
    for path in notebooks:
        code = cache_key(path)
        if code in seen:
            sys.exit(
                f"{path.name} and {seen[code].name} hold the same code: the cache would take one for the other"
            )
        seen[code] = path
    return notebooks


def cache_key(path: Path) -> str:
    """By what jupyter-cache knows this notebook."""
    return get_cache(CACHE).create_hashed_notebook(nbformat.read(path, as_version=4))[1]


def empty_stale_cache() -> None:
    """Forget all executions if the library, its data or an installed package changed since."""
    library = fingerprint(*LIBRARY)
    key = CACHE / "library"
    if not key.exists() or key.read_text() != library:
        shutil.rmtree(CACHE, ignore_errors=True)
        CACHE.mkdir(parents=True)
        key.write_text(library)


def execute(notebooks: list[Path]) -> tuple[list[Path], list[str]]:
    """Run what the cache lacks; the notebooks that ran, and a report for each one that failed."""
    cache = get_cache(CACHE)
    known = {record.hashkey for record in cache.list_cache_records()}
    missing = [path for path in notebooks if cache_key(path) not in known]
    failures = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        jobs = {pool.submit(run_notebook, path): path for path in missing}
        for job in tqdm(as_completed(jobs), total=len(jobs), desc="Executing chapters", disable=not jobs):
            notebook, times, failure = job.result()
            if failure:
                failures.append(failure)
            else:
                bundle = CacheBundleIn(notebook, str(jobs[job]), data=times)
                cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    return missing, failures


def run_notebook(path: Path) -> tuple[nbformat.NotebookNode, dict[str, float], str]:
    """The executed notebook, the seconds it took by the clock and of the processor, and what went wrong ("" if nothing did)."""
    timeout = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["execute"]["timeout"]
    notebook = nbformat.read(path, as_version=4)
    current = {}
    client = NotebookClient(
        notebook,
        timeout=timeout,
        record_timing=False,  # it would stand in the cells' metadata, which the cache's key covers
        extra_arguments=["--log-level=ERROR"],  # no remark about unencrypted TCP at each start
        resources={"metadata": {"path": str(path.parent)}},
        on_cell_start=lambda cell, cell_index: current.update(id=cell.id, number=cell_index + 1),
    )
    before = os.times()
    try:
        client.execute()
    except Exception as error:  # a cell's error, a timeout or a dead kernel: all of them end here
        trace = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        where = f"{path.relative_to(ROOT)}, cell {current.get('id')!r} (number {current.get('number')})"
        return notebook, {}, f"{where}:\n{trace}"
    after = os.times()
    kernel = after.children_user + after.children_system - before.children_user - before.children_system
    notebook.metadata.pop("widgets", None)  # the pages show no widgets, and their state holds pictures
    return notebook, {"execution_seconds": after.elapsed - before.elapsed, "processor_seconds": kernel}, ""


def typeset() -> bool:
    """Run Jupyter Book on empty output folders; False if it had anything to complain about."""
    for folder in (HTML, BUILD / ".doctrees", BUILD / "jupyter_execute"):
        shutil.rmtree(folder, ignore_errors=True)
    print("Typesetting the pages ...", flush=True)
    command = "from jupyter_book.cli.main import main; main()"
    options = ["build", str(ROOT), "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run([sys.executable, "-c", command, *options], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr or done.stdout, file=sys.stderr)
    return done.returncode == 0


def times_of(notebooks: list[Path]) -> dict[Path, tuple[float, float]]:
    """Seconds by the clock and of the processor that each notebook took; those that never ran are left out."""
    known = {record.hashkey: record.data for record in get_cache(CACHE).list_cache_records()}
    data = {path: known[key] for path in notebooks if (key := cache_key(path)) in known}
    return {path: (times["execution_seconds"], times["processor_seconds"]) for path, times in data.items()}


def timing_table(notebooks: list[Path]) -> str:
    """The chapters' seconds as a MyST table: of the processor, since the clock also counts what else was running."""
    rows = [
        f"| {{doc}}`/notebooks/{path.stem}` | {cpu:.0f} |" for path, (_, cpu) in times_of(notebooks).items()
    ]
    return "\n".join(["| Chapter | Seconds |", "|:--|--:|", *rows]) + "\n"


def report(notebooks: list[Path], executed: list[Path]) -> None:
    """The closing table, and the page to open."""
    print(f"\n{'notebook':<28}{'seconds':>10}{'processor':>12}")
    for path, (clock, cpu) in times_of(notebooks).items():
        late = f"  more than {CHAPTER_LIMIT:.0f} s" if cpu > CHAPTER_LIMIT else ""
        print(
            f"{path.stem:<28}{clock:>10.1f}{cpu:>12.1f}  {'executed' if path in executed else 'cached'}{late}"
        )
    print(f"\nThe book is built. Open {(HTML / 'index.html').as_uri()}")


def fingerprint(*names: str) -> str:
    """A hash of files and folders (paths from the root), the installed packages and the Python version."""
    packages = sorted(f"{item.name} {item.version}" for item in importlib.metadata.distributions())
    total = hashlib.sha256(json.dumps([sys.version, packages]).encode())
    for name in names:
        path = ROOT / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts and ".ipynb_checkpoints" not in file.parts:
                total.update(
                    f"{file.relative_to(ROOT)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
                )
    return total.hexdigest()


def produced() -> str:
    """A hash of the names and sizes in the output folder: a damaged book is not taken for an unchanged one."""
    files = sorted(f"{path.relative_to(HTML)} {path.stat().st_size}" for path in HTML.rglob("*"))
    return hashlib.sha256("\n".join(files).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
