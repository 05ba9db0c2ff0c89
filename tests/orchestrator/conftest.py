"""A finished run to start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from elsewhere import log_of, write_run

from lineage.events import (
    Event,
)
from orchestrator.run_folder import RunFolder


@pytest.fixture(scope="session")
def old_log() -> list[Event]:
    return log_of()


@pytest.fixture
def old_run(tmp_path: Path, old_log: list[Event]) -> RunFolder:
    """A finished run of three steps, with weights."""
    return write_run(tmp_path / "old", old_log)
