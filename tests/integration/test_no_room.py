"""A full disk is no mistake of the user's: exit code 1, and a message that says where there is no room."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from limited import longest_file
from simulated import COMMAND, EXAMPLE, Spnas

from lineage.room import is_no_room
from lineage.wal import wal_of
from orchestrator.errors import RunError
from orchestrator.run_folder import RunFolder

START = ("start", str(EXAMPLE / "sp_nas.yml"), "--simulate", "--run-dir", "new")


@pytest.mark.parametrize(
    ("arguments", "longest_bytes", "place"),
    [
        (START, 0, "new"),
        (("init", "new"), 0, "new"),
        (("status", "run"), 2**20, "spnas-scratch"),
        (("resume", "run"), 2**20, "spnas-scratch"),
        (("fsck", "run"), 2**20, "spnas-scratch"),
        (("fsck", "run"), 2**25, "spnas-scratch"),
        (("rebuild", "run"), 2**25, "lineage.duckdb needs 64 MiB of room, found "),
    ],
)
def test_a_full_disk_is_not_the_users_mistake(
    spnas: Spnas, finished: Path, arguments: tuple[str, ...], longest_bytes: int, place: str
):
    before = (finished / "lineage.duckdb").read_bytes()
    with longest_file(longest_bytes):
        done = spnas(*arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert place in done.stderr
    assert (finished / "lineage.duckdb").read_bytes() == before
    assert not wal_of(finished / "lineage.duckdb").exists()


def test_a_search_whose_lines_can_not_be_written_says_so_once_and_comes_to_its_end(spnas: Spnas, tmp_path: Path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *START], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    told, ending = done.stderr.splitlines()
    assert "can't be shown (No space left on device); the search goes on" in told
    assert (done.returncode, ending) == (1, "error: the output could not be written: No space left on device")
    assert spnas("status", "new").stdout.startswith("run new: completed")


def test_a_lock_that_finds_no_room_is_not_the_users_mistake(tmp_path: Path):
    with (
        longest_file(0),
        pytest.raises(RunError, match="see that there is room") as refused,
        RunFolder(tmp_path).held(),
    ):
        pass
    assert is_no_room(refused.value)
