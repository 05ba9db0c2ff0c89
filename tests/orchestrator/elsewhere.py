"""Given: runs elsewhere, and configurations of one step that start from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from given import SPACE, TRAINER, configuration, of, search

from lineage.events import Event, JobFinished, NetworkGiven, PhaseFinished, Recorded
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from orchestrator.config import RunConfig
from orchestrator.config_faults import parse_config
from orchestrator.run_folder import RunFolder
from orchestrator.sources import given_networks


def log_of(config: dict[str, Any] | None = None, real: bool = True, **how: Any) -> list[Event]:
    """The log of a search, as a real run's: its checkpoints are called simulated-s-0001 and so on."""
    log = search(config or configuration(), **how)
    return [log[0].model_copy(update={"simulated": not real}), *log[1:]]


def write_run(path: Path, log: Sequence[Event]) -> RunFolder:
    """A run folder of that log, with a file for every checkpoint."""
    folder = RunFolder(path)
    folder.checkpoints.mkdir(parents=True)
    for event in of(log, JobFinished):
        (folder.checkpoints / f"{event.checkpoint}.safetensors").write_text(event.job_id)
    with EventStore.create(folder.database) as store:
        store.append(log, datetime(2024, 1, 1, tzinfo=UTC))
    return folder


def starting_from(source: str | None, level: str = "serial", space: dict[str, Any] | None = None) -> RunConfig:
    """One search step that starts from a source."""
    algorithm = {"sample_level": level, "last_search_result": source}
    step = {"search_algorithm": algorithm, "search_space": {**SPACE, **(space or {})}, "trainer": TRAINER}
    return parse_config({"pipeline": ["a"], "a": step}, "test")


def given(config: RunConfig, folder: Path, simulate: bool = False) -> list[NetworkGiven]:
    return given_networks(config, folder, folder / "new" / "checkpoints", simulate)


def the_one(config: RunConfig, folder: Path, simulate: bool = False) -> NetworkGiven:
    (network,) = given(config, folder, simulate)
    return network


def best_of(log: Sequence[Event], step: str) -> str:
    """The candidate that a step ended with."""
    (end,) = [event for event in of(log, PhaseFinished) if event.step == step]
    assert end.best_candidate_id is not None
    return end.best_candidate_id


def log_in(folder: RunFolder) -> list[Recorded]:
    with open_snapshot(folder.database) as store:
        return list(store.read())


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
