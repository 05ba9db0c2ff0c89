"""Terminals of a size, in which commands run as somebody sees them."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pyte
from simulated import COMMAND

PATIENCE_S = 30


class Terminal:
    """A command on a terminal of its own; somebody types there slowly, and reads what is printed."""

    SIZE = (200, 50)

    def __init__(self, folder: Path, *arguments: str, program: Sequence[str] = (COMMAND,), **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        width, height = self.SIZE
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("hhhh", height, width, 0, 0))
        more = {"TERM": "xterm", "XDG_STATE_HOME": str(folder / "state"), "PROMPT_TOOLKIT_NO_CPR": "1"}
        found = {**os.environ, **more, **environment}
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={name: value for name, value in found.items() if name not in ("COLUMNS", "LINES")},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )
        os.close(theirs)
        self._seen = ""

    def until(self, expected: str) -> str:
        """What is printed up to and with some text."""
        limit = time.monotonic() + PATIENCE_S
        while expected not in self._seen:
            ready, _, _ = select.select([self._ours], [], [], max(0, limit - time.monotonic()))
            assert ready, f"waited for {expected!r} in vain: {self._seen!r}"
            try:
                self._seen += os.read(self._ours, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(f"ended without {expected!r}: {self._seen!r}") from None
        found, expected, self._seen = self._seen.partition(expected)
        return found + expected

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def answer(self, key: str) -> None:
        """Answer a question that was read."""
        time.sleep(0.5)
        self.type(key)

    def hang_up(self) -> None:
        """As a window that is closed, or a connection that breaks."""
        self._close()

    def _close(self) -> None:
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._close()


class Screen(Terminal):
    """A terminal that shows a picture: it is read all the time, and looked at."""

    SIZE = (140, 40)

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        super().__init__(folder, *arguments, **{"TERM": "xterm-256color", **environment})
        self._picture = pyte.Screen(*self.SIZE)
        self._stream = pyte.ByteStream(self._picture)
        self._lock = threading.Lock()
        self._is_open = True
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while self._is_open:
            ready, _, _ = select.select([self._ours], [], [], 0.05)
            try:
                found = os.read(self._ours, 65536) if ready else b""
            except OSError:  # everybody who had the terminal has ended
                return
            with self._lock:
                self._stream.feed(found)

    def _close(self) -> None:
        self._is_open = False
        self._reader.join()
        super()._close()

    def text(self) -> str:
        with self._lock:
            return "\n".join(line.rstrip() for line in self._picture.display)

    def sees(self, *expected: str) -> str:
        """The picture once all of this is on it."""
        limit = time.monotonic() + PATIENCE_S
        while True:
            shown = self.text()
            if all(one in shown for one in expected):
                return shown
            assert time.monotonic() < limit, f"{expected} did not come:\n{shown}"
            time.sleep(0.05)
