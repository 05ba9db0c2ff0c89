"""Group commit: one thread appends to the store what many ask it to, in as few transactions as the queue allows.

Whatever queues up while a transaction is made durable shares the next one. Knows no asyncio: an event loop wraps the
futures.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from queue import SimpleQueue
from types import TracebackType

from lineage.errors import StoreError
from lineage.events import Event, Recorded
from lineage.store import EventStore, Group

_MAX_GROUPS = 1000

_Request = tuple[Group, Future[list[Recorded]]]


class EventWriter:
    """The store's only writer while it lives; a context manager. It closes itself, not the store."""

    def __init__(self, store: EventStore) -> None:
        self._store = store
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="event-writer", daemon=True)
        self._thread.start()

    def append(self, events: Sequence[Event], ts: datetime) -> Future[list[Recorded]]:
        """Queue events. The future is done once they are durable, or fails with what kept all of them out.

        Appends are recorded in the order in which they were queued, each as a whole, whatever becomes of the others.

        Raises:
            StoreError: the writer is closed.
        """
        future: Future[list[Recorded]] = Future()
        with self._lock:
            if self._closed:
                raise StoreError(f"{len(events)} events came after the writer of {self._store.path} was closed")
            self._queue.put(((events, ts), future))
        return future

    def close(self) -> None:
        """Write what is queued and end the thread; a second call does nothing."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (request := self._queue.get()) is not None:
            requests = [request]
            while len(requests) < _MAX_GROUPS and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)  # for the loop around this one; nothing was queued after it
                    break
                requests.append(following)
            self._write([one for one in requests if one[1].set_running_or_notify_cancel()])

    def _write(self, requests: list[_Request]) -> None:
        try:
            recorded = self._store.append_groups([group for group, _ in requests])
        except Exception as error:
            if len(requests) == 1:
                requests[0][1].set_exception(error)
                return
            for request in requests:  # alone, so that only the guilty one fails
                self._write([request])
            return
        for (_, future), result in zip(requests, recorded, strict=True):
            future.set_result(result)

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
