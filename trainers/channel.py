"""A training's way to whoever asked for it: events and signs of life go out, the wish to stop comes in.

Where the disk is full a training waits, with what it has to keep, until there is room.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from lineage.events import Event, WorkerBlocked, WorkerUnblocked
from trainers.errors import NoRoomError, Stopped

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 30.0

T = TypeVar("T")


def _nothing(*_arguments: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Channel:
    """`breathe` is called for every batch, `stopping` after every epoch; `device` is the worker's, as events name it."""

    emit: Callable[[Event], None] = _nothing
    breathe: Callable[[], None] = _nothing
    stopping: Callable[[], bool] = lambda: False
    device: str = ""

    def kept(self, keep: Callable[[], T]) -> T:
        """What `keep` returns; while it finds no room on the disk, wait and try again.

        Raises:
            Stopped: the training is to stop, and there is no room yet.
        """
        try:
            return keep()
        except NoRoomError as error:
            self.emit(WorkerBlocked(device=self.device, reason=str(error)))
        wait_s = FIRST_WAIT_S
        while True:
            self._wait(wait_s)
            wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
            try:
                result = keep()
            except NoRoomError as error:
                if self.stopping():
                    raise Stopped(f"asked to stop, and {error}") from error
                continue
            self.emit(WorkerUnblocked(device=self.device))
            return result

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.stopping():
            self.breathe()
            time.sleep(min(1.0, seconds))
