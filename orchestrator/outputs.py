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

from lineage import queries
from lineage.store import EventStore, QueryResult
from orchestrator.run_folder import RunFolder
from orchestrator.search.state import SearchState
from orchestrator.sections import PARETO_FRONT


def write_outputs(store: EventStore, folder: RunFolder, state: SearchState) -> None:
    """Write every output that the run has results for."""
    assert state.config is not None
    for name in state.config.pipeline:
        algorithm = state.config.steps[name].search_algorithm
        if algorithm is not None:
            path = folder.path / algorithm.record
            _write_query(store.query(queries.TOTAL_LIST, [name]), path)
    _write_query(store.query(queries.PARETO_FRONT), folder.path / PARETO_FRONT)
    for candidate_id, checkpoint in store.query(queries.FULLY_TRAINED).rows:
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


def _write_query(result: QueryResult, path: Path) -> None:
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
