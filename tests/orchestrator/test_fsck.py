"""What is wrong with a run is found and said, and tables can be made anew."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import duckdb
import pytest
from elsewhere import write_run

from lineage.events import Event, JobFinished
from orchestrator.errors import RunError
from orchestrator.fsck import examine, fsck, rebuild
from orchestrator.run_folder import RunFolder, find_run


@pytest.fixture
def run(tmp_path: Path, old_log: list[Event]) -> RunFolder:
    """A finished run whose checkpoints are what their names say."""
    log = [
        event.model_copy(update={"checkpoint": hashlib.sha256(event.job_id.encode()).hexdigest()})
        if isinstance(event, JobFinished)
        else event
        for event in old_log
    ]
    return write_run(tmp_path / "run", log)


def spoilt(run: RunFolder, statement: str) -> None:
    with duckdb.connect(str(run.database)) as connection:
        connection.execute(statement)


def test_a_run_in_order_has_no_faults(run: RunFolder, old_log: list[Event], capsys: pytest.CaptureFixture[str]):
    found = examine(run)
    assert (found.events, found.faults) == (len(old_log), [])
    assert found.candidates == found.checkpoints == 10
    assert fsck(str(run.path), as_json=False) == 0
    assert capsys.readouterr().out == f"no faults in {len(old_log)} events, 10 candidates, 10 checkpoints of run run\n"


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE candidates SET ap = 0.9 WHERE candidate_id = 's-0002'", "table candidates is not what the log says"),
        ("DELETE FROM inheritance WHERE child_id = 's-0003'", "table inheritance is not what the log says"),
        ("UPDATE inheritance SET parent_id = 's-9' WHERE child_id = 's-0003'", "the edge of s-0003 from s-9 has no"),
        ("DELETE FROM events WHERE seq = 7", "the log has event 8 where event 7 belongs"),
    ],
)
def test_tables_edges_and_log_are_compared(run: RunFolder, statement: str, fault: str):
    spoilt(run, statement)
    assert any(fault in found for found in examine(run).faults)


def test_tables_made_anew_are_in_order(run: RunFolder, capsys: pytest.CaptureFixture[str]):
    spoilt(run, "UPDATE candidates SET ap = 0.9")
    assert fsck(str(run.path), as_json=True) == 1
    assert len(json.loads(capsys.readouterr().out)["faults"]) == 1
    rebuild(str(run.path))
    assert examine(run).faults == []


def test_checkpoints_are_read(run: RunFolder):
    first, second, *_ = sorted(run.checkpoints.iterdir())
    first.write_text("something else")
    second.unlink()
    damaged, gone = sorted(examine(run).faults, key=lambda fault: "damaged" not in fault)
    assert str(first) in damaged
    assert str(second) in gone
    assert "missing" in gone


def test_a_pipe_in_place_of_a_checkpoint_is_not_waited_for(run: RunFolder):
    file, *_ = sorted(run.checkpoints.iterdir())
    file.unlink()
    os.mkfifo(file)
    (fault,) = examine(run).faults
    assert str(file) in fault


@pytest.mark.parametrize("table", ["jobs", "run", "epochs"])
def test_a_table_that_is_gone_is_found_and_made_anew(run: RunFolder, table: str):
    with duckdb.connect(run.database) as connection:
        connection.execute(f"DROP TABLE {table}")
    (fault,) = examine(run).faults
    assert f"has no table {table}" in fault
    with pytest.raises(RunError, match="make them anew: spnas-orch rebuild"):
        find_run(str(run.path))
    rebuild(str(run.path))
    assert examine(run).faults == []
    find_run(str(run.path))


def test_a_run_whose_row_is_gone_is_to_be_rebuilt_before_anything_else(run: RunFolder):
    spoilt(run, "DELETE FROM run")
    with pytest.raises(RunError, match="make them anew: spnas-orch rebuild"):
        find_run(str(run.path))
    rebuild(str(run.path))
    assert find_run(str(run.path)) == run


def test_an_event_under_another_name_is_found(run: RunFolder):
    spoilt(run, "UPDATE events SET kind = 'Foo' WHERE seq = 7")
    assert examine(run).faults == ["event 7 is called Foo, and is none"]


def test_a_view_that_is_gone_is_found_and_made_anew(run: RunFolder):
    with duckdb.connect(run.database) as connection:
        connection.execute("DROP VIEW leaderboard")
    assert any("view leaderboard" in fault for fault in examine(run).faults)
    rebuild(str(run.path))
    assert examine(run).faults == []
