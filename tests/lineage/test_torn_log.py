"""Whatever is torn or damaged in a write-ahead log: whole transactions from the first on, or what to do is said."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from histories import NOON, run_started, trainings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killed import Killed, killed_owner, looked_at, snapshot_of

from lineage.errors import StoreDamaged, StoreEmpty
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from lineage.wal import COMMIT, HEADER, wal_of

few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(few, max_examples=2000)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Killed some transactions after a checkpoint."""
    return killed_owner(tmp_path_factory.mktemp("run") / "lineage.duckdb", 8, checkpointed=3)


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Killed before any checkpoint: the log holds the making of the tables too."""
    return killed_owner(tmp_path_factory.mktemp("run") / "lineage.duckdb", 4)


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def assert_refused_and_untouched(path: Path, match: str) -> str:
    """By both ways to open it, with nothing changed; what the error says."""
    before = files(path)
    with pytest.raises(StoreDamaged, match=match) as by_snapshot, open_snapshot(path):
        pass
    with pytest.raises(StoreDamaged, match=match):
        EventStore.open(path)
    assert files(path) == before
    assert "\n" not in str(by_snapshot.value)
    assert str(path) in str(by_snapshot.value)
    return str(by_snapshot.value)


def assert_prefix_after_the_advice(killed: Killed, path: Path, log: bytes, advice: str, kept: int) -> None:
    (cut,) = map(int, re.findall(r"truncate -s (\d+) ", advice))
    assert snapshot_of(killed.put(path, log[:cut])) == kept


def test_the_log_of_a_killed_owner_is_as_it_was_measured(killed: Killed, young: Killed) -> None:
    for one in (killed, young):
        assert one.log.startswith(HEADER)
        assert len(one.log) >= one.acknowledged[-1][1]
        assert all(one.log[:end].endswith(COMMIT) for _, end in one.acknowledged)


def test_a_log_torn_at_the_edge_of_any_entry_keeps_every_whole_transaction(killed: Killed, tmp_path: Path) -> None:
    ends = [end for _, end in killed.acknowledged[::3]]
    for cut in sorted({0, 5, *(end + step for end in ends for step in (-21, -14, -1, 0, 8, 17))}):
        path = killed.put(tmp_path / "lineage.duckdb", killed.log[:cut])
        look = looked_at if cut in ends else snapshot_of
        assert look(path) == killed.whole(cut), cut


def assert_tear_costs_what_was_torn(killed: Killed, path: Path, at: float) -> None:
    cut = int(at * len(killed.log))
    assert snapshot_of(killed.put(path, killed.log[:cut])) == killed.whole(cut)


@few
@given(st.floats(0, 1))
def test_a_log_torn_anywhere_keeps_every_whole_transaction(killed: Killed, tmp_path: Path, at: float) -> None:
    assert_tear_costs_what_was_torn(killed, tmp_path / "lineage.duckdb", at)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_log_torn_at_any_byte_of_the_last_transactions_keeps_the_others(killed: Killed, tmp_path: Path) -> None:
    last = killed.acknowledged[-4][1]
    for cut in range(last, len(killed.log) + 1):
        assert_tear_costs_what_was_torn(killed, tmp_path / "lineage.duckdb", cut / len(killed.log))


@few
@given(st.floats(0, 1))
def test_a_young_log_torn_anywhere_keeps_what_is_whole_or_was_never_made(
    young: Killed, tmp_path: Path, at: float
) -> None:
    cut = int(at * len(young.log))
    made = young.log.index(COMMIT) + len(COMMIT)
    path = young.put(tmp_path / "lineage.duckdb", young.log[:cut])
    if cut >= made:
        assert snapshot_of(path) == young.whole(cut)
    else:
        with pytest.raises(StoreEmpty, match="cut off as it was made"):
            snapshot_of(path)


@pytest.mark.parametrize("length", [1, 7, 8, 15, 16, 17, 500, 5000])
def test_garbage_behind_the_log_costs_nothing(killed: Killed, tmp_path: Path, length: int) -> None:
    seq, end = killed.acknowledged[-1]
    garbage = random.Random(length).randbytes(length)
    assert looked_at(killed.put(tmp_path / "lineage.duckdb", killed.log[:end] + garbage)) == seq


def test_what_is_appended_after_a_torn_end_is_kept_when_that_owner_is_killed_too(
    killed: Killed, tmp_path: Path
) -> None:
    for torn in (1, 14, 300):
        path = killed.put(tmp_path / "lineage.duckdb", killed.log[: killed.acknowledged[-1][1] - torn])
        with EventStore.open(path) as store:
            seq = store.append(trainings("s-new"), NOON)[-1].seq
            found = path.read_bytes(), wal_of(path).read_bytes()
        (tmp_path / "copy").mkdir(exist_ok=True)
        assert snapshot_of(killed.put(tmp_path / "copy" / "lineage.duckdb", found[1], found[0])) == seq


def assert_flip_is_refused(killed: Killed, path: Path, byte: int, bit: int) -> None:
    log = bytearray(killed.log[: killed.acknowledged[-1][1]])
    log[byte] ^= 1 << bit
    said = assert_refused_and_untouched(
        killed.put(path, bytes(log)), r"\.wal is damaged after byte \d+: .*restore both"
    )
    if byte >= killed.acknowledged[0][1]:
        assert_prefix_after_the_advice(killed, path, bytes(log), said, killed.whole(byte))


@few
@given(st.data())
def test_a_flipped_bit_is_never_a_silent_loss(killed: Killed, tmp_path: Path, data: st.DataObject) -> None:
    byte = data.draw(st.integers(0, killed.acknowledged[-1][1] - 1))
    assert_flip_is_refused(killed, tmp_path / "lineage.duckdb", byte, data.draw(st.integers(0, 7)))


def test_a_flipped_bit_in_the_size_of_an_entry_or_in_a_commit_is_no_torn_end(killed: Killed, tmp_path: Path) -> None:
    (_, last), (_, end) = killed.acknowledged[-2:]
    for byte in (*range(len(HEADER)), *range(last, last + 16), *range(end - 21, end)):
        assert_flip_is_refused(killed, tmp_path / "lineage.duckdb", byte, 7 * (byte % 2))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@many
@given(st.data())
def test_two_thousand_flipped_bits_are_no_silent_loss(killed: Killed, tmp_path: Path, data: st.DataObject) -> None:
    byte = data.draw(st.integers(0, killed.acknowledged[-1][1] - 1))
    assert_flip_is_refused(killed, tmp_path / "lineage.duckdb", byte, data.draw(st.integers(0, 7)))


@pytest.mark.parametrize("content", ["zeros", "noise"])
def test_an_overwritten_page_is_told_wherever_it_lies(killed: Killed, tmp_path: Path, content: str) -> None:
    whole = killed.log[: killed.acknowledged[-1][1]]
    size = 512
    for at in range(0, len(whole) - size, len(whole) // 8):
        page = bytes(size) if content == "zeros" else random.Random(at).randbytes(size)
        log = whole[:at] + page + whole[at + size :]
        path = killed.put(tmp_path / "lineage.duckdb", log)
        said = assert_refused_and_untouched(path, r"\.wal is damaged after byte")
        if at >= killed.acknowledged[0][1]:
            assert_prefix_after_the_advice(killed, path, log, said, killed.whole(at))


@pytest.mark.parametrize("length", [16, 512, 4096, 8192])
def test_zeros_behind_the_log_are_told_and_cut_off_as_advised(killed: Killed, tmp_path: Path, length: int) -> None:
    seq, end = killed.acknowledged[-1]
    path = killed.put(tmp_path / "lineage.duckdb", log := killed.log[:end] + bytes(length))
    said = assert_refused_and_untouched(path, rf"damaged after byte {end}: .*truncate -s {end} ")
    assert_prefix_after_the_advice(killed, path, log, said, seq)


def test_files_of_different_moments_give_a_prefix_or_are_refused(tmp_path: Path) -> None:
    """As a copy may get them that takes one file after the other while the owner makes checkpoints."""
    path, copy = tmp_path / "lineage.duckdb", tmp_path / "copy.duckdb"
    moments: list[tuple[bytes, bytes | None, int]] = []
    for number in range(3):
        with EventStore.open(path) if number else EventStore.create(path) as store:
            for part in "ab":
                last = store.append([run_started(), *trainings(f"s-{number}{part}")], NOON)[-1].seq
                log = wal_of(path).read_bytes()
                moments.append((path.read_bytes(), log, last))
        moments.append((path.read_bytes(), None, last))
    outcomes = []
    for database, own, last in moments:
        for _, log, _ in moments:
            Killed(database, b"", (), 0).put(copy, log)
            try:
                found = snapshot_of(copy)
            except (StoreDamaged, StoreEmpty):
                found = 0
            assert found == last if log == own else found in (0, *(one for _, _, one in moments))
            outcomes.append(found)
    assert 0 in outcomes


@pytest.mark.parametrize("kind", ["hole", "twice"])
def test_a_log_that_is_not_numbered_in_order_is_refused(store: EventStore, kind: str) -> None:
    store.append([run_started() for _ in range(9)], NOON)
    if kind == "hole":
        store._connection.execute("DELETE FROM events WHERE seq = 4")
    else:
        store._connection.execute("UPDATE events SET seq = 20 WHERE seq = 4")
    store.close()
    for opening in (EventStore.open, EventStore.open_read_only):
        with pytest.raises(StoreDamaged, match=r"the log has event 5 where event 4 belongs.*restore both files"):
            opening(store.path)
