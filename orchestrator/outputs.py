"""The files a run leaves for people: total_list_*.csv, pareto_front.csv and the fully trained models.

All of them are derived from the store; each is written to a temporary name and renamed, so none is ever half there.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lineage import queries
from lineage.store import EventStore, QueryResult
from orchestrator.errors import InfrastructureError
from orchestrator.refetch import is_whole
from orchestrator.run_folder import RunFolder
from orchestrator.search.state import SearchState
from orchestrator.sections import PARETO_FRONT
from trainers.protocol import SHA256


def write_outputs(store: EventStore, folder: RunFolder, state: SearchState) -> None:
    """Write every output that the run has results for.

    Raises:
        InfrastructureError: a file can't be written, or the weights of a model are not what they were.
    """
    try:
        _write(store, folder, state)
    except OSError as error:
        raise InfrastructureError(
            f"the search is done, but its files can't be written: {error.filename}: {error.strerror}; "
            f"mend that, and resume the run to write them"
        ) from error


def _write(store: EventStore, folder: RunFolder, state: SearchState) -> None:
    assert state.config is not None
    for name in state.config.pipeline:
        algorithm = state.config.steps[name].search_algorithm
        if algorithm is not None:
            path = folder.path / algorithm.record
            _write_query(store.query(queries.TOTAL_LIST, [name]), path)
    _write_query(store.query(queries.PARETO_FRONT), folder.path / PARETO_FRONT)
    models = [
        _hand_out(folder.checkpoints / f"{checkpoint}.safetensors", folder.models / f"{candidate_id}.safetensors")
        for candidate_id, checkpoint in store.query(queries.FULLY_TRAINED).rows
        if re.fullmatch(SHA256, checkpoint)  # a simulated one has no file
    ]
    if missing := [reason for reason in models if reason]:
        raise InfrastructureError(f"the search is done, but not every model can be handed out: {'; '.join(missing)}")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], path: Path) -> None:
    """A CSV file in place of `path`, whole or not at all."""
    with _in_place_of(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _in_place_of(path: Path) -> Iterator[Path]:
    """Where to write what takes the place of `path`; nothing is left of it after an OSError, which names `path`."""
    temporary = path.with_suffix(".tmp")
    try:
        temporary.unlink(missing_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def _write_query(result: QueryResult, path: Path) -> None:
    if result.rows:
        write_csv(result.columns, result.rows, path)


def _hand_out(source: Path, target: Path) -> str | None:
    """Put a model in place, whole or not at all: a hard link where the file system has them. Why it can't be, or None."""
    if is_whole(target, source.stem):
        return None
    if not is_whole(source, source.stem):
        return (
            f"{target.name}: its weights {source} are missing or damaged; restore them from a copy and resume the run"
        )
    target.parent.mkdir(exist_ok=True)
    with _in_place_of(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
    return None
