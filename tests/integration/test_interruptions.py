"""A live run that is looked at, killed, interrupted, or without room on the disk: it ends as it would have."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from simulated import COMMAND, DECISIONS, EXAMPLE, Spnas, has_begun, paced, rows, wait_for

from orchestrator.run_folder import RunFolder


def test_a_live_run_can_be_looked_at_and_is_refused_to_a_second_process(spnas: Spnas, tmp_path: Path):
    live = paced(tmp_path, "--speed", "20")
    try:
        wait_for((tmp_path / "run" / "lineage.duckdb").exists)
        wait_for(lambda: spnas("status", "run").returncode == 0)
        assert json.loads(spnas("status", "run", "--json").stdout)["process"] == live.pid
        for refused in (
            spnas("resume", "run"),
            spnas("start", EXAMPLE / "sp_nas.yml", "--simulate", "--run-dir", "run"),
        ):
            assert refused.returncode == 2
            assert "Traceback" not in refused.stderr
        assert f"process {live.pid}" in spnas("resume", "run").stderr
    finally:
        live.kill()
        live.communicate()


def test_killed_at_any_time_and_resumed_a_run_ends_as_it_would_have(spnas: Spnas, finished: Path, tmp_path: Path):
    folder = tmp_path / "killed"
    folder.mkdir()
    live = paced(folder)
    wait_for(lambda: spnas("status", folder / "run").returncode == 0)
    for _ in range(4):
        time.sleep(0.7)
        live.kill()
        live.communicate()
        assert json.loads(spnas("status", folder / "run", "--json").stdout)["status"] in ("crashed", "completed")
        command = [COMMAND, "resume", str(folder / "run")]
        live = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = live.communicate(timeout=60)
    assert live.returncode == 0, err
    assert "Pareto front" in out
    assert rows(folder / "run", DECISIONS) == rows(finished, DECISIONS)


def test_an_interrupt_says_how_to_go_on(spnas: Spnas, finished: Path, tmp_path: Path):
    folder = tmp_path / "interrupted"
    folder.mkdir()
    live = paced(folder)
    wait_for((folder / "run" / "lineage.duckdb").exists)
    time.sleep(0.5)
    live.send_signal(signal.SIGINT)
    out, err = live.communicate(timeout=30)
    assert live.returncode == 130, err
    assert out.endswith("run run stopped: interrupted\ngo on with: spnas-orch resume run\n")
    assert "stopped" in spnas("status", folder / "run").stdout
    assert spnas("resume", folder / "run").returncode == 0
    assert rows(folder / "run", DECISIONS) == rows(finished, DECISIONS)


NAMELESS = """
import pwd
from orchestrator import cli

def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = unknown
cli.main()
"""


def test_a_user_without_a_name_can_interrupt_too(spnas: Spnas, tmp_path: Path):
    forgotten = (f"--unset={name}" for name in ("LOGNAME", "USER", "LNAME", "USERNAME"))
    live = paced(tmp_path, program=("env", *forgotten, sys.executable, "-c", NAMELESS))
    try:
        wait_for(lambda: has_begun(tmp_path / "run"))
        live.send_signal(signal.SIGINT)
        out, err = live.communicate(timeout=30)
    finally:
        live.kill()
    assert (live.returncode, err) == (130, "")
    assert f"stop requested by uid {os.getuid()} (SIGINT)" in out


def without_room(folder: Path, *extra: str) -> tuple[subprocess.Popen[str], int]:
    """A live run none of whose files gets longer any more, and the limit on their length that it had."""
    live = paced(folder, *extra)
    wait_for(lambda: has_begun(folder / "run"))
    limit = resource.prlimit(live.pid, resource.RLIMIT_FSIZE)[1]
    length = (folder / "run" / "lineage.duckdb.wal").stat().st_size
    resource.prlimit(live.pid, resource.RLIMIT_FSIZE, (length, limit))
    return live, limit


def test_a_full_disk_is_waited_for_and_nothing_is_lost(spnas: Spnas, finished: Path, tmp_path: Path):
    folder = tmp_path / "full"
    folder.mkdir()
    live, limit = without_room(folder)
    time.sleep(3)
    assert live.poll() is None
    before = rows(folder / "run", "SELECT max(seq) AS seq FROM events")
    time.sleep(1)
    assert rows(folder / "run", "SELECT max(seq) AS seq FROM events") == before
    resource.prlimit(live.pid, resource.RLIMIT_FSIZE, (limit, limit))
    out, err = live.communicate(timeout=60)
    assert live.returncode == 0, err
    assert err.count("the run waits for room") == 1
    assert "nothing could be recorded for" in out
    assert rows(folder / "run", DECISIONS) == rows(finished, DECISIONS)
    assert spnas("fsck", folder / "run").returncode == 0


@pytest.mark.parametrize(
    ("extra", "waits_s"), [((), 2), (("--speed", "2"), 0)], ids=["while it waits", "before anything has to wait"]
)
def test_a_run_that_finds_no_room_can_be_interrupted_and_resumed(
    spnas: Spnas, finished: Path, tmp_path: Path, extra: tuple[str, ...], waits_s: float
):
    folder = tmp_path / "full"
    folder.mkdir()
    live, _ = without_room(folder, *extra)
    time.sleep(waits_s)
    live.send_signal(signal.SIGTERM)
    _, err = live.communicate(timeout=30)
    assert live.returncode == 1, err
    assert "make room and resume it" in err
    assert "Traceback" not in err
    assert RunFolder(folder / "run").was_killed()  # that is: it left events in the write-ahead log
    assert spnas("resume", folder / "run").returncode == 0
    assert rows(folder / "run", DECISIONS) == rows(finished, DECISIONS)
