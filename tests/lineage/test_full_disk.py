"""A store on a full disk refuses, keeps what it has, and takes the same events once there is room."""

from __future__ import annotations

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
