"""What a process beside the search (`orchestrator.live.child`) does on its own side: hear, give way, and end with it."""

from __future__ import annotations

import ctypes
import os
import queue
import resource
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

MAX_LINES = 100_000  # that wait in this process; others wait with whoever sent them
PR_SET_PDEATHSIG = 1
BROKEN, TOO_MUCH = 1, 3  # exit codes


class Lines:
    """Standard input, line by line. At its end the main thread gets a KeyboardInterrupt: nobody is there any more."""

    def __init__(self) -> None:
        self.setup = sys.stdin.buffer.readline()
        self._queue: queue.Queue[bytes] = queue.Queue(MAX_LINES)
        threading.Thread(target=self._read, name="input", daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            self._queue.put(line)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def first(self) -> bytes:
        """The next line; waits for it."""
        return self._queue.get()

    def others(self) -> list[bytes]:
        """What came meanwhile."""
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._queue.get_nowait())
        return found


def give_way(niceness: int) -> None:
    """Let everything else on this machine go first. For a process with a session of its own."""
    os.nice(niceness)
    session_gives_way(niceness)


def session_gives_way(niceness: int) -> None:
    """Linux may share out time between sessions before it looks at processes: then the session has to give way, too."""
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness), "ascii")


def end_with_owner() -> None:
    """Let the system kill this process with the thread that started it, even one that is stopped (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def resident_bytes() -> int:
    """Memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def end(code: int, reason: str = "") -> NoReturn:
    """End at once: threads of libraries would keep the interpreter from an orderly end. `reason` goes to the log."""
    if reason:
        sys.stderr.write(f"{reason}\n")
    sys.stderr.flush()
    os._exit(code)
