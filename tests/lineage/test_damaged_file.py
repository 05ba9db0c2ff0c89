"""A database file that is cut short or overwritten is refused, or read with all that it held; it is never changed."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from histories import NOON, epoch, run_started, tables, trainings
from killed import Killed, killed_owner

from lineage.errors import StoreDamaged
from lineage.events import Recorded
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from lineage.wal import wal_of

HEADERS = 3 * 4096
BLOCK = 256 * 1024

Content = tuple[bytes, list[Recorded], dict[str, list[str]]]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """A finished store: its file, its events, its tables."""
    path = tmp_path_factory.mktemp("run") / "lineage.duckdb"
    with EventStore.create(path) as store:
        store.append([run_started()], NOON)
        for number in range(30):
            store.append([*trainings(f"s-{number}", ap=0.1), epoch(f"j-s-{number}")], NOON)
        log, rows = list(store.read()), tables(store)
    return path.read_bytes(), log, rows


def answer(path: Path, content: Content) -> str:
    """How a damaged file is met, looked at and opened: whole, or refused with what to do and left as it is."""
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    answers = []
    for opened in (open_snapshot, EventStore.open):
        try:
            with opened(path) as store:
                found = list(store.read()), tables(store)
        except StoreDamaged as error:
            named = opened is EventStore.open or str(path) in str(error)
            helped = "restore both files" in str(error) and "\n" not in str(error)
            unchanged = {file: file.read_bytes() for file in path.parent.iterdir()} == before
            answers.append("refused" if named and helped and unchanged else f"refused badly: {error}")
        else:
            answers.append("whole" if found == content[1:] else "lost")
    return " ".join(answers)


def sizes(length: int) -> list[int]:
    rng = random.Random(1)
    edges = [at + step for at in (4096, 8192, HEADERS, HEADERS + BLOCK, length) for step in (-1, 0, 1)]
    return sorted({0, 1, 8, 20, *edges[:-2], *(rng.randrange(length) for _ in range(12))})


def test_a_file_cut_short_is_refused_or_whole(content: Content, tmp_path: Path) -> None:
    file, path = content[0], tmp_path / "lineage.duckdb"
    found = {}
    for size in sizes(len(file)):
        path.write_bytes(file[:size])
        found[size] = answer(path, content)
    assert set(found.values()) <= {"refused refused", "whole whole"}
    assert {found[size] for size in found if size <= HEADERS + BLOCK} == {"refused refused"}
    assert len(found) > 20


@pytest.mark.parametrize("kind", ["zeros", "noise", "bit"])
def test_an_overwritten_part_of_a_file_is_refused_or_was_not_needed(
    content: Content, tmp_path: Path, kind: str
) -> None:
    file, path, rng = content[0], tmp_path / "lineage.duckdb", random.Random(kind)
    found = []
    used = [at for at in range(HEADERS, len(file), 64) if any(file[at : at + 64])]
    for at in (0, 4096, 8192, *rng.sample(used, 20)):
        size = 1 if kind == "bit" else rng.choice([64, 4096])
        part = {"zeros": bytes(size), "noise": rng.randbytes(size), "bit": bytes([file[at] ^ 1 << rng.randrange(8)])}
        path.write_bytes(file[:at] + part[kind] + file[at + size :])
        found.append(answer(path, content))
    assert found[:3] == ["refused refused"] * 3
    assert set(found) <= {"refused refused", "refused whole", "whole whole"}
    assert "refused refused" in found[3:]


def test_a_damaged_file_with_a_log_beside_it_leaves_the_log_alone(tmp_path: Path) -> None:
    killed: Killed = killed_owner(tmp_path / "lineage.duckdb", 3, checkpointed=2)
    rng = random.Random(2)
    refused = 0
    for size in (0, 4000, HEADERS, *(rng.randrange(len(killed.database)) for _ in range(8))):
        path = killed.put(tmp_path / "lineage.duckdb", killed.log, killed.database[:size])
        with suppress(StoreDamaged):
            EventStore.open(path).close()
            continue
        assert wal_of(path).read_bytes() == killed.log
        refused += 1
    assert refused > 3
