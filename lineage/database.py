"""DuckDB, as this package uses it: how a file is opened, what a transaction is, and which error a driver error becomes.

Knows nothing of events or tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from lineage.errors import StoreError, StoreFull, StoreLocked

_NO_ROOM = ("No space left on device", "Disk quota exceeded", "File too large")

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,  # no query reads files or the network, whoever wrote it
    "python_enable_replacements": False,
    "lock_configuration": True,
    "threads": 1,  # the other cores are for training, and transactions here are small
}


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Connection to a database file; made if it does not exist and `read_only` is false.

    Raises:
        StoreLocked: another process has the file open.
        StoreError: the file can't be opened, or is no database that this DuckDB can read.
    """
    try:
        return duckdb.connect(path, read_only=read_only, config=_CONFIG)
    except duckdb.Error as error:
        if "Could not set lock" in str(error):
            raise StoreLocked(
                f"{path} is open in another process: only one can write it, and a reader needs a snapshot ({error})"
            ) from None
        raise StoreError(f"{path} can't be opened: {error}") from None


@contextmanager
def translated(action: str, kind: type[StoreError] = StoreError) -> Iterator[None]:
    """Driver errors raised inside become `kind`, with what was tried and what the database said."""
    try:
        yield
    except duckdb.Error as error:
        full = kind is StoreError and any(words in str(error) for words in _NO_ROOM)
        raise (StoreFull if full else kind)(f"{action}: {error}") from None


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
