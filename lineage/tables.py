"""The projected tables: the rows in memory that `lineage.projections` looks at, and the same rows in the database.

A batch of changes is written as one INSERT and one UPDATE a table, its rows passed as one JSON parameter: DuckDB spends
its time per statement and per bound parameter, not per row. Column names and types are the database's own.
"""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Iterable, Mapping

import duckdb
from pydantic_core import to_json

from lineage.events import Recorded
from lineage.projections import KEYS, NEVER_READ, Address, Values, address, project

_ROWS_A_STATEMENT = 10_000


class Tables:
    """Rows as of the last `keep`. Every write happens in the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._types = {table: column_types(connection, table) for table in KEYS}
        self._rows: dict[Address, Values] = {}

    def load(self) -> None:
        """Take over the rows that the database holds."""
        for table in KEYS.keys() - NEVER_READ:
            columns = self._types[table]
            for row in self._connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall():
                values = dict(zip(columns, row, strict=True))
                self._rows[address(table, values)] = values

    def clear(self) -> None:
        """Empty the tables in the database and in memory."""
        self._rows = {}
        for table in KEYS:
            self._connection.execute(f"DELETE FROM {table}")

    def write(self, recorded: Iterable[Recorded]) -> dict[Address, Values]:
        """Write what events change; the changes, for `keep` once they are committed."""
        changes: dict[Address, Values] = {}
        rows = ChainMap(changes, self._rows)
        for one in recorded:
            for at, values in project(rows, one).items():
                changes[at] = {column: values.get(column) for column in self._types[at[0]]}
        new: dict[str, list[Values]] = defaultdict(list)
        changed: dict[str, list[Values]] = defaultdict(list)
        columns: dict[str, set[str]] = defaultdict(set)
        for at, values in changes.items():
            before = self._rows.get(at)
            if before is None:
                new[at[0]].append(values)
            elif difference := {column for column in values if values[column] != before[column]}:
                changed[at[0]].append(values)
                columns[at[0]] |= difference
        for table, inserted in new.items():
            insert(self._connection, table, self._types[table], inserted, replace=table in NEVER_READ)
        for table, updated in changed.items():
            self._update(table, sorted(columns[table]), updated)
        return changes

    def keep(self, changes: Mapping[Address, Values]) -> None:
        """Hold rows in memory that are now in the database."""
        self._rows.update((at, values) for at, values in changes.items() if at[0] not in NEVER_READ)

    def _update(self, table: str, columns: list[str], rows: list[Values]) -> None:
        keys = KEYS[table]
        types = {column: self._types[table][column] for column in (*keys, *columns)}
        assignments = ", ".join(f"{column} = changed.{column}" for column in columns)
        matches = " AND ".join(f"{table}.{key} = changed.{key}" for key in keys)
        self._connection.execute(
            f"UPDATE {table} SET {assignments} FROM ({_unnested(types)}) AS changed WHERE {matches}",
            [_json(rows, types)],
        )


def column_types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """SQL type of each column of a table, in order."""
    return dict(
        connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
        ).fetchall()
    )


def insert(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    types: Mapping[str, str],
    rows: list[Values],
    *,
    replace: bool = False,
) -> None:
    """Insert whole rows; with `replace`, over rows that have the same primary key."""
    statement = f"INSERT {'OR REPLACE ' if replace else ''}INTO {table} {_unnested(types)}"
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        connection.execute(statement, [_json(rows[start : start + _ROWS_A_STATEMENT], types)])


def _unnested(types: Mapping[str, str]) -> str:
    return f"SELECT unnest(from_json_strict(?, '{to_json([types]).decode()}'), max_depth := 2)"


def _json(rows: list[Values], columns: Iterable[str]) -> str:
    selected = [{column: row[column] for column in columns} for row in rows]
    return to_json(selected, inf_nan_mode="constants").decode()
