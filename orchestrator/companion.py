"""The terminal UI beside a search: a process of its own, so that whatever becomes of it, the search goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.watching import BESIDE, COMMAND, give_back


async def show_beside(run: Path, hung_up: Callable[[], None]) -> None:
    """Show a run on this terminal until the user closes that view, or something kills it.

    Once the terminal is gone, nothing is written to it any more, and `hung_up` is told.
    """
    process: asyncio.subprocess.Process | None = None

    def go_on_without() -> None:
        hung_up()
        if process is not None:  # the system tells us alone that the terminal is gone
            with suppress(ProcessLookupError):
                process.kill()

    with _terminal(go_on_without):
        process = await asyncio.create_subprocess_exec(*COMMAND, "--", str(run), env={**os.environ, BESIDE: "1"})
        try:
            await process.wait()
        except asyncio.CancelledError:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise


@contextmanager
def _terminal(hung_up: Callable[[], None]) -> Iterator[None]:
    """Keep the settings of the terminal, and outlive it."""
    loop, settings = asyncio.get_running_loop(), termios.tcgetattr(sys.stdin)
    is_gone = False

    def go_on_without() -> None:
        nonlocal is_gone
        is_gone = True
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        hung_up()

    loop.add_signal_handler(signal.SIGHUP, go_on_without)
    try:
        yield
    finally:
        if not is_gone:
            sys.stdout.flush()
            give_back(settings)
