"""What the comparing process writes down; the sandbox copies this file beside the notebook as pytest's `conftest.py`.

One JSON line a code cell, written as soon as the cell is decided, so that a run that is cut short loses nothing. This
process never imports the course's library nor runs a student's code: nbval compares here what the kernel sends.
"""

import json
import resource
from pathlib import Path

RECORD = Path(__file__).with_name("record.jsonl")
LONGEST = 2000  # characters of a message


def pytest_configure(config):
    """Bound this process and the kernel that it starts (memory and file size, in bytes)."""
    memory, file_size = json.loads(Path(__file__).with_name("limits.json").read_text())
    limits = {resource.RLIMIT_DATA: memory, resource.RLIMIT_AS: 4 * memory, resource.RLIMIT_FSIZE: file_size}
    for what, most in limits.items():
        resource.setrlimit(what, (most, most))


def pytest_runtest_makereport(item, call):
    """Record how a cell ended: passed, differs, raised, timeout, dead (no kernel left) or judge (our own failure)."""
    if call.when == "setup" and call.excinfo is not None:
        _record(None, "judge", f"{call.excinfo.typename}: {call.excinfo.value}")
    if call.when != "call":
        return
    outputs = item.test_outputs or []
    if call.excinfo is None:
        _record(item.cell_num, "passed", "")
        return
    message = str(call.excinfo.value)
    raised = [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]
    if message == "Kernel dead on test start" or message.endswith("waiting for output."):
        _record(item.cell_num, "dead", message)
    elif message.startswith("Timeout"):
        _record(item.cell_num, "timeout", message)
    elif raised:
        _record(item.cell_num, "raised", raised[-1])
    elif message == "Cell outputs differ":
        _record(item.cell_num, "differs", _first_difference(item.cell.outputs, outputs))
    else:
        _record(item.cell_num, "judge", f"{call.excinfo.typename}: {message}")


def _first_difference(reference, outputs) -> str:
    want, got = ([line for line in _printed(o) if line.startswith("check ")] for o in (reference, outputs))
    for number, line in enumerate(want):
        if number >= len(got) or got[number] != line:
            return f"expected  {line}\ngot       {got[number] if number < len(got) else 'nothing'}"
    return "more was shown than the reference shows"


def _printed(outputs) -> list[str]:
    return "".join(o["text"] for o in outputs if o["output_type"] == "stream").splitlines()


def _record(cell, ended: str, message: str) -> None:
    with RECORD.open("a") as file:
        file.write(json.dumps({"cell": cell, "ended": ended, "message": message[:LONGEST]}) + "\n")
