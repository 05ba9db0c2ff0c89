"""The event store: an append-only log and the tables projected from it, in one DuckDB file.

The log is the truth; the tables (`lineage.projections`) are written in the transaction that appends the events, so
they cannot disagree, and can be made anew from the log. DuckDB lets one process open a file for writing and then no
other even read it: look at the file of a live run through `lineage.snapshot`.
This module must not know what the search does with events, nor asyncio.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from weakref import WeakValueDictionary

import duckdb
import pydantic

from lineage import schema
from lineage.database import connect, transaction, translated
from lineage.errors import (
    QueryError,
    StoreError,
    StoreExists,
    StoreFull,
    StoreLocked,
    StoreNotFound,
)
from lineage.events import Event, Recorded
from lineage.literals import literal
from lineage.log_rows import AS_JSON, event_id, log_row, must_be_whole, page_of, recorded_of
from lineage.room import must_have_room
from lineage.statements import must_be_select
from lineage.tables import Tables, column_types, insert

Group = tuple[Sequence[Event], datetime]
"""Events that are appended together, and when they happened."""

_SETTLED_EPOCHS = (
    "kind = 'EpochFinished' AND (payload->>'job_id') IN "
    "(SELECT job_id FROM jobs WHERE kind = 'fast_train' AND status = 'finished')"
)
_PAGE = 5000

_writing: WeakValueDictionary[Path, EventStore] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of a query, in the order of `columns`."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


class EventStore:
    """Made by `create`, `open` or `open_read_only`; a context manager; safe to use from several threads."""

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()
        self._last_seq = 0
        self._log_types: dict[str, str] = {}
        self._tables: Tables | None = None
        self._refused: list[Recorded] | None = None  # what a full disk kept out

    @classmethod
    def create(cls, path: Path) -> EventStore:
        """A new, empty store, open for writing.

        Raises:
            StoreExists: there is a file at `path` already.
            StoreError: the file can't be made.
        """
        if path.exists():
            raise StoreExists(f"{path} exists already: a new store needs a path of its own")
        return cls._open_writing(path)

    @classmethod
    def open(cls, path: Path, remake: bool = False) -> EventStore:
        """An existing store, open for writing, brought to this program's schema; `remake`: with all tables made anew.

        Raises:
            StoreNotFound: there is no file at `path`.
            StoreLocked: another process, or another object of this one, has it open.
            StoreTooNew: a later version of this program wrote it.
            StoreEmpty: it was cut off as it was made, or its write-ahead log, which held all of it, is missing.
            StoreDamaged: its files are not as they were written, or not of one moment.
            StoreIncomplete: a table is missing.
            StoreFull: there is no room to make the tables anew.
            StoreError: the file is no event store.
        """
        _must_exist(path)
        if remake:
            must_have_room(path)
        return cls._open_writing(path, remake)

    @classmethod
    def open_read_only(cls, path: Path) -> EventStore:
        """An existing store that no process has open for writing. Raises as `open`, and StoreTooOld."""
        _must_exist(path)
        refuse_if_writing(path)
        store = cls(path, connect(path, read_only=True))
        try:
            with translated(f"{path} is no event store"):
                schema.check(store._connection)
                must_be_whole(store._connection, path)
        except StoreError:
            store.close()
            raise
        return store

    @classmethod
    def _open_writing(cls, path: Path, remake: bool = False) -> EventStore:
        refuse_if_writing(path)
        new = not path.exists()
        store = cls(path, connect(path, read_only=False))
        _writing[path.resolve()] = store
        try:
            with translated(f"{path} can't be opened as an event store"):
                store._prepare(new, remake)
        except BaseException:
            store.close()
            if new:
                path.unlink(missing_ok=True)
            raise
        return store

    def _prepare(self, new: bool = False, remake: bool = False) -> None:
        changes = None
        with transaction(self._connection):
            remake = schema.migrate(self._connection, new) or remake
            if remake and not new:
                schema.remake(self._connection)
            must_be_whole(self._connection, self.path)
            (self._last_seq,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone() or (0,)
            tables = Tables(self._connection)
            if remake and self._last_seq:
                changes = tables.write(self.read())
        tables.load() if changes is None else tables.keep(changes)
        self._tables = tables
        self._log_types = column_types(self._connection)["events"] | {"payload": "VARCHAR"}  # stored as it is written

    def append(self, events: Sequence[Event], ts: datetime) -> list[Recorded]:
        """Record events and project them: all or none, durable on return. `ts` is timezone-aware.

        Raises:
            StoreFull: there is no room on the disk; asked for the same again, the store takes them once there is.
            StoreError: the database refused them; nothing changed, and later appends may succeed.
        """
        return self.append_groups([(events, ts)])[0]

    def append_groups(self, groups: Sequence[Group]) -> list[list[Recorded]]:
        """As `append` for several groups of events, in one transaction: all of them or none."""
        with self._lock:
            self._writable()
            recorded = self._numbered(groups)
            flat = [one for group in recorded for one in group]
            if not flat:
                return recorded
            must_have_room(self.path)
            if self._recovered(flat):
                return recorded
            tables = self._writable()
            try:
                with translated(f"{len(flat)} events can't be stored in {self.path}"):
                    with transaction(self._connection):
                        insert(self._connection, "events", self._log_types, [log_row(one) for one in flat])
                        changes = tables.write(flat)
                    tables.keep(changes)
            except StoreFull:
                self._refused = flat
                raise
            self._last_seq = flat[-1].seq
            return recorded

    def _recovered(self, asked: list[Recorded]) -> bool:
        """After a full disk: open the file anew, for DuckDB may have given it up; whether `asked` is in it after all.

        A transaction may have reached the disk whole when only making sure of it failed.
        """
        refused, before = self._refused, self._last_seq
        if refused is None:
            return False
        self._connection.close()
        self._connection = connect(self.path, read_only=False)
        with translated(f"{self.path} can't be opened again"):
            self._prepare()
        self._refused = None
        if self._last_seq == before:
            return False
        if [one.event for one in asked] != [one.event for one in refused]:
            raise StoreError(
                f"{self.path} holds events up to {self._last_seq} that were told to be refused: resume the run"
            )
        return True

    def _numbered(self, groups: Sequence[Group]) -> list[list[Recorded]]:
        result, seq = [], self._last_seq
        for events, ts in groups:
            if ts.tzinfo is None:
                raise ValueError(f"events need a timezone-aware time, found {ts}")
            result.append(
                [Recorded(seq=at, event_id=event_id(at), ts=ts, event=e) for at, e in enumerate(events, seq + 1)]
            )
            seq += len(events)
        return result

    def read(
        self, after_seq: int = 0, kinds: Sequence[str] | None = None, settled_epochs: bool = True
    ) -> Iterator[Recorded]:
        """Events in order: those with a sequence number above `after_seq` and of one of `kinds` (None: all).

        Without `settled_epochs`, those that a fast training reported which is finished since are left out.

        Raises:
            StoreError: an event was written by another version and can't be read.
        """
        wanted = "" if kinds is None else f"AND kind IN (SELECT unnest({literal(kinds)}))"
        if not settled_epochs:
            wanted += f" AND NOT ({_SETTLED_EPOCHS})"
        last = self._read("SELECT coalesce(max(seq), 0) FROM events")[0][0]
        for first in range(after_seq, last, _PAGE):
            where = f"FROM events WHERE seq > {first} AND seq <= {min(last, first + _PAGE)} {wanted}"
            ((page, longest),) = self._read(f"SELECT {AS_JSON}, max(length(payload)) {where}")
            try:
                yield from page_of(page, longest)
            except pydantic.ValidationError:
                for row in self._read(f"SELECT seq, event_id, ts, payload {where} ORDER BY seq"):
                    yield recorded_of(row)  # raises, with which it is

    def _read(self, sql: str) -> list[Any]:
        with translated(f"the events of {self.path} can't be read"), self._connection.cursor() as cursor:
            return cursor.execute(sql).fetchall()

    def query(self, sql: str, parameters: Sequence[object] = ()) -> QueryResult:
        """Rows of a single SELECT; files and network are out of its reach.

        Raises:
            QueryError: `sql` is no single SELECT, or the database refused it.
        """
        with translated("the query failed", QueryError), self._connection.cursor() as cursor:
            must_be_select(cursor, sql)
            cursor.execute(sql, parameters)
            return QueryResult(tuple(column[0] for column in cursor.description or ()), cursor.fetchall())

    def rebuild(self) -> None:
        """Make the projected tables anew from the log."""
        with self._lock, translated(f"the tables of {self.path} can't be rebuilt"):
            self._writable()
            must_have_room(self.path)
            self._prepare(remake=True)

    def _writable(self) -> Tables:
        if self._tables is None:
            raise StoreError(f"{self.path} is not open for writing")
        return self._tables

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._tables = None
            self._connection.close()
            if _writing.get(self.path.resolve()) is self:
                del _writing[self.path.resolve()]

    def __enter__(self) -> EventStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_if_writing(path: Path) -> None:
    """Raise StoreLocked if this process has the store open for writing.

    DuckDB would share the file among all connections of a process, and closing any other handle on it drops the lock
    that keeps other processes out (POSIX record locks).
    """
    if path.resolve() in _writing:
        raise StoreLocked(f"{path} is open for writing in this process: use that store")


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise StoreNotFound(f"{path}: there is no event store")
