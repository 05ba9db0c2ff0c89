"""The event store: an append-only log and the tables projected from it, in one DuckDB file.

The log is the truth; the tables (`lineage.projections`) are written in the transaction that appends the events, so they
can't disagree, and can be made anew from the log. DuckDB lets one process open a file for writing and then no other even
read it: look at the file of a live run through `lineage.snapshot`.
This module must not know what the search does with events, nor asyncio.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from lineage.events import Event, Recorded


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of a query, in the order of `columns`."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class EventStore:
    """Made by `create`, `open` or `open_read_only`; a context manager; safe to use from several threads."""

    @classmethod
    def create(cls, path: Path) -> EventStore:
        """A new, empty store, open for writing. Raises StoreExists, StoreError."""
        raise NotImplementedError

    @classmethod
    def open(cls, path: Path) -> EventStore:
        """An existing store, open for writing, brought to this version's schema.

        Raises StoreNotFound, StoreLocked, StoreTooNew, StoreError.
        """
        raise NotImplementedError

    @classmethod
    def open_read_only(cls, path: Path) -> EventStore:
        """An existing store that nobody has open for writing. Raises as `open`."""
        raise NotImplementedError

    def append(self, events: Sequence[Event], ts: datetime) -> list[Recorded]:
        """Record events and project them, durable on return, all or none. `ts` is timezone-aware. Raises StoreError."""
        raise NotImplementedError

    def append_groups(self, groups: Sequence[tuple[Sequence[Event], datetime]]) -> list[list[Recorded]]:
        """As `append` for several groups of events in one transaction: all of them or none."""
        raise NotImplementedError

    def read(self, after_seq: int = 0, kinds: Sequence[str] | None = None) -> Iterator[Recorded]:
        """Events in order, those with a sequence number above `after_seq` and of one of `kinds` (None: all)."""
        raise NotImplementedError

    def query(self, sql: str, parameters: Sequence[object] = ()) -> QueryResult:
        """Rows of a single SELECT; nothing else is let through, files and network are out of reach. Raises QueryError."""
        raise NotImplementedError

    def rebuild(self) -> None:
        """Make the projected tables anew from the log."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file; a second call does nothing."""

    def __enter__(self) -> EventStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
