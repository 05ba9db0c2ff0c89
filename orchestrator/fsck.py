"""`fsck` and `rebuild`: whether log, tables, edges and checkpoints of a run agree, and its tables made anew from the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import typer

from lineage.errors import StoreDamaged, StoreError, StoreFull, StoreIncomplete
from lineage.scratch import scratch_folder
from lineage.snapshot import copy_store
from lineage.store import EventStore
from orchestrator.completeness import missing_events
from orchestrator.errors import RunError
from orchestrator.inspection import print_json
from orchestrator.refetch import is_whole
from orchestrator.run_folder import RunFolder, find_run
from trainers.protocol import SHA256

CHECKPOINTS = """
SELECT DISTINCT checkpoint, candidate_id AS owner FROM measurements WHERE deleted_at IS NULL
UNION ALL SELECT checkpoint, candidate_id FROM candidates WHERE status = 'given' AND checkpoint IS NOT NULL
UNION ALL SELECT checkpoint, reignition_id FROM reignitions WHERE checkpoint IS NOT NULL AND deleted_at IS NULL
ORDER BY owner
"""
MISNAMED = "SELECT seq, kind FROM events WHERE kind <> (payload->>'kind') ORDER BY seq"
RESTORE = "restore it from a copy, or the run trains it again should it need it"
EDGES = """
SELECT child_id, parent_id FROM inheritance
WHERE child_id NOT IN (SELECT candidate_id FROM candidates) OR parent_id NOT IN (SELECT candidate_id FROM candidates)
ORDER BY ALL
"""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was looked at, and what is wrong."""

    events: int
    candidates: int
    checkpoints: int
    faults: list[str]


def fsck(run: str, as_json: bool) -> int:
    """Print what is wrong with a run; 1 where anything is."""
    folder = find_run(run, whole=False)
    found = examine(folder)
    if as_json:
        print_json({"run": folder.name, **{name: getattr(found, name) for name in Findings.__slots__}})
    else:
        for fault in found.faults:
            typer.echo(fault)
        looked = f"{found.events} events, {found.candidates} candidates, {found.checkpoints} checkpoints"
        typer.echo(
            f"{len(found.faults) or 'no'} fault{'s' * (len(found.faults) != 1)} in {looked} of run {folder.name}"
        )
    return 1 if found.faults else 0


def rebuild(run: str) -> None:
    """Make a run's tables anew; it must not be live."""
    folder = find_run(run, whole=False)
    with folder.held(), EventStore.open(folder.database, remake=True) as store:
        ((events,),) = store.query("SELECT count(*) FROM events").rows
    typer.echo(f"the tables of run {folder.name} are made anew from {events} events")


def examine(folder: RunFolder) -> Findings:
    """Look at a copy of the database, which may be live, and at the checkpoints.

    Raises:
        RunError: another version made the database, or it can't be copied.
    """
    with scratch_folder() as place:
        copy = place / folder.database.name
        try:
            copy_store(folder.database, copy)
            with EventStore.open(copy) as store:
                return _examine(folder, store)
        except StoreError as error:
            found = str(error)
            if not isinstance(error, StoreFull):  # it is the copy that has no room
                found = found.replace(str(copy), str(folder.database))
            if isinstance(error, StoreDamaged | StoreIncomplete):
                return Findings(0, 0, 0, [found])
            raise RunError(f"run {folder.name} can't be read: {found}") from error


def _examine(folder: RunFolder, store: EventStore) -> Findings:
    faults = [f"the edge of {child} from {parent} has no such end" for child, parent in store.query(EDGES).rows]
    events = sum(1 for _ in store.read())
    checkpoints = store.query(CHECKPOINTS).rows
    ((candidates,),) = store.query("SELECT count(*) FROM candidates").rows
    faults += [f"event {seq} is called {kind}, and is none" for seq, kind in store.query(MISNAMED).rows]
    faults += _tables(store)
    ((simulated,),) = store.query("SELECT any_value(simulated) FROM run").rows  # as the log says, by now
    if not simulated:
        faults += _checkpoints(folder, checkpoints)
    if missing := missing_events(folder, store):
        faults.append(missing)
    return Findings(events, candidates, len(checkpoints), faults)


def _tables(store: EventStore) -> Iterator[str]:
    """Names of the tables that are not what the log says; the copy's are made anew for that."""
    before = _content(store)
    store.rebuild()
    for name, content in _content(store).items():
        if before.get(name) != content:
            yield f"{name} is not what the log says; make it anew: spnas-orch rebuild RUN"


def _content(store: EventStore) -> dict[str, list[str]]:
    """Rows of every table, and the views there are."""
    tables = [name for (name,) in store.query("SELECT table_name FROM duckdb_tables() ORDER BY ALL").rows]
    views = store.query("SELECT view_name FROM duckdb_views() WHERE NOT internal ORDER BY ALL").rows
    found = {f"table {name}": sorted(map(repr, store.query(f'FROM "{name}"').rows)) for name in tables}
    return found | {f"view {name}": [] for (name,) in views}


def _checkpoints(folder: RunFolder, checkpoints: list[tuple[str, str]]) -> Iterator[str]:
    for sha256, owner in checkpoints:
        if not re.fullmatch(SHA256, sha256):  # it may lead anywhere
            yield f"the checkpoint of {owner} is called {sha256[:80]!r}, expected its sha256; restore a copy of the log"
            continue
        file = folder.checkpoints / f"{sha256}.safetensors"
        if not is_whole(file, sha256):
            yield f"the checkpoint of {owner} is {'damaged' if file.is_file() else 'missing'}: {file}; {RESTORE}"
