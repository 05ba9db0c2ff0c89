"""Projections: which rows of which tables an event changes. Pure: no database, no clock.

`project` sees the rows as they stand (the search's tables are small enough to be kept whole in memory) and answers with
whole rows, so writing them is one statement a table whatever the events were. An event about something unknown, or a
report of an attempt that is no longer the job's current one or has had its outcome, changes no row: the log keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from lineage import events as ev
from lineage.morphism import preserves_function

KEYS: dict[str, tuple[str, ...]] = {
    "run": ("run_id",),
    "phases": ("step",),
    "candidates": ("candidate_id",),
    "inheritance": ("child_id",),
    "jobs": ("job_id",),
    "reignitions": ("reignition_id",),
    "epochs": ("job_id", "epoch"),
}
"""Tables and their primary keys."""

Address = tuple[Any, ...]  # table, then the values of its primary key
Values = dict[str, Any]  # columns; one that is missing is NULL; times are naive UTC
Rows = Mapping[Address, Values]


def address(table: str, values: Mapping[str, Any]) -> Address:
    """Where a row stands."""
    return (table, *(values[column] for column in KEYS[table]))


def project(rows: Rows, recorded: ev.Recorded) -> dict[Address, Values]:
    """The rows an event changes, whole, given the rows before it."""
    event, now = recorded.event, recorded.ts.astimezone(UTC).replace(tzinfo=None)
    match event:
        case ev.RunStarted() | ev.RunResumed() | ev.RunStopped() | ev.RunFinished():
            return _run(rows, event, now)
        case ev.PhaseStarted() | ev.PhaseFinished():
            return _phase(rows, event, now)
        case ev.CandidateProposed():
            return _candidate_proposed(event, now)
        case ev.CandidateAbandoned():
            return _changed(rows, ("candidates", event.candidate_id), **_abandoned(event, now))
        case ev.ReignitionProposed():
            named = event.model_dump(exclude={"kind"})
            return _new("reignitions", **named, status="proposed", proposed_at=now)
        case ev.ReignitionAbandoned():
            return _changed(rows, ("reignitions", event.reignition_id), **_abandoned(event, now))
        case ev.JobAssigned():
            return _job_assigned(rows, event, now)
        case ev.WeightsInherited() | ev.EpochFinished() | ev.JobFinished() | ev.JobFailed():
            job = rows.get(("jobs", event.job_id))
            if job is None or job["attempt"] != event.attempt or job["status"] in ("finished", "failed"):
                return {}
            return _reported(rows, job, event, now)
        case (
            ev.NetworkGiven() | ev.CandidateRuledOut() | ev.ReignitionRequested() | ev.WorkerStarted() | ev.WorkerLost()
        ):
            return {}


def _run(
    rows: Rows, event: ev.RunStarted | ev.RunResumed | ev.RunStopped | ev.RunFinished, now: datetime
) -> dict[Address, Values]:
    match event:
        case ev.RunStarted():
            named = event.model_dump(include={"run_id", "seed", "simulated", "slots"})
            return _new("run", **named, status="running", started_at=now)
        case ev.RunResumed():
            outcome: Values = {"status": "running", "reason": None, "finished_at": None}
        case ev.RunStopped():
            outcome = {"status": "stopped", "reason": event.reason, "finished_at": now}
        case ev.RunFinished():
            outcome = {
                "status": event.outcome,
                "reason": event.reason,
                "best_candidate_id": event.best_candidate_id,
                "finished_at": now,
            }
    changes = {at: {**values, **outcome} for at, values in rows.items() if at[0] == "run"}
    for at, job in rows.items():
        if at[0] == "jobs" and job["status"] == "running":
            changes[at] = {**job, "status": "interrupted", "finished_at": now}
            changes |= _changed(rows, _subject(job), status="proposed")
    return changes


def _phase(rows: Rows, event: ev.PhaseStarted | ev.PhaseFinished, now: datetime) -> dict[Address, Values]:
    if isinstance(event, ev.PhaseStarted):
        return _new("phases", step=event.step, phase=event.phase, status="running", started_at=now)
    return _changed(
        rows,
        ("phases", event.step),
        status="finished",
        reason=event.reason,
        best_candidate_id=event.best_candidate_id,
        finished_at=now,
    )


def _candidate_proposed(event: ev.CandidateProposed, now: datetime) -> dict[Address, Values]:
    named = event.model_dump(exclude={"kind", "code", "block_ids", "morphisms", "parent_probabilities"})
    changes = _new("candidates", **named, arch=event.code, status="proposed", proposed_at=now)
    if event.parent_id is not None:
        changes |= _new(
            "inheritance",
            child_id=event.candidate_id,
            parent_id=event.parent_id,
            morphisms=event.morphisms,
            preserves_function=preserves_function(event.morphisms),
        )
    return changes


def _job_assigned(rows: Rows, event: ev.JobAssigned, now: datetime) -> dict[Address, Values]:
    if event.job_kind == "reignite":
        reignition = rows.get(("reignitions", event.subject_id), {})
        subject = {"reignition_id": event.subject_id, "candidate_id": reignition.get("candidate_id")}
    else:
        subject = {"reignition_id": None, "candidate_id": event.subject_id}
    job = {
        **subject,
        "job_id": event.job_id,
        "kind": event.job_kind,
        "status": "running",
        "device": event.device,
        "attempt": event.attempt,
        "started_at": now,
    }
    return _new("jobs", **job) | _changed(rows, _subject(job), status="running", started_at=now)


def _reported(
    rows: Rows,
    job: Values,
    event: ev.WeightsInherited | ev.EpochFinished | ev.JobFinished | ev.JobFailed,
    now: datetime,
) -> dict[Address, Values]:
    at = ("jobs", event.job_id)
    match event:
        case ev.WeightsInherited():
            counts = event.model_dump(exclude={"kind", "job_id", "attempt", "child_id", "parent_id"})
            return _changed(rows, ("inheritance", event.child_id), **counts)
        case ev.EpochFinished():
            return _new("epochs", **event.model_dump(exclude={"kind"}), finished_at=now)
        case ev.JobFinished():
            return {at: {**job, "status": "finished", "finished_at": now}} | _changed(
                rows, _subject(job), **_results(job, event), finished_at=now
            )
        case ev.JobFailed():
            failure = {"fault": event.fault, "message": event.message}
            return {at: {**job, "status": "failed", "finished_at": now, **failure}} | _changed(
                rows, _subject(job), status="proposed"
            )


def _results(job: Values, event: ev.JobFinished) -> Values:
    if job["kind"] == "reignite":
        return {"status": "finished", "accuracy": event.accuracy, "checkpoint": event.checkpoint}
    measured = event.model_dump(include={"params", "flops", "peak_memory_bytes", "latency_ms"}, exclude_none=True)
    ranked = {"ap": _finite(event.ap), "ap50": _finite(event.ap50)}
    return {"status": "trained", "checkpoint": event.checkpoint, **ranked, **measured}


def _finite(value: float | None) -> float | None:
    """NULL for NaN, which DuckDB would rank above every number."""
    return value if value is not None and math.isfinite(value) else None


def _abandoned(event: ev.CandidateAbandoned | ev.ReignitionAbandoned, now: datetime) -> Values:
    return {"status": "abandoned", "fault": event.fault, "message": event.message, "finished_at": now}


def _subject(job: Values) -> Address:
    """What the job is done for."""
    if job["kind"] == "reignite":
        return "reignitions", job["reignition_id"]
    return "candidates", job["candidate_id"]


def _new(table: str, **values: Any) -> dict[Address, Values]:
    return {address(table, values): values}


def _changed(rows: Rows, at: Address, **values: Any) -> dict[Address, Values]:
    return {at: {**rows[at], **values}} if at in rows else {}
