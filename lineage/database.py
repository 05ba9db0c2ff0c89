"""DuckDB, as this package uses it: how a file is opened, what a transaction is, and which error a driver error becomes.

Knows nothing of events or tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from lineage import wal
from lineage.errors import StoreDamaged, StoreError, StoreFull, StoreLocked

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,  # no query reads files or the network, whoever wrote it
    "python_enable_replacements": False,
    "lock_configuration": True,
    "threads": 1,  # the other cores are for training, and transactions here are small
}

OPTIONS = "?"  # what follows it in a path, DuckDB takes for options, and looks for the write-ahead log without them

_DAMAGES = ("Corrupt", "Could not read", "not a valid DuckDB database file")
_NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large")
_REPLAYING = "Failure while replaying WAL"  # whatever kind of error that ended in


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Connection to a database file; made if it does not exist and `read_only` is false.

    Raises:
        StoreLocked: another process has the file open.
        StoreDamaged: the file or its write-ahead log is not as it was written, or is no database.
        StoreError: the file can't be opened.
    """
    if OPTIONS in str(path):
        raise StoreError(
            f"{path.name} can't be opened in {path.parent}: no path of a DuckDB file may have {OPTIONS!r} in it; rename "
            "that folder"
        )
    try:
        wal.check(path)
    except OSError as error:
        raise StoreError(f"{wal.wal_of(path)} can't be read: {error.strerror}") from None
    try:
        return duckdb.connect(path, read_only=read_only, config=_CONFIG)
    except duckdb.Error as error:
        if "Could not set lock" in str(error):
            raise StoreLocked(
                f"{path} is open in another process: only one can write it, and a reader needs a snapshot ({error})"
            ) from None
        raise wal.replayed(path, error) or _translation(f"{path} can't be opened", error, StoreError) from None


def connect_for_one_query(path: Path, memory_bytes: int, folder: Path) -> duckdb.DuckDBPyConnection:
    """Read-only connection to a copy for whoever asks: with so much memory, no other, and no files but those in `folder`."""
    limits = {"memory_limit": f"{memory_bytes}B", "max_temp_directory_size": "0B"}
    later = {"enable_external_access": True, "lock_configuration": False}
    connection = duckdb.connect(path, read_only=True, config={**_CONFIG, **limits, **later})
    allowed = str(folder).replace("'", "''")
    connection.execute(f"SET allowed_directories = ['{allowed}']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


@contextmanager
def translated(action: str, kind: type[StoreError] = StoreError) -> Iterator[None]:
    """Driver errors raised inside become `kind`, StoreFull or StoreDamaged, with what was tried and found."""
    try:
        yield
    except duckdb.Error as error:
        raise _translation(action, error, kind) from None


def _translation(action: str, error: duckdb.Error, kind: type[StoreError]) -> StoreError:
    """A driver error as one of ours; its first line where the rest is a stack trace."""
    internal = isinstance(error, duckdb.InternalException | duckdb.FatalException)
    found = str(error).splitlines()[0] if internal else str(error)
    if kind is StoreError and any(words in found for words in _NO_ROOM):
        return StoreFull(f"{action}: {found}")
    reading = internal or isinstance(error, duckdb.IOException)
    damaged = isinstance(error, duckdb.SerializationException) or _REPLAYING in found
    if damaged or (reading and any(one in found for one in _DAMAGES)):
        return StoreDamaged(f"{action}: {found}; {wal.RESTORE}")
    return kind(f"{action}: {found}")


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All statements inside are committed together, durably, or leave no trace."""
    connection.execute("BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(duckdb.Error):  # a commit that failed has already ended the transaction
            connection.execute("ROLLBACK")
        raise
