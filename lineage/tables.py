"""The projected tables: the rows in memory that `lineage.projections` looks at, and the same rows in the database.

A batch of changes is written as one INSERT and one UPDATE a table. DuckDB spends its time per statement and per bound
parameter, not per row, so a few rows are written out in the statement (a third of the time) and many are passed as one
JSON parameter. Column names and types are the database's own.
"""

from __future__ import annotations

from collections import ChainMap, defaultdict
from collections.abc import Iterable, Iterator, Mapping

import duckdb
from pydantic_core import to_json

from lineage.errors import StoreError
from lineage.events import Recorded
from lineage.literals import literal
from lineage.projections import project
from lineage.rows import KEYS, Address, Values, address

_LITERAL_ROWS = 4
_ROWS_A_PARAMETER = 10_000


class Tables:
    """Rows as of the last `keep`. Every write happens in the caller's transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._types = column_types(connection)
        self._rows: dict[Address, Values] = {}

    def load(self) -> None:
        """Take over the rows that the database holds."""
        for table in KEYS:
            columns = self._types[table]
            for row in self._connection.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall():
                values = dict(zip(columns, row, strict=True))
                self._rows[address(table, values)] = values

    def write(self, recorded: Iterable[Recorded]) -> dict[Address, Values]:
        """Write what events change; the changes, for `keep` once they are committed.

        Raises:
            StoreError: an event does not follow from those before it.
        """
        changes: dict[Address, Values] = {}
        rows = ChainMap(changes, self._rows)
        for one in recorded:
            for at, values in _projected(rows, one).items():
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
            insert(self._connection, table, self._types[table], inserted)
        for table, updated in changed.items():
            self._update(table, sorted(columns[table]), updated)
        return changes

    def keep(self, changes: Mapping[Address, Values]) -> None:
        """Hold rows in memory that are now in the database."""
        self._rows.update(changes)

    def _update(self, table: str, columns: list[str], rows: list[Values]) -> None:
        keys = KEYS[table]
        if len(rows) <= _LITERAL_ROWS:
            for row in rows:
                assignments = ", ".join(f"{column} = {literal(row[column])}" for column in columns)
                matches = " AND ".join(f"{key} = {literal(row[key])}" for key in keys)
                self._connection.execute(f"UPDATE {table} SET {assignments} WHERE {matches}")
            return
        types = {column: self._types[table][column] for column in (*keys, *columns)}
        assignments = ", ".join(f"{column} = changed.{column}" for column in columns)
        matches = " AND ".join(f"{table}.{key} = changed.{key}" for key in keys)
        for some in _slices(rows):
            query = f"UPDATE {table} SET {assignments} FROM ({_unnested(types)}) AS changed WHERE {matches}"
            self._connection.execute(query, [_json(some, types)])


def _projected(rows: Mapping[Address, Values], recorded: Recorded) -> dict[Address, Values]:
    try:
        return project(rows, recorded)
    except (LookupError, AttributeError, TypeError, ValueError) as error:
        raise StoreError(
            f"event {recorded.event_id}, {recorded.event.kind}, does not follow from those before it ({error!r}): "
            "the log is damaged"
        ) from error


def column_types(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, str]]:
    """SQL type of each column of each table, in order."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for table, column, kind in connection.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() ORDER BY table_name, column_index"
    ).fetchall():
        found[table][column] = kind
    return found


def insert(connection: duckdb.DuckDBPyConnection, table: str, types: Mapping[str, str], rows: list[Values]) -> None:
    """Insert whole rows."""
    if len(rows) <= _LITERAL_ROWS:
        values = ", ".join(f"({', '.join(literal(row[column]) for column in types)})" for row in rows)
        connection.execute(f"INSERT INTO {table} VALUES {values}")
        return
    for some in _slices(rows):
        connection.execute(f"INSERT INTO {table} {_unnested(types)}", [_json(some, types)])


def _slices(rows: list[Values]) -> Iterator[list[Values]]:
    for start in range(0, len(rows), _ROWS_A_PARAMETER):
        yield rows[start : start + _ROWS_A_PARAMETER]


def _unnested(types: Mapping[str, str]) -> str:
    return f"SELECT unnest(from_json_strict(?, '{to_json([types]).decode()}'), max_depth := 2)"


def _json(rows: list[Values], columns: Iterable[str]) -> str:
    selected = [{column: row[column] for column in columns} for row in rows]
    return to_json(selected, inf_nan_mode="constants").decode()
