"""A question for events to a live run."""

from __future__ import annotations

import time


class Question:
    """Since when it is open, and whether it is to be asked (again, for one may get lost); `answer_s` is what an answer takes
    at most.
    """

    def __init__(self, answer_s: float) -> None:
        self._answer_s = answer_s
        self._asked_at = time.monotonic()
        self._open_since: float | None = self._asked_at

    def asked(self) -> None:
        self._asked_at = time.monotonic()
        self._open_since = self._open_since or self._asked_at

    def answered(self) -> None:
        self._open_since = None

    @property
    def is_due(self) -> bool:
        return self._open_since is None or time.monotonic() - self._asked_at >= self._answer_s

    @property
    def is_overdue(self) -> bool:
        return self._open_since is not None and time.monotonic() - self._open_since >= self._answer_s
