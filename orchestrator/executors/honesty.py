"""What a worker can say and be believed: its own start, and reports of the job it has, with values a training can have.

A worker runs a template's code and what it says is kept for ever, so it is held to more than the form of an event: the
log's events only have types, since those of older versions have to stay readable. Pure.
"""

from __future__ import annotations

import re

from lineage.events import (
    EpochFinished,
    Event,
    JobFailed,
    JobFinished,
    WeightsInherited,
    WorkerBlocked,
    WorkerStarted,
    WorkerUnblocked,
)
from trainers.protocol import SHA256, Job

SHARES = ("ap", "ap50", "accuracy")  # of all there is to find, so from 0 to 1
LARGEST = 2**63  # what the log's integers can hold


def objection(event: Event, device: str, job: Job | None, has_started: bool) -> str | None:
    """Why no worker on `device` that has `job` can mean an event; None: it can."""
    match event:
        case WorkerStarted():
            if event.device != device or has_started:
                return f"the start of a worker on {event.device}{', again' if has_started else ''}"
        case WorkerBlocked() | WorkerUnblocked():
            if event.device != device or job is None:
                return f"{event.kind} of {event.device}, without a job of its own"
        case WeightsInherited() | EpochFinished() | JobFinished() | JobFailed():
            if job is None or (event.job_id, event.attempt) != (job.job_id, job.attempt):
                own = f"{job.job_id}, attempt {job.attempt}" if job else "none"
                return f"{event.kind} of job {event.job_id}, attempt {event.attempt}; its job is {own}"
            if (reason := _not_of(event, job)) is not None:
                return f"{event.kind} {reason}"
        case _:
            return f"{event.kind}, which no worker says"
    return _impossible_value(event)


def _not_of(event: WeightsInherited | EpochFinished | JobFinished | JobFailed, job: Job) -> str | None:
    match event:
        case WeightsInherited():
            parent = job.parent if job.type == "detection" else None
            if parent is None or (event.child_id, event.parent_id) != (job.network.candidate_id, parent.candidate_id):
                return f"by {event.child_id} from {event.parent_id}, which its job does not say"
        case EpochFinished():
            if event.epochs != job.epochs or event.epoch > job.epochs:
                return f"number {event.epoch} of {event.epochs}, and its job has {job.epochs}"
        case JobFinished():
            if not re.fullmatch(SHA256, event.checkpoint):
                return f"with checkpoint {event.checkpoint!r}, expected the sha256 of a file"
        case JobFailed():
            if event.checkpoint is not None and event.checkpoint not in _begins_with(job):
                return f"for checkpoint {event.checkpoint!r}, which its job does not begin with"
    return None


def _begins_with(job: Job) -> set[str | None]:
    if job.type == "classification":
        return {job.network.checkpoint}
    return {job.parent.checkpoint if job.parent else None, job.backbone_checkpoint}


def _impossible_value(event: Event) -> str | None:
    for name, value in event:
        if name in SHARES:
            possible = value is None or 0 <= value <= 1
        elif name == "latency_ms":
            possible = value is None or 0 <= value < float("inf")
        elif name == "residual":
            possible = value is None or not value < 0  # of features that overflow it is no number
        else:
            possible = not isinstance(value, int) or 0 <= value < LARGEST
        if not possible:
            return f"{event.kind} with {name} {value}"
    return None
