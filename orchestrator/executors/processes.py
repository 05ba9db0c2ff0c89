"""The end of a worker's process, and of all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process

LAST_LOOK_S = 0.02  # between two looks at a process that is about to end


def described(returncode: int | None) -> str:
    return f"signal {-returncode}" if returncode is not None and returncode < 0 else f"exit code {returncode}"


async def ended(process: Process) -> None:
    """Wait for a process alone: `Process.wait` also waits for its pipes, which those that it started may hold."""
    while process.returncode is None:
        await asyncio.sleep(LAST_LOOK_S)


def kill(process: Process) -> None:
    """End a worker and all that it started: it leads a process group."""
    with contextlib.suppress(ProcessLookupError):  # all have ended already
        os.killpg(process.pid, signal.SIGKILL)
