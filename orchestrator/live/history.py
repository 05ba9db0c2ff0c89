"""The events that the store of a live run holds, page by page, for whoever missed some."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from lineage.events import Recorded
from lineage.snapshot import open_snapshot
from lineage.store import EventStore

KEPT_S = 10.0  # a copy of the store that nobody asks any more


class History:
    """Reads through a copy, which is taken anew when somebody asks for more than it holds."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._stack = ExitStack()
        self._store: EventStore | None = None
        self._asked = 0.0
        self._lock = threading.Lock()

    def after(self, seq: int, most: int, most_bytes: int) -> list[Recorded]:
        """Events after one, in order: at most so many, and none once they are so long (but one, if there is one).

        Raises:
            StoreError: the store can't be read.
        """
        with self._lock:
            return self._after(seq, most, most_bytes)

    def close_if_idle(self) -> None:
        """Give the copy up if nobody asked for a while."""
        with self._lock:
            if time.monotonic() - self._asked > KEPT_S:
                self._close()

    def _after(self, seq: int, most: int, most_bytes: int) -> list[Recorded]:
        self._asked = time.monotonic()
        page = self._page(seq, most, most_bytes) if self._store is not None else []
        if not page:
            self._close()
            self._store = self._stack.enter_context(open_snapshot(self._database))
            page = self._page(seq, most, most_bytes)
        return page

    def close(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._store = None
        self._stack.close()

    def _page(self, seq: int, most: int, most_bytes: int) -> list[Recorded]:
        assert self._store is not None
        return list(_bounded(islice(self._store.read(after_seq=seq), most), most_bytes))


def _bounded(events: Iterator[Recorded], most_bytes: int) -> Iterator[Recorded]:
    length = 0
    for one in events:
        length += len(one.model_dump_json())
        if length > most_bytes and length > len(one.model_dump_json()):
            return
        yield one
