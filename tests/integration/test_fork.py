"""Forks of runs that are live, that were stopped, and that were killed: real processes, simulated trainings."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from simulated import DECISIONS, Spnas, has_begun, paced, rows, wait_for

from lineage.snapshot import open_snapshot

EDGES = "SELECT child_id, parent_id, morphisms, residual FROM inheritance ORDER BY child_id"


def trained(run: Path) -> int:
    with open_snapshot(run / "lineage.duckdb") as store:
        ((count,),) = store.query("SELECT count(*) FROM leaderboard").rows
    return int(count)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_live_run_is_forked_and_both_end_as_it_would_have(spnas: Spnas, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "live"
    folder.mkdir()
    live = paced(folder, "--speed", "60")
    try:
        wait_for(lambda: has_begun(folder / "run") and trained(folder / "run") >= 2)
        forked = spnas("fork", folder / "run", "--at", 15, "--run-dir", "fork", "--no-tui")
        assert live.poll() is None, "the run was over before it was forked"
        assert forked.returncode == 0, forked.stderr
        out, err = live.communicate(timeout=60)
    finally:
        live.kill()
    assert live.returncode == 0, err
    assert "forked" not in out
    told = forked.stdout.splitlines()
    assert told[0].startswith(f"simulated run fork forked from {folder / 'run'} at event 15 by ")
    assert told[1] == "simulated run fork resumed"
    for run in (tmp_path / "fork", folder / "run"):
        assert rows(run, DECISIONS) == rows(finished, DECISIONS)
        assert rows(run, EDGES) == rows(finished, EDGES)
        assert spnas("fsck", run).returncode == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, "stopped"), (signal.SIGKILL, "crashed")])
def test_a_run_that_does_not_go_on_is_forked_and_stays_as_it_is(
    spnas: Spnas, finished: Path, tmp_path: Path, number: signal.Signals, status: str
) -> None:
    live = paced(tmp_path, "--run-dir", "ended")
    run = tmp_path / "ended"
    wait_for(lambda: has_begun(run) and trained(run) >= 2)
    live.send_signal(number)
    live.communicate(timeout=30)
    assert json.loads(spnas("status", run, "--json").stdout)["status"] == status
    ((last,),) = (row.values() for row in rows(run, "SELECT max(seq) AS last FROM events"))
    before = contents(run)
    for number_of_fork, at in enumerate((last, "2000-01-01T00:02:00Z"), 1):  # simulated runs have a clock of their own
        done = spnas("fork", run, "--at", at, "--no-tui")
        assert done.returncode == 0, done.stderr
        fork = tmp_path / "runs" / f"ended-fork-{number_of_fork}"
        assert rows(fork, DECISIONS) == rows(finished, DECISIONS)
    assert contents(run) == before


def test_a_mistake_makes_no_folder(spnas: Spnas, finished: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for arguments, expected in (
        (("run", "--at", "9999"), "the run has no event 9999: it goes from event 1, "),
        (("run", "--at", "1999-12-31"), "the run has nothing as early as 1999-12-31 "),
        (("run", "--at", "soon"), "expected the number of an event, a time such as"),
        (("none", "--at", "3"), "no run 'none'"),
        (("run", "--at", "3", "--run-dir", "run"), "run exists already"),
        (("run", "--at", "3", "--run-dir", "/proc/here"), "can't make"),
        (("run",), "--at"),
    ):
        done = spnas("fork", *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
