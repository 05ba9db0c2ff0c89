"""A run's store can be looked at from another process at any moment, and survives the death of its owner."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from histories import NOON, proposed, run_started, tables

from lineage.errors import StoreDamaged, StoreEmpty, StoreError, StoreLocked, StoreNotFound
from lineage.snapshot import open_snapshot, snapshot_file
from lineage.store import EventStore

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from lineage.events import JobFailed, RunStarted
from lineage.store import EventStore

path, size = Path(sys.argv[1]), int(sys.argv[2])
store = EventStore.create(path)
while True:
    events = [JobFailed(job_id="j", attempt=1, fault="bug", message="x" * size) for _ in range(5)]
    recorded = store.append(events, datetime.now(UTC))
    print(recorded[-1].seq, flush=True)
"""

OWNER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from lineage.events import RunResumed
from lineage.store import EventStore

with EventStore.create(Path(sys.argv[1])) as store:
    print(store.append([RunResumed()] * 5, datetime.now(UTC))[-1].seq, flush=True)
    sys.stdin.readline()
    store.append([RunResumed()] * 5, datetime.now(UTC))
"""


@contextmanager
def another_process_writing(path: Path, message_size: int) -> Iterator[tuple[subprocess.Popen[str], Callable[[], int]]]:
    """A process that appends without end, and the last sequence number it had acknowledged."""
    acknowledged = path.parent.with_suffix(".acknowledged")
    with acknowledged.open("w") as output:
        command = [sys.executable, "-c", WRITER, str(path), str(message_size)]
        process = subprocess.Popen(command, stdout=output, text=True)

    def last() -> int:
        complete = acknowledged.read_text().split("\n")[:-1]
        return int(complete[-1]) if complete else 0

    try:
        while last() == 0:
            assert process.poll() is None
        yield process, last
    finally:
        process.kill()
        process.wait()


def whole_log(store: EventStore) -> int:
    """Number of events, which are numbered without a gap."""
    ((count, last),) = store.query("SELECT count(*), coalesce(max(seq), 0) FROM events").rows
    assert count == last
    return int(count)


def test_a_live_run_is_seen_with_everything_it_had_acknowledged(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    seen = [0]
    with another_process_writing(folder / "lineage.duckdb", 30_000) as (process, last_acknowledged):
        for _ in range(20):
            acknowledged = last_acknowledged()
            with open_snapshot(folder / "lineage.duckdb") as snapshot:
                seen.append(whole_log(snapshot))
            assert seen[-1] >= acknowledged
            assert {file.name for file in folder.iterdir()} <= {"lineage.duckdb", "lineage.duckdb.wal"}
        assert process.poll() is None
    assert seen == sorted(seen)
    assert len(set(seen)) > 2


def test_a_checkpoint_during_the_copy_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copyfile, copied = tmp_path / "lineage.duckdb", shutil.copyfile, []
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def copy_while_the_owner_ends(source: Path, target: Path) -> None:
        copyfile(source, target)
        if not copied:
            owner.communicate("end\n", timeout=60)
        copied.append(source)

    assert owner.stdout is not None
    assert owner.stdout.readline() == "5\n"
    monkeypatch.setattr(shutil, "copyfile", copy_while_the_owner_ends)
    with open_snapshot(path) as snapshot:
        assert whole_log(snapshot) == 10
    assert copied.count(path) == 2


@pytest.mark.parametrize("attempt", range(5))
def test_nothing_acknowledged_is_lost_when_the_owner_is_killed(tmp_path: Path, attempt: int) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "lineage.duckdb"
    with another_process_writing(path, 10 if attempt % 2 else 100_000) as (process, last_acknowledged):
        while last_acknowledged() < 40 * attempt:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        acknowledged = last_acknowledged()
    files = {file: file.read_bytes() for file in folder.iterdir()}
    with open_snapshot(path) as snapshot:
        assert whole_log(snapshot) >= acknowledged
    assert {file: file.read_bytes() for file in folder.iterdir()} == files
    with EventStore.open(path) as store:
        found = whole_log(store)
        assert found >= acknowledged
        assert store.append([run_started()], NOON)[0].seq == found + 1


@pytest.mark.parametrize("order", [("", ".wal"), (".wal", "")])
def test_a_plain_copy_of_a_live_store_is_whole_up_to_some_event_or_refused(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    """One file after the other, while the owner makes a checkpoint every few appends."""
    (tmp_path / "run").mkdir()
    copy, found = tmp_path / "copy.duckdb", []
    with another_process_writing(tmp_path / "run" / "lineage.duckdb", 300_000) as (process, last_acknowledged):
        while len(found) < 5 or (not any(found) and len(found) < 50):
            Path(f"{copy}.wal").unlink(missing_ok=True)
            for suffix in order:
                with suppress(FileNotFoundError):  # there is no write-ahead log just after a checkpoint
                    shutil.copyfile(tmp_path / "run" / f"lineage.duckdb{suffix}", f"{copy}{suffix}")
            try:
                with EventStore.open(copy) as store:
                    found.append(whole_log(store))
            except (StoreDamaged, StoreEmpty):
                found.append(0)
        assert process.poll() is None
        assert max(found) <= last_acknowledged() + 5
    assert any(found)


def test_a_second_process_is_refused_while_a_run_is_live(tmp_path: Path) -> None:
    with another_process_writing(tmp_path / "lineage.duckdb", 10):
        for opening in (EventStore.open, EventStore.open_read_only):
            with pytest.raises(StoreLocked, match="another process"):
                opening(tmp_path / "lineage.duckdb")


def test_a_write_ahead_log_torn_anywhere_still_opens(store: EventStore, tmp_path: Path) -> None:
    for number in range(20):
        store.append([proposed(f"s-{number}")], NOON)
    log = Path(f"{store.path}.wal").read_bytes()
    database = store.path.read_bytes()
    found = []
    for keep in range(len(log), len(log) // 2, -487):
        (tmp_path / "torn.duckdb").write_bytes(database)
        (tmp_path / "torn.duckdb.wal").write_bytes(log[:keep])
        with open_snapshot(tmp_path / "torn.duckdb") as snapshot:
            found.append(whole_log(snapshot))
            assert snapshot.query("SELECT count(*) FROM candidates").rows == [(found[-1],)]
    assert found[0] == 20
    assert found == sorted(found, reverse=True)
    assert found[-1] < 20


def test_a_finished_run_is_seen_as_it_ended_and_not_touched(store: EventStore) -> None:
    store.append([run_started(), proposed("s-0")], NOON)
    kept = tables(store)
    store.close()
    files = {file: file.read_bytes() for file in store.path.parent.iterdir()}
    with open_snapshot(store.path) as snapshot:
        assert tables(snapshot) == kept
        copy = snapshot.path
        with pytest.raises(StoreError):
            snapshot.append([run_started()], NOON)
    assert not copy.parent.exists()
    assert {file: file.read_bytes() for file in store.path.parent.iterdir()} == files


def test_a_snapshot_leaves_no_copy_behind_even_if_its_process_is_killed(
    store: EventStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers beside a run keep snapshots, and are killed with it."""
    store.append([run_started(), proposed("s-0001")], NOON)
    store.close()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with open_snapshot(store.path) as snapshot, open_snapshot(store.path, 1) as begun:
        assert list(temporary.iterdir()) == []
        assert [len(list(snapshot.read())), len(list(begun.read()))] == [2, 1]
    assert list(temporary.iterdir()) == []


def test_the_log_of_a_file_that_others_open_was_replayed_once(store: EventStore, tmp_path: Path) -> None:
    """That may take seconds, and each who opens it would have to."""
    store.append([run_started(), proposed("s-0001")], NOON)
    for suffix in ("", ".wal"):
        shutil.copyfile(f"{store.path}{suffix}", tmp_path / f"left.duckdb{suffix}")
    with snapshot_file(tmp_path / "left.duckdb") as copy:
        assert list(copy.parent.iterdir()) == [copy]
        with EventStore.open_read_only(copy) as found:
            assert tables(found) == tables(store)
    assert (tmp_path / "left.duckdb.wal").exists()


def test_the_owner_itself_is_told_to_use_its_store(store: EventStore) -> None:
    with pytest.raises(StoreLocked, match="use that store"), open_snapshot(store.path):
        pass


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreNotFound, match=r"lineage\.duckdb"), open_snapshot(tmp_path / "lineage.duckdb"):
        pass
