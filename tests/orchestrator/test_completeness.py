"""That a run's log is older than the rest of its folder shows where anything shows it."""

from __future__ import annotations

import os

import pytest
from elsewhere import write_run

from lineage.events import Event, RunFinished
from lineage.snapshot import open_snapshot
from orchestrator.completeness import missing_events
from orchestrator.run_folder import RunFolder


def signs(run: RunFolder) -> str | None:
    with open_snapshot(run.database) as store:
        return missing_events(run, store)


def test_checkpoints_that_the_log_does_not_know_are_told_once_they_are_more_than_a_kill_leaves(
    old_run: RunFolder,
) -> None:
    with open_snapshot(old_run.database) as store:
        ((slots, ended),) = store.query("SELECT slots, epoch(finished_at) FROM run").rows
    assert signs(old_run) is None
    for number in range(slots + 1):
        assert signs(old_run) is None
        (old_run.checkpoints / f"{number:064}.safetensors").touch()
    assert f"{slots + 1} checkpoints are newer than the log" in str(signs(old_run))
    os.utime(old_run.checkpoints / f"{0:064}.safetensors", (ended - 10, ended - 10))
    assert signs(old_run) is None


def test_unfinished_checkpoints_are_no_sign(old_run: RunFolder) -> None:
    for number in range(9):
        (old_run.checkpoints / f".{number}.partial").touch()
        (old_run.checkpoints / f"{number:064}.unfinished").touch()
        (old_run.checkpoints / f".{number}.safetensors").touch()
    assert signs(old_run) is None


@pytest.mark.parametrize("over", [True, False])
def test_a_killed_process_without_a_write_ahead_log_is_a_sign_unless_the_run_was_over(
    tmp_path_factory: pytest.TempPathFactory, old_log: list[Event], over: bool
) -> None:
    assert isinstance(old_log[-1], RunFinished)
    run = write_run(tmp_path_factory.mktemp("runs") / "run", old_log if over else old_log[:-1])
    assert signs(run) is None
    run.lock.write_text("4194305\n")
    assert (signs(run) is None) == over
    with run.held():
        assert signs(run) is None
