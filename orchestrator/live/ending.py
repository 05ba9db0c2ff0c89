"""Ends that are certain.

A cancellation is lost where it comes together with a result (`asyncio.wait_for` of Python 3.11), or where what is left then
fails, such as a connection. Loops that have to end ask here each time round.
"""

from __future__ import annotations

import asyncio
import threading

from orchestrator.live.beside import BROKEN, end


def end_if_cancelled() -> None:
    """Raise CancelledError in a task that was cancelled before, and did not notice.

    Not for tasks that wait in an `asyncio.TaskGroup`: in Python 3.11 they count as cancelled after an error in it.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def end_process_after(seconds: float) -> None:
    """End this process then, should it be there still, whatever hangs in it."""
    timer = threading.Timer(seconds, end, (BROKEN, f"not at its end {seconds:g} s after its input was"))
    timer.daemon = True
    timer.start()
