"""The store's schema as numbered SQL files; each is applied once, in the transaction that records it.

Knows DuckDB connections, not the store. A database that records a migration this program lacks is refused.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
from functools import cache

import duckdb

from lineage.errors import StoreEmpty, StoreTooNew, StoreTooOld
from lineage.literals import literal

_VERSION_TABLE = """
CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY,
    name VARCHAR NOT NULL,
    program VARCHAR NOT NULL -- first version of spnas-orch that can read it
)
"""


_LOG = ("events", "schema_version")
_LOG_MIGRATION = 1


@cache
def migrations() -> dict[int, tuple[str, str]]:
    """(file name, SQL) of each migration by its number, in order."""
    files = [file for file in importlib.resources.files(__name__).iterdir() if file.name.endswith(".sql")]
    return {
        int(file.name.split("_")[0]): (file.name, file.read_text("utf-8"))
        for file in sorted(files, key=lambda file: file.name)
    }


def migrate(connection: duckdb.DuckDBPyConnection, new: bool) -> bool:
    """Bring a database, which `new` says is empty, to this program's schema; whether it had to change.

    In the caller's transaction, which is also that in which the tables are filled again.

    Raises:
        StoreEmpty: the database has no tables, and is not `new`.
        StoreTooNew: the database was made by a later version of this program.
    """
    if new:
        connection.execute(_VERSION_TABLE)
    done = _applied(connection)
    missing = [(number, *migration) for number, migration in migrations().items() if number not in done]
    for number, name, sql in missing:
        connection.execute(sql)
        values = f"{number}, {literal(name)}, {literal(program_version())}"
        connection.execute(f"INSERT INTO schema_version VALUES ({values})")
    return bool(missing)


def remake(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop all tables but the log, all views and macros, and make them as the migrations say, empty."""
    for (name,) in connection.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall():
        connection.execute(f'DROP VIEW IF EXISTS "{name}"')
    for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall():
        if name not in _LOG:
            connection.execute(f'DROP TABLE "{name}"')
    macros = (
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE NOT internal AND function_type = 'table_macro'"
    )
    for (name,) in connection.execute(macros).fetchall():
        connection.execute(f'DROP MACRO TABLE "{name}"')
    for number, (_, sql) in migrations().items():
        if number > _LOG_MIGRATION:
            connection.execute(sql)


def check(connection: duckdb.DuckDBPyConnection) -> None:
    """Make sure that a database which can't be changed has this program's schema.

    Raises:
        StoreEmpty: it has no tables.
        StoreTooNew: it was made by a later version of this program.
        StoreTooOld: it was made by an earlier one.
    """
    missing = migrations().keys() - _applied(connection)
    if missing:
        raise StoreTooOld(
            f"the database lacks schema version {min(missing)}: open it for writing once, by resuming its run"
        )


@cache
def program_version() -> str:
    """Version of spnas-orch."""
    return importlib.metadata.version("spnas-orch")


def _applied(connection: duckdb.DuckDBPyConnection) -> set[int]:
    if not connection.execute("SELECT 1 FROM duckdb_tables()").fetchall():
        raise StoreEmpty("the database has no tables: it was cut off as it was made, or its .wal file is missing")
    rows = connection.execute("SELECT version, program FROM schema_version ORDER BY version").fetchall()
    known = max(migrations())
    if rows and rows[-1][0] > known:
        version, program = rows[-1]
        raise StoreTooNew(
            f"the database has schema version {version}, this program knows up to {known}: "
            f"use spnas-orch {program} or later"
        )
    return {version for version, _ in rows}
