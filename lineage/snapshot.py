"""A look at a run's store while it is written, after it ended, or after it crashed, without touching the run folder.

DuckDB lets no other process open a file that its owner has open for writing. Its two files may be copied, though: the
database file changes only at a checkpoint, and every checkpoint changes its header; the write-ahead log beside it only
grows until then, and DuckDB replays it and drops a transaction that is cut off at its end.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from lineage.database import connect, translated
from lineage.errors import StoreDamaged, StoreError, StoreFull, StoreNotFound, StoreTooOld
from lineage.moment import At, last_at
from lineage.room import is_no_room
from lineage.scratch import scratch_folder
from lineage.store import EventStore, refuse_if_writing
from lineage.wal import wal_of

_HEADER_BYTES = 3 * 4096  # the main header and two that take turns, each with the number of its checkpoint
_ATTEMPTS = 50
_PAUSE_S = 0.02


@contextmanager
def open_snapshot(path: Path, at: At | None = None) -> Iterator[EventStore]:
    """A read-only store with everything that was acknowledged when it was opened, and perhaps a little more.

    `path` is the store's file: ``with open_snapshot(run / "lineage.duckdb") as store``. With `at`, the store has no event
    after that moment, and its tables are those of then. That of a run of an earlier version has this version's tables. The
    copy is a file that has no name any more: no other connection can open the store's path.

    Raises:
        NoSuchMoment: the log has no event of that number, or none as early as that time.
        StoreNotFound: there is no file at `path`.
        StoreLocked: this very process has the store open for writing; use that object.
        StoreTooNew: a later version of this program wrote it.
        StoreDamaged: it is not as it was written, which may also be found as it is read.
        StoreFull: there is no room for the copy.
        StoreError: it can't be copied, or is no event store.
    """
    with _copied(path) as copy, _opened(copy, at) as store:
        shutil.rmtree(copy.parent)  # DuckDB has the file open; a process that is killed leaves no copy behind
        yield store


@contextmanager
def snapshot_file(path: Path, at: At | None = None) -> Iterator[Path]:
    """As `open_snapshot`: the copy itself, for whoever opens it read-only; in a temporary folder until the context ends."""
    with _copied(path) as copy:
        if at is None:
            EventStore.open(
                copy
            ).close()  # its log is replayed once, not by whoever opens the copy: that may take seconds
        else:
            _opened(copy, at).close()
        yield copy


@contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """A private copy; errors name the original, except those of a full disk, which is where the copy is."""
    refuse_if_writing(path)
    with scratch_folder() as folder:
        copy = folder / path.name
        copy_store(path, copy)
        try:
            yield copy
        except StoreFull:
            raise
        except StoreError as error:
            found = str(error).replace(str(copy), str(path))
            if isinstance(error, StoreDamaged) and str(path) not in found:
                found = f"{path}: {found}"
            raise type(error)(found) from None


def _opened(copy: Path, at: At | None) -> EventStore:
    try:
        store = EventStore.open_read_only(copy)
    except StoreTooOld:
        EventStore.open(copy).close()
        store = EventStore.open_read_only(copy)
    if at is None:
        return store
    with store:
        moment = last_at(store, at)
    with translated(f"{copy} can't be cut"), closing(connect(copy, read_only=False)) as connection:
        connection.execute("DELETE FROM events WHERE seq > ?", [moment.seq])
    EventStore.open(copy, remake=True).close()
    return EventStore.open_read_only(copy)


def stamp(path: Path) -> tuple[tuple[int, ...], ...]:
    """Of a store's files: while it stays, no event was added."""
    found = []
    for file in (path, wal_of(path)):
        with suppress(FileNotFoundError):
            stat = file.stat()
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return tuple(found)


def copy_store(path: Path, copy: Path) -> None:
    """Copy a store that may be live, with its write-ahead log. Raises StoreNotFound, StoreFull, StoreError."""
    log, log_copy = wal_of(path), wal_of(copy)
    for _ in range(_ATTEMPTS):
        try:
            before = _header(path)
            shutil.copyfile(path, copy)
            log_copy.unlink(missing_ok=True)
            if log.exists():
                shutil.copyfile(log, log_copy)
            if _header(path) == before:
                return
        except FileNotFoundError:
            if not path.exists():
                raise StoreNotFound(f"{path}: there is no event store") from None
        except OSError as error:
            if is_no_room(error):
                found = f"{error.strerror}; make room there, or name another place in TMPDIR"
                raise StoreFull(f"{path} can't be copied to {copy.parent}: {found}") from None
            raise StoreError(f"{path} can't be copied: {error}") from None
        time.sleep(_PAUSE_S)
    raise StoreError(f"{path} changed during each of {_ATTEMPTS} attempts to copy it: try again")


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER_BYTES)
