"""How much of the machine's time answers in SQL may take: queries beyond it wait their turn, before they begin.

Giving way to the search is not enough: who waits for the disk a hundred times a second loses a little each time that it
finds the cores busy. And a client takes as much time as the server that answers it: it is slowed down with it.
"""

from __future__ import annotations

import threading
import time

CREDIT_S = 0.5  # of a core's time, that a server which was idle gives at once
LONGEST_WAIT_S = 5.0


class Pace:
    """A share of so many cores for this process; what its main thread takes is for the tables, and not counted."""

    def __init__(self, share: float, cores: int) -> None:
        self._rate = share * cores
        self._lock = threading.Lock()
        self._main_s = time.thread_time()
        self._credit_s, self._looked_at, self._used_s = CREDIT_S, time.monotonic(), time.process_time() - self._main_s

    def main_thread_worked(self) -> None:
        """Said by the main thread."""
        self._main_s = time.thread_time()

    def turn(self) -> bool:
        """True, once another query may begin."""
        with self._lock:
            wait_s = -self._credit() / self._rate
            if wait_s > 0:
                time.sleep(min(wait_s, LONGEST_WAIT_S))
                self._credit_s = max(self._credit(), 0)
        return True

    def _credit(self) -> float:
        """Seconds of a core's time that may be taken now, or negative."""
        now, used_s = time.monotonic(), time.process_time() - self._main_s
        self._credit_s += self._rate * (now - self._looked_at) - (used_s - self._used_s)
        self._credit_s = min(self._credit_s, CREDIT_S)
        self._looked_at, self._used_s = now, used_s
        return self._credit_s
