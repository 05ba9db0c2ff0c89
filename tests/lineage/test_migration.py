"""A run of an earlier release can be looked at as it is, and opened with all it held.

`store_0_1_0.json` is a simulated run as release 0.1.0 stored it: its events, and the rows of its tables and views.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from lineage import schema
from lineage.errors import StoreError, StoreTooOld
from lineage.snapshot import open_snapshot
from lineage.store import EventStore

RELEASED: dict[str, Any] = json.loads(Path(__file__).with_name("store_0_1_0.json").read_text(encoding="utf-8"))
VIEWS = ("leaderboard", "pareto_front")
TABLES = [name for name in RELEASED if name not in (*VIEWS, "events", "schema_version")]
RELEASED_SCHEMA = 3


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A store made by release 0.1.0."""
    path = tmp_path / "lineage.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name VARCHAR, program VARCHAR)")
        for number, (_, sql) in schema.migrations().items():
            if number <= RELEASED_SCHEMA:
                connection.execute(sql)
        for table in ("schema_version", "events", *TABLES):
            columns, rows = RELEASED[table]["columns"], RELEASED[table]["rows"]
            values = [[json.dumps(value) if isinstance(value, dict) else value for value in row] for row in rows]
            places = ", ".join("?" for _ in columns)
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", values)
    return path


def rows_as_released(store: EventStore, name: str) -> list[list[Any]]:
    """Rows of a table or view, in the columns that release 0.1.0 had."""
    found = store.query(f"SELECT {', '.join(RELEASED[name]['columns'])} FROM {name}").rows
    return [[value.isoformat(sep=" ") if isinstance(value, datetime) else value for value in row] for row in found]


def assert_holds_what_was_released(store: EventStore) -> None:
    for table in TABLES:
        assert sorted(rows_as_released(store, table)) == sorted(RELEASED[table]["rows"]), table
    for view in VIEWS:
        assert rows_as_released(store, view) == RELEASED[view]["rows"], view


def test_an_opened_store_of_a_release_has_all_its_rows_in_the_tables_of_today(released: Path) -> None:
    with EventStore.open(released) as store:
        assert_holds_what_was_released(store)
        assert store.query("SELECT objectives FROM run").rows == [(["flops"],)]
        assert store.query("SELECT DISTINCT seeds, refused, ruled_out FROM candidates").rows == [(1, 0, None)]
        assert store.query("SELECT count(*) FROM measurements").rows == [(len(RELEASED["leaderboard"]["rows"]),)]
        (draw,) = store.query("SELECT round(sum(probability), 9) FROM parent_draws WHERE child_id = 's-0004'").rows
        assert draw == (1.0,)
    with EventStore.open_read_only(released) as reopened:
        assert_holds_what_was_released(reopened)


def test_a_store_of_a_release_is_looked_at_without_being_changed(released: Path) -> None:
    before = {file: file.read_bytes() for file in released.parent.iterdir()}
    with pytest.raises(StoreTooOld, match="lacks schema version 4"):
        EventStore.open_read_only(released)
    with open_snapshot(released) as store:
        assert_holds_what_was_released(store)
    assert {file: file.read_bytes() for file in released.parent.iterdir()} == before


def test_a_store_that_cannot_be_brought_up_to_date_stays_as_it_is(released: Path) -> None:
    with duckdb.connect(released) as connection:
        connection.execute("""UPDATE events SET payload = '{"kind": "MoonLanded"}' WHERE seq = 9""")
    with pytest.raises(StoreError, match="e-00000009"):
        EventStore.open(released)
    with duckdb.connect(released) as connection:
        assert connection.execute("SELECT max(version) FROM schema_version").fetchone() == (RELEASED_SCHEMA,)
        assert len(connection.execute("FROM candidates").fetchall()) == len(RELEASED["candidates"]["rows"])
