"""What events of the disk and of checkpoints change in the tables: see `lineage.projections`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lineage import events as ev
from lineage.rows import Address, Rows, Values, changed


def blocked(rows: Rows, event: ev.WorkerBlocked | ev.WorkerUnblocked) -> dict[Address, Values]:
    """The job that waits for room on the disk, or waits no more."""
    reason = event.reason if isinstance(event, ev.WorkerBlocked) else None
    return {
        at: {**job, "blocked": reason}
        for at, job in rows.items()
        if at[0] == "jobs" and job["status"] == "running" and job["device"] == event.device
    }


def deleted(rows: Rows, event: ev.CheckpointDeleted, now: datetime) -> dict[Address, Values]:
    """The measurement or reignition whose weights are gone."""
    at = ("reignitions", event.subject_id)
    if rows.get(at, {}).get("checkpoint") == event.checkpoint:
        return changed(rows, at, deleted_at=now)
    return {
        at: {**row, "deleted_at": now}
        for at, row in _measurements(rows, event.subject_id)
        if row["checkpoint"] == event.checkpoint
    }


def restored(rows: Rows, job: Values, event: ev.JobFinished) -> dict[Address, Values]:
    """A candidate that was trained again for its lost weights: they are there, and its results are those it had."""
    at = ("measurements", job["candidate_id"], job["repeat"])
    before = rows.get(at, {}).get("checkpoint")
    size = event.checkpoint_bytes
    changes = changed(rows, at, checkpoint=event.checkpoint, checkpoint_bytes=size, deleted_at=None)
    candidate = ("candidates", job["candidate_id"])
    if before is not None and rows[candidate]["checkpoint"] == before:
        changes |= changed(rows, candidate, checkpoint=event.checkpoint)
    return changes


def _measurements(rows: Rows, candidate_id: str) -> Iterator[tuple[Address, Values]]:
    for number in range(1, rows.get(("candidates", candidate_id), {}).get("seeds", 0) + 1):
        at = ("measurements", candidate_id, number)
        if at in rows:
            yield at, rows[at]
