"""Projections: which rows of which tables an event changes. Pure: no database, no clock.

`project` sees the rows as they stand (the search's tables are small enough to be kept whole in memory) and answers with
whole rows, so writing them is one statement a table whatever the events were. An event about something unknown, or a
report of an attempt that is no longer the job's current one or has had its outcome, changes no row: the log keeps it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from lineage import events as ev
from lineage.measurements import combined, finite
from lineage.morphism import preserves_function
from lineage.request_rows import asked
from lineage.rows import Address, Rows, Values, changed, new
from lineage.storage_rows import blocked, deleted, restored


def project(rows: Rows, recorded: ev.Recorded) -> dict[Address, Values]:
    """The rows an event changes, whole, given the rows before it."""
    event, now = recorded.event, recorded.ts.astimezone(UTC).replace(tzinfo=None)
    match event:
        case ev.RunStarted() | ev.RunResumed() | ev.RunStopped() | ev.RunFinished():
            return _run(rows, event, now)
        case ev.RunForked():
            forked: Values = {"forked_from": event.source, "forked_at_seq": event.at_seq}
            return {at: {**values, **forked} for at, values in rows.items() if at[0] == "run"}
        case ev.PhaseStarted() | ev.PhaseFinished():
            return _phase(rows, event, now)
        case ev.NetworkGiven():
            return _given(event, now)
        case ev.CandidateProposed():
            return _candidate_proposed(rows, event, now)
        case ev.CandidateRuledOut():
            broken = f"{event.limit} {event.measured:.10g} > {event.allowed:.10g}"
            return changed(rows, ("candidates", event.candidate_id), ruled_out=broken)
        case ev.CandidateAbandoned():
            return changed(rows, ("candidates", event.candidate_id), **_abandoned(event, now))
        case ev.ReignitionProposed():
            named = event.model_dump(exclude={"kind", "gains"})
            return new("reignitions", **named, gains=list(event.gains), status="proposed", proposed_at=now)
        case ev.ReignitionAbandoned():
            return changed(rows, ("reignitions", event.reignition_id), **_abandoned(event, now))
        case ev.JobAssigned():
            return _job_assigned(rows, event, now)
        case ev.WeightsInherited() | ev.EpochFinished() | ev.JobFinished() | ev.JobFailed():
            return _reported(rows, event, now)
        case ev.JobCancelled():
            return asked(rows, event, recorded.seq, now) | _reported(rows, event.failure, now)
        case ev.SettingChanged():
            return asked(rows, event, recorded.seq, now) | _set(rows, event)
        case ev.StopRequested() | ev.ReignitionRequested() | ev.RunPaused() | ev.RunContinued() | ev.RequestRefused():
            return asked(rows, event, recorded.seq, now)
        case ev.WorkerBlocked() | ev.WorkerUnblocked():
            return blocked(rows, event)
        case ev.CheckpointDeleted():
            return deleted(rows, event, now)
        case ev.WorkerStarted() | ev.WorkerLost() | ev.RecordingDelayed():
            return {}


def _run(
    rows: Rows, event: ev.RunStarted | ev.RunResumed | ev.RunStopped | ev.RunFinished, now: datetime
) -> dict[Address, Values]:
    match event:
        case ev.RunStarted():
            named = event.model_dump(include={"run_id", "seed", "simulated", "slots"})
            return new("run", **named, objectives=_objectives(event.config), status="running", started_at=now)
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
            changes[at] = {**job, "status": "interrupted", "blocked": None, "finished_at": now}
            changes |= _progress(rows, job, running=0)
    return changes


def _set(rows: Rows, event: ev.SettingChanged) -> dict[Address, Values]:
    """Of the settings, only the seed stands in a table; a fork may have another."""
    if event.key != "general.seed":
        return {}
    return {at: {**values, "seed": event.value} for at, values in rows.items() if at[0] == "run"}


def _objectives(config: Mapping[str, Any]) -> list[str]:
    """What the run's configuration weighs AP against; a log of before that was a key weighs FLOPs."""
    general = config.get("general")
    found = general.get("objectives") if isinstance(general, Mapping) else None
    return list(found or ["flops"])


def _phase(rows: Rows, event: ev.PhaseStarted | ev.PhaseFinished, now: datetime) -> dict[Address, Values]:
    if isinstance(event, ev.PhaseStarted):
        return new("phases", step=event.step, phase=event.phase, status="running", started_at=now)
    ended = changed(
        rows,
        ("phases", event.step),
        status="finished",
        reason=event.reason,
        best_candidate_id=event.best_candidate_id,
        finished_at=now,
    )
    return ended and ended | _refused(rows, event)


def _given(event: ev.NetworkGiven, now: datetime) -> dict[Address, Values]:
    named = event.model_dump(exclude={"kind", "code", "block_ids", "morphisms", "seed", "ap"})
    fixed = {"status": "given", "arch": event.code, "ap": finite(event.ap), "seeds": 1, "running": 0, "refused": 0}
    changes = new("candidates", **named, **fixed, proposed_at=now)
    if event.parent_id is not None:
        changes |= _edge(event.candidate_id, event.parent_id, event.morphisms, "detector")
    return changes


def _candidate_proposed(rows: Rows, event: ev.CandidateProposed, now: datetime) -> dict[Address, Values]:
    named = event.model_dump(
        exclude={"kind", "code", "block_ids", "morphisms", "parent_probabilities", "inherit", "refused"}
    )
    inherit = "nothing" if event.parent_id is None else event.inherit
    fixed = {"status": "proposed", "arch": event.code, "inherit": inherit, "running": 0, "proposed_at": now}
    changes = new("candidates", **named, **fixed, refused=sum(event.refused.values())) | _refused(rows, event)
    draws = event.parent_probabilities
    if event.parent_id is not None:
        changes |= _edge(
            event.candidate_id, event.parent_id, event.morphisms, inherit, probability=draws.get(event.parent_id)
        )
    for parent_id, probability in draws.items():
        changes |= new("parent_draws", child_id=event.candidate_id, parent_id=parent_id, probability=probability)
    return changes


