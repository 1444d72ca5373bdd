"""The kernel that runs a graded notebook: an ordinary ipykernel that first limits itself.

Run as a script (not imported: the limits must stand before anything of ours or of the student's is loaded):
`python kernel.py FOLDER MEMORY CPU_SECONDS FILE_SIZE -f CONNECTION_FILE`. It works in FOLDER, dies with the process that
started it, drops stderr (a warning is no wrong answer) and raises once a cell has printed too much: an endless print
would otherwise fill the memory of the process that compares.
"""

import ctypes
import os
import resource
import signal
import sys

from ipykernel.iostream import OutStream
from ipykernel.kernelapp import IPKernelApp

MOST_PRINTED = 100_000  # characters a cell


class LimitedStream(OutStream):
    """A cell's stdout up to a limit, and nothing of stderr."""

    _cell, _printed = None, 0

    def write(self, string: str) -> int | None:
        """Pass `string` on; raises RuntimeError when the cell has printed more than the limit."""
        if self.name == "stderr":
            return len(string)
        cell = self.parent_header.get("msg_id")
        if cell != self._cell:
            self._cell, self._printed = cell, 0
        self._printed += len(string)
        if self._printed > MOST_PRINTED:
            raise RuntimeError(f"this cell printed more than {MOST_PRINTED} characters")
        return super().write(string)


def limit(memory: int, cpu_seconds: int, file_size: int) -> None:
    """Bound this process: memory and file size in bytes, processor time in seconds; no core files.

    Memory is what the process may write to; the address space gets more room, since a CUDA build of torch maps
    gigabytes of libraries.
    """
    for what, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_AS, 4 * memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_size),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    folder, memory, cpu_seconds, file_size, *arguments = sys.argv[1:]
    sys.path.pop(0)  # this script's own folder
    os.chdir(folder)
    sys.path.insert(0, "")
    limit(int(memory), int(cpu_seconds), int(file_size))
    IPKernelApp.launch_instance(argv=arguments, outstream_class="__main__.LimitedStream")
