"""A store on a full disk refuses, keeps what it has, and takes the same events once there is room."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from histories import NOON, proposed, run_started, tables
from limited import longest_file

from lineage import store as store_module
from lineage.errors import StoreError, StoreFull
from lineage.store import EventStore

FULL = duckdb.IOException("Could not write file: No space left on device")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        store.append([run_started(), proposed("s-0001")], NOON)
        yield store


def test_without_room_to_spare_nothing_is_tried(store: EventStore) -> None:
    with longest_file(10 * 2**20):
        for attempt in (lambda: store.append([proposed("s-0002")], NOON), store.rebuild):
            with pytest.raises(StoreFull, match="needs 64 MiB of room, found 9 MiB within the longest file"):
                attempt()
        assert len(list(store.read())) == 2
    assert [one.seq for one in store.append([proposed("s-0002")], NOON)] == [3]


def test_the_disk_is_looked_at(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Disk:
        f_bavail, f_frsize = 1000, 4096

    monkeypatch.setattr("os.statvfs", lambda _: Disk)
    with pytest.raises(StoreFull, match="found 3 MiB on the disk"):
        store.append([proposed("s-0002")], NOON)


def test_what_the_database_found_no_room_for_is_taken_later(store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FULL

    with monkeypatch.context() as patched:
        patched.setattr(store_module, "insert", refuse)
        for _ in range(2):
            with pytest.raises(StoreFull, match="No space left on device"):
                store.append([proposed("s-0002")], NOON)
    assert [one.seq for one in store.append([proposed("s-0002")], NOON)] == [3]
    kept = tables(store)
    store.rebuild()
    assert tables(store) == kept


def fail_after_the_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    real = store_module.transaction

    @contextmanager
    def transaction(connection: Any) -> Iterator[None]:
        with real(connection):
            yield
        monkeypatch.setattr(store_module, "transaction", real)
        raise FULL

    monkeypatch.setattr(store_module, "transaction", transaction)


def test_what_reached_the_disk_after_all_is_not_recorded_twice(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after_the_commit(monkeypatch)
    with pytest.raises(StoreFull):
        store.append([proposed("s-0002")], NOON)
    assert [one.seq for one in store.append([proposed("s-0002")], NOON)] == [3]
    assert [one.seq for one in store.append([proposed("s-0003")], NOON)] == [4]
    assert len(list(store.read())) == 4
    kept = tables(store)
    store.rebuild()
    assert tables(store) == kept


def test_other_events_are_no_answer_to_what_reached_the_disk_after_all(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_after_the_commit(monkeypatch)
    with pytest.raises(StoreFull):
        store.append([proposed("s-0002")], NOON)
    with pytest.raises(StoreError, match="holds events up to 3 that were told to be refused: resume the run"):
        store.append([proposed("s-0009")], NOON)


MET_BY_THE_DATABASE = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
from histories import INTERRUPTIONS, NOON, assigned, epoch, failed, inherited, reignition, run_started, tables, trainings
from limited import longest_file
from lineage import store
from lineage.errors import StoreFull
from lineage.wal import wal_of

store.must_have_room = lambda _: None
database = Path(sys.argv[1])
log = [
    *trainings("s-0", aps=(0.1, 0.2)), *trainings("s-1", "s-0"), assigned("j-1", "s-1"),
    inherited("j-1", "s-1", "s-0", dead_tensors=("backbone.a",)), inherited("j-1", "s-1", "s-0", dead_tensors=None),
    epoch("j-1"), failed("j-1"), reignition("i-1", "s-0"), *INTERRUPTIONS,
]
with store.EventStore.create(database) as opened:
    opened.append([run_started()], NOON)
    for number, event in enumerate(log, 2):
        with longest_file(wal_of(database).stat().st_size):
            try:
                opened.append([event], NOON)
                sys.exit(f"there was room for {event}")
            except StoreFull:
                pass
        assert [one.seq for one in opened.append([event], NOON)] == [number]
    kept = tables(opened)
    opened.rebuild()
    assert tables(opened) == kept
"""


def test_room_that_goes_once_it_was_looked_for_keeps_an_event_out_and_ends_nothing(tmp_path: Path) -> None:
    """DuckDB ends the process where it can't take a commit back."""
    command = [sys.executable, "-c", MET_BY_THE_DATABASE, str(tmp_path / "lineage.duckdb"), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