def _edge(
    child_id: str, parent_id: str, morphisms: tuple[str, ...], inherit: str, **values: Any
) -> dict[Address, Values]:
    promised = {
        "morphisms": list(morphisms),
        "preserves_function": inherit == "detector" and preserves_function(morphisms),
    }
    return new("inheritance", child_id=child_id, parent_id=parent_id, **promised, inherit=inherit, **values)


def _refused(rows: Rows, event: ev.CandidateProposed | ev.PhaseFinished) -> dict[Address, Values]:
    """The step's counts of draws that were thrown away, with those before this proposal or end."""
    changes: dict[Address, Values] = {}
    for reason, more in event.refused.items():
        at = ("refusals", event.step, reason)
        changes[at] = {"step": event.step, "reason": reason, "count": rows.get(at, {}).get("count", 0) + more}
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
        "repeat": event.repeat,
        "started_at": now,
    }
    before = rows.get(("jobs", event.job_id), job | {"status": "new"})
    return new("jobs", **job) | _progress(rows, job, _others(rows, before) + 1, started_at=now)


def _reported(
    rows: Rows, event: ev.WeightsInherited | ev.EpochFinished | ev.JobFinished | ev.JobFailed, now: datetime
) -> dict[Address, Values]:
    """What a report changes; nothing where it is stale."""
    at = ("jobs", event.job_id)
    job = rows.get(at)
    if job is None or job["attempt"] != event.attempt or job["status"] in ("finished", "failed"):
        return {}
    match event:
        case ev.WeightsInherited():
            found = event.model_dump(exclude={"kind", "job_id", "attempt", "child_id", "parent_id"})
            dead = None if event.dead_tensors is None else list(event.dead_tensors)
            return changed(rows, ("inheritance", event.child_id), **found | {"dead_tensors": dead})
        case ev.EpochFinished():
            return new("epochs", **event.model_dump(exclude={"kind"}), finished_at=now)
        case ev.JobFinished():
            return {at: {**job, "status": "finished", "blocked": None, "finished_at": now}} | _finished(
                rows, job, event, now
            )
        case ev.JobFailed():
            failure = {"fault": event.fault, "message": event.message, "blocked": None}
            return {at: {**job, "status": "failed", "finished_at": now, **failure}} | _progress(
                rows, job, _others(rows, job)
            )


def _finished(rows: Rows, job: Values, event: ev.JobFinished, now: datetime) -> dict[Address, Values]:
    """The outcome of a reignition; one more measurement of a candidate, and its result once that is the last."""
    if job["kind"] == "reignite":
        reignition = rows.get(_subject(job), {})
        outcome: Values = {"checkpoint": event.checkpoint, "deleted_at": None}
        if reignition.get("status") != "finished":
            outcome |= {"status": "finished", "accuracy": event.accuracy, "finished_at": now}
        return changed(rows, _subject(job), **outcome)
    candidate = rows.get(_subject(job))
    if candidate is None:
        return {}
    if candidate["status"] == "trained":
        progress = _progress(rows, job, _others(rows, job))
        return progress | restored({**rows, **progress}, job, event)
    measured = event.model_dump(exclude={"kind", "attempt", "accuracy"})
    exact = {column: finite(measured[column]) for column in ("ap", "ap50", "latency_ms")}
    row = {**measured, **exact, "candidate_id": job["candidate_id"], "repeat": job["repeat"], "finished_at": now}
    changes = new("measurements", **row)
    (own,) = changes
    all_of_them = [row if at == own else rows.get(at) for at in _repeats(candidate)]
    known = [one for one in all_of_them if one is not None]
    if len(known) < len(all_of_them):
        return changes | _progress(rows, job, _others(rows, job))
    started = min(rows.get(("jobs", one["job_id"]), job)["started_at"] for one in known)
    result = combined(known) | {"status": "trained", "started_at": started, "finished_at": now}
    return changes | _progress(rows, job, _others(rows, job), **result)


def _repeats(candidate: Values) -> Iterator[Address]:
    return (("measurements", candidate["candidate_id"], number) for number in range(1, candidate["seeds"] + 1))


def _others(rows: Rows, job: Values) -> int:
    """How many other trainings of what a job is done for run now."""
    running = rows.get(_subject(job), {}).get("running", 0)
    others: int = running - (job["status"] == "running")
    return max(0, others)


def _progress(rows: Rows, job: Values, running: int, **values: Any) -> dict[Address, Values]:
    """What a job is done for, with so many trainings that run now; one that has its outcome keeps it."""
    subject = rows.get(_subject(job), {})
    changes: Values = {} if job["kind"] == "reignite" else {"running": running}
    if subject.get("status") not in ("given", "trained", "finished", "abandoned"):
        changes |= {"status": "running" if running else "proposed", **values}
    return changed(rows, _subject(job), **changes)


def _abandoned(event: ev.CandidateAbandoned | ev.ReignitionAbandoned, now: datetime) -> Values:
    return {"status": "abandoned", "fault": event.fault, "message": event.message, "finished_at": now}


def _subject(job: Values) -> Address:
    """What the job is done for."""
    if job["kind"] == "reignite":
        return "reignitions", job["reignition_id"]
    return "candidates", job["candidate_id"]
