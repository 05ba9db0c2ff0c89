"""The files a run leaves for people: total_list_*.csv, pareto_front.csv and the fully trained models.

All of them are derived from the store; each is written to a temporary name and renamed, so none is ever half there.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from lineage.store import EventStore
from orchestrator.run_folder import RunFolder
from orchestrator.search.state import SearchState

TOTAL_LIST = """
    SELECT child.arch, child.candidate_id AS worker_id, parent.arch AS pre_arch, child.parent_id AS pre_worker_id,
        child.started_at AS t_start, child.finished_at AS t_end,
        round(epoch(child.finished_at - child.started_at), 3) AS t_eclapsed,
        child.peak_memory_bytes AS memory, round(1000 / child.latency_ms, 2) AS fps, child.ap AS "mAP"
    FROM candidates AS child LEFT JOIN candidates AS parent ON parent.candidate_id = child.parent_id
    WHERE child.status = 'trained' AND child.step = '{step}'
    ORDER BY child.candidate_id
"""
PARETO_FRONT = (
    "SELECT candidate_id, arch, phase, ap, flops, params, peak_memory_bytes, latency_ms, checkpoint FROM pareto_front"
)
MODELS = "SELECT candidate_id, checkpoint FROM candidates WHERE status = 'trained' AND phase = 'fullytrain'"


def write_outputs(store: EventStore, folder: RunFolder, state: SearchState) -> None:
    """Write every output that the run has results for."""
    assert state.config is not None
    for name in state.config.pipeline:
        algorithm = state.config.steps[name].search_algorithm
        if algorithm is not None:
            default = f"total_list_{algorithm.sample_level[0]}.csv"
            _write_query(
                store, TOTAL_LIST.format(step=name.replace("'", "''")), folder.path / (algorithm.total_list or default)
            )
    _write_query(store, PARETO_FRONT, folder.path / "pareto_front.csv")
    for candidate_id, checkpoint in store.query(MODELS).rows:
        _copy_model(folder.checkpoints / f"{checkpoint}.safetensors", folder.models / f"{candidate_id}.safetensors")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], path: Path) -> None:
    """A CSV file in place of `path`, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _write_query(store: EventStore, query: str, path: Path) -> None:
    result = store.query(query)
    if result.rows:
        write_csv(result.columns, result.rows, path)


def _copy_model(source: Path, target: Path) -> None:
    """A hard link where the file system has them; a simulated run has no file to copy."""
    if target.exists() or not source.exists():
        return
    target.parent.mkdir(exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
