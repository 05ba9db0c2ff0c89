"""A run of an earlier release, or of a schema before it, can be looked at as it is, and opened with all it held.

`store_0_1_0.json` is a simulated run as release 0.1.0 stored it: its events, and the rows of its tables and views.
"""

import json
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from histories import NOON, tables

from lineage import schema
from lineage.errors import StoreError, StoreTooOld
from lineage.events import RunResumed
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from lineage.wal import wal_of

RELEASED: dict[str, Any] = json.loads(Path(__file__).with_name("store_0_1_0.json").read_text(encoding="utf-8"))
VIEWS = ("leaderboard", "pareto_front")
TABLES = [name for name in RELEASED if name not in (*VIEWS, "events", "schema_version")]
RELEASED_SCHEMA = 3


def as_left_by(path: Path, version: int) -> Path:
    """The store of release 0.1.0 as a program that knew the schema up to `version` would have left it."""
    with duckdb.connect(path) as connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name VARCHAR, program VARCHAR)")
        for number, (_, sql) in schema.migrations().items():
            if number <= version:
                connection.execute(sql)
        for table in ("schema_version", "events", *(TABLES if version > 1 else ())):
            columns, rows = RELEASED[table]["columns"], RELEASED[table]["rows"]
            if table == "schema_version":
                rows = [row for row in rows if row[0] <= version]
            values = [[json.dumps(value) if isinstance(value, dict) else value for value in row] for row in rows]
            places = ", ".join("?" for _ in columns)
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", values)
    return path


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A store made by release 0.1.0."""
    return as_left_by(tmp_path / "lineage.duckdb", RELEASED_SCHEMA)


def log_of(path: Path) -> tuple[list[tuple[Any, ...]], int]:
    """Every row of the log, byte for byte, and the schema's version."""
    with duckdb.connect(path) as connection:
        ((version,),) = connection.execute("SELECT max(version) FROM schema_version").fetchall()
        return connection.execute("FROM events ORDER BY seq").fetchall(), version


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


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_store_of_any_earlier_schema_has_the_tables_of_today_and_the_log_of_then(
    tmp_path: Path, version: int
) -> None:
    path = as_left_by(tmp_path / "lineage.duckdb", version)
    log, _ = log_of(path)
    with pytest.raises(StoreTooOld, match=f"lacks schema version {version + 1}"):
        EventStore.open_read_only(path)
    with open_snapshot(path) as store:
        assert_holds_what_was_released(store)
        looked_at = tables(store)
    with open_snapshot(path, 7) as store:
        assert [one.seq for one in store.read()] == list(range(1, 8))
    assert log_of(path) == (log, version)
    with EventStore.open(path) as store:
        assert_holds_what_was_released(store)
        assert tables(store) == looked_at
        store.rebuild()
        assert tables(store) == looked_at
        seq = store.append([RunResumed()], NOON)[0].seq
    assert seq == len(log) + 1
    after, now = log_of(path)
    assert (after[:-1], now) == (log, max(schema.migrations()))


MIGRATING = """
import os, signal, sys
from pathlib import Path
from lineage import database, schema, store, tables

def dying(function, after):
    def call(*arguments):
        global left
        left -= 1
        if left == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

path, moment, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
if moment == "schema":
    schema.migrate = dying(schema.migrate, after=True)
elif moment == "cleared":
    tables.Tables.clear = dying(tables.Tables.clear, after=True)
elif moment == "insert":
    tables.insert = dying(tables.insert, after=True)
elif moment == "written":
    tables.Tables.write = dying(tables.Tables.write, after=True)
elif moment == "committed":
    tables.Tables.keep = dying(tables.Tables.keep, after=False)
opened = store.EventStore.open(path)
if moment == "closing":
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit("it was not killed")
"""


@pytest.mark.parametrize(
    ("version", "moment", "count", "migrated"),
    [
        (3, "schema", 1, False),
        pytest.param(3, "cleared", 1, False, marks=pytest.mark.soak),
        pytest.param(3, "insert", 1, False, marks=pytest.mark.soak),
        (3, "insert", 5, False),
        (3, "written", 1, False),
        (3, "committed", 1, True),
        pytest.param(3, "closing", 1, True, marks=pytest.mark.soak),
        pytest.param(2, "insert", 5, False, marks=pytest.mark.soak),
        (2, "committed", 1, True),
        (1, "insert", 5, False),
        (1, "committed", 1, True),
    ],
)
def test_a_migration_that_is_killed_leaves_the_old_version_or_the_new_one(
    tmp_path: Path, version: int, moment: str, count: int, migrated: bool
) -> None:
    path = as_left_by(tmp_path / "lineage.duckdb", version)
    log, _ = log_of(path)
    done = subprocess.run([sys.executable, "-c", MIGRATING, str(path), moment, str(count)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    (tmp_path / "copy").mkdir()
    for file in (path, wal_of(path)):
        if file.exists():
            shutil.copy(file, tmp_path / "copy")
    assert log_of(tmp_path / "copy" / path.name) == (log, max(schema.migrations()) if migrated else version)
    with EventStore.open(path) as store:
        assert_holds_what_was_released(store)
    assert log_of(path) == (log, max(schema.migrations()))


@pytest.mark.soak
@pytest.mark.parametrize("attempt", range(30))
def test_a_migration_killed_at_any_time_leaves_the_old_version_or_the_new_one(tmp_path: Path, attempt: int) -> None:
    path = as_left_by(tmp_path / "lineage.duckdb", RELEASED_SCHEMA)
    log, _ = log_of(path)
    with subprocess.Popen([sys.executable, "-c", MIGRATING, str(path), "never", "0"], stderr=subprocess.PIPE) as owner:
        time.sleep(0.2 + 0.02 * attempt)
        owner.kill()
    with EventStore.open(path) as store:
        assert_holds_what_was_released(store)
    assert log_of(path) == (log, max(schema.migrations()))
