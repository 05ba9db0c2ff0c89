"""Finished runs to start from, and to fork."""

from __future__ import annotations

from pathlib import Path

import pytest
from elsewhere import log_of, sha256, write_run

from lineage.events import Event, JobFinished
from orchestrator.run_folder import RunFolder


@pytest.fixture(scope="session")
def old_log() -> list[Event]:
    return log_of()


@pytest.fixture
def old_run(tmp_path: Path, old_log: list[Event]) -> RunFolder:
    """A finished run of three steps, with weights."""
    return write_run(tmp_path / "old", old_log)


@pytest.fixture
def trained(tmp_path: Path) -> RunFolder:
    """A run with weights, as of a real one: the content of each checkpoint is the job that made it."""
    log = [
        event.model_copy(update={"checkpoint": sha256(event.job_id)}) if isinstance(event, JobFinished) else event
        for event in log_of()
    ]
    return write_run(tmp_path / "trained", [log[0].model_copy(update={"workdir": str(tmp_path)}), *log[1:]])
