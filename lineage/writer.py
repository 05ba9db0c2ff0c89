"""Group commit: one thread appends to the store what many ask it to, as few transactions as the queue allows."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType

from lineage.events import Event, Recorded
from lineage.store import EventStore


class EventWriter:
    """The store's only writer while it lives; a context manager. `close` writes what is queued, not the store."""

    def __init__(self, store: EventStore) -> None:
        raise NotImplementedError

    def append(self, events: Sequence[Event], ts: datetime) -> Future[list[Recorded]]:
        """Queue events; the future is done once they are durable, or failed with the StoreError that kept them out.

        Appends are recorded in the order they were queued, each as a whole. Raises StoreError once closed.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Write what is queued and end the thread; the store stays open."""

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
