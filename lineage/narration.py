"""Narration: the events that matter, one readable line each, for the command line and the terminal UI alike.

A line needs a little more than its event: which candidate a job trains, what a child kept of its parent. `Story` is
that context, a pure fold of the events which holds only what has no outcome yet, so it stays small in a long run.
An event of a job that is not in flight, or of another attempt than the one assigned last, is stale: `Story.live_job`
knows no job for it, and nobody speaks of it. This module must not know who prints a line, nor any clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    EpochFinished,
    Event,
    JobAssigned,
    JobFailed,
    JobFinished,
    JobKind,
    PhaseFinished,
    PhaseStarted,
    Recorded,
    ReignitionAbandoned,
    ReignitionProposed,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStopped,
    WeightsInherited,
    WorkerLost,
    WorkerStarted,
)

MESSAGE_LENGTH = 160
JOB_NAMES: dict[JobKind, str] = {
    "fast_train": "fast training",
    "reignite": "classification training",
    "full_train": "full training",
}

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Job:
    """A job in flight and its last report. `ap` is the accuracy for kind reignite."""

    job_id: str
    kind: JobKind
    subject_id: str
    device: str
    attempt: int
    started: datetime
    epoch: int = 0
    epochs: int | None = None
    loss: float | None = None
    ap: float | None = None
    inherited: WeightsInherited | None = None


@dataclass(frozen=True, slots=True)
class Story:
    """What has begun and has no outcome yet, by id, and the best candidate so far."""

    run_id: str = ""
    simulated: bool = False
    candidates: Mapping[str, CandidateProposed] = field(default_factory=dict)
    reignitions: Mapping[str, ReignitionProposed] = field(default_factory=dict)
    jobs: Mapping[str, Job] = field(default_factory=dict)
    best_id: str | None = None
    best_ap: float | None = None

    def live_job(self, event: WeightsInherited | EpochFinished | JobFinished | JobFailed) -> Job | None:
        """The job an event speaks of; None when the event is stale."""
        job = self.jobs.get(event.job_id)
        return job if job is not None and job.attempt == event.attempt else None

    def improves(self, ap: float) -> bool:
        """Whether `ap` is better than every candidate's so far."""
        return self.best_ap is None or ap > self.best_ap


class Narrator:
    """Tells a run line by line: feed it every event in order."""

    def __init__(self) -> None:
        self._story = Story()

    def line(self, recorded: Recorded) -> str | None:
        """The line of one event; None for events that need no line."""
        line = narrate(self._story, recorded)
        self._story = advance(self._story, recorded)
        return line


def advance(story: Story, recorded: Recorded) -> Story:
    """The story after one more event. Pure; unknown jobs and stale attempts change nothing."""
    match recorded.event:
        case RunStarted() as event:
            return replace(Story(), run_id=event.run_id, simulated=event.simulated)
        case RunResumed() | RunStopped() | RunFinished():
            return replace(story, jobs={})
        case CandidateProposed() as event:
            return replace(story, candidates={**story.candidates, event.candidate_id: event})
        case CandidateAbandoned() as event:
            return replace(story, candidates=_without(story.candidates, event.candidate_id))
        case ReignitionProposed() as event:
            return replace(story, reignitions={**story.reignitions, event.reignition_id: event})
        case ReignitionAbandoned() as event:
            return replace(story, reignitions=_without(story.reignitions, event.reignition_id))
        case JobAssigned() as event:
            job = Job(event.job_id, event.job_kind, event.subject_id, event.device, event.attempt, recorded.ts)
            return _with_job(story, job)
        case WeightsInherited() | EpochFinished() | JobFailed() | JobFinished() as event:
            reporting = story.live_job(event)
            return story if reporting is None else _reported(story, reporting, event)
    return story


def narrate(story: Story, recorded: Recorded) -> str | None:
    """The line of an event that follows `story`; None for events that need no line. Pure."""
    event: Event = recorded.event
    match event:
        case RunStarted() | RunResumed() | RunStopped() | RunFinished():
            return _run_line(story, event)
        case PhaseStarted():
            return f"{_phase(event)} started"
        case PhaseFinished():
            return f"{_phase(event)} finished: {event.reason}{_best(story, event.best_candidate_id)}"
        case ReignitionProposed():
            return (
                f"growth stalled: {event.candidates_since_best} candidates since the best AP {event.best_ap:.3f} "
                f"(n_stuck {event.n_stuck}); {event.reignition_id} reignites {event.candidate_id}"
            )
        case CandidateAbandoned():
            return f"{event.candidate_id} abandoned, {_fault(event)}"
        case ReignitionAbandoned():
            return f"{event.reignition_id} abandoned, {_fault(event)}; growth goes on without it"
        case WorkerStarted():
            return f"{event.device} ready: {event.name}"
        case WorkerLost():
            return f"{event.device} lost its worker: {_first_line(event.message)}"
        case JobAssigned():
            return _assigned_line(story, event)
        case EpochFinished() | JobFinished() | JobFailed():
            job = story.live_job(event)
            return None if job is None else _job_line(story, job, event, recorded.ts)
    return None


def quantity(value: float) -> str:
    """A count in three digits and a suffix: 713204 -> ``713k``, 2.35e10 -> ``23.5G``."""
    scaled = float(value)
    for suffix in ("", "k", "M", "G"):
        if abs(scaled) < 999.5:
            return f"{scaled:.3g}{suffix}"
        scaled /= 1000
    return f"{scaled:.3g}T"


def duration(seconds: float) -> str:
    """A length of time as ``42s``, ``3m07s`` or ``2h05m``; negative ones, from clocks that disagree, are ``0s``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def _reported(story: Story, job: Job, event: WeightsInherited | EpochFinished | JobFinished | JobFailed) -> Story:
    if isinstance(event, WeightsInherited):
        return _with_job(story, replace(job, inherited=event))
    if isinstance(event, EpochFinished):
        ap = job.ap if event.ap is None else event.ap
        return _with_job(story, replace(job, epoch=event.epoch, epochs=event.epochs, loss=event.loss, ap=ap))
    story = replace(story, jobs=_without(story.jobs, job.job_id))
    if isinstance(event, JobFailed):
        return story
    if job.kind == "reignite":
        return replace(story, reignitions=_without(story.reignitions, job.subject_id))
    story = replace(story, candidates=_without(story.candidates, job.subject_id))
    if event.ap is not None and story.improves(event.ap):
        return replace(story, best_id=job.subject_id, best_ap=event.ap)
    return story


def _run_line(story: Story, event: RunStarted | RunResumed | RunStopped | RunFinished) -> str:
    if isinstance(event, RunStarted):
        steps = event.config.get("pipeline")
        pipeline = f", pipeline {' > '.join(map(str, steps))}" if isinstance(steps, list | tuple) and steps else ""
        slots = f"{event.slots} device slot{'s' if event.slots > 1 else ''}"
        return f"{_run(event.run_id, event.simulated)} started: seed {event.seed}, {slots}{pipeline}"
    run = _run(story.run_id, story.simulated)
    if isinstance(event, RunResumed):
        return f"{run} resumed"
    if isinstance(event, RunStopped):
        return f"{run} stopped: {event.reason}"
    outcome = "finished" if event.outcome == "completed" else "failed"
    return f"{run} {outcome}: {event.reason}{_best(story, event.best_candidate_id)}"


def _assigned_line(story: Story, event: JobAssigned) -> str | None:
    if event.job_kind == "fast_train" and event.attempt == 1:
        return None
    line = f"{event.subject_id} {JOB_NAMES[event.job_kind]} on {event.device}"
    if event.attempt > 1:
        line += f", attempt {event.attempt}"
    if reignition := story.reignitions.get(event.subject_id):
        return f"{line}: the backbone of {reignition.candidate_id}"
    candidate = story.candidates.get(event.subject_id)
    return line if candidate is None else f"{line}: {_network(candidate)}"


def _job_line(story: Story, job: Job, event: EpochFinished | JobFinished | JobFailed, now: datetime) -> str | None:
    if isinstance(event, JobFailed):
        return f"{job.subject_id} attempt {job.attempt} failed on {job.device}, {_fault(event)}"
    measure = "accuracy" if job.kind == "reignite" else "AP"
    if isinstance(event, EpochFinished):
        if job.kind == "fast_train":
            return None
        score = "" if event.ap is None else f", {measure} {event.ap:.3f}"
        return f"{job.subject_id} epoch {event.epoch}/{event.epochs}: loss {event.loss:.3f}{score}"
    score_value = event.accuracy if job.kind == "reignite" else event.ap
    score = "without a result" if score_value is None else f"{measure} {score_value:.3f}"
    best = " (best)" if job.kind != "reignite" and event.ap is not None and story.improves(event.ap) else ""
    parts = [f"{job.subject_id} {score}{best}"]
    if candidate := story.candidates.get(job.subject_id):
        parts.append(f": {_network(candidate)}")
    if kept := job.inherited:
        total = kept.tensors_copied + kept.tensors_adapted + kept.tensors_new
        residual = "" if kept.residual is None else f", residual {kept.residual:.2g}"
        parts.append(f", kept {kept.tensors_copied} of {total} tensors{residual}")
    parts.append(f", {duration((now - job.started).total_seconds())}")
    return "".join(parts)


def _run(run_id: str, simulated: bool) -> str:
    return f"{'simulated ' if simulated else ''}run {run_id}".rstrip()


def _phase(event: PhaseStarted | PhaseFinished) -> str:
    return f"{event.phase} phase" + ("" if event.step == event.phase else f" ({event.step})")


def _best(story: Story, candidate_id: str | None) -> str:
    if candidate_id is None:
        return ""
    return f"; best {candidate_id}" + (f" AP {story.best_ap:.3f}" if candidate_id == story.best_id else "")


def _network(candidate: CandidateProposed) -> str:
    origin = f" from {candidate.parent_id}" if candidate.parent_id else ""
    changes = f" by {' '.join(candidate.morphisms)}" if candidate.morphisms else ""
    return f"{candidate.code}{origin}{changes}"


def _fault(event: CandidateAbandoned | ReignitionAbandoned | JobFailed) -> str:
    return f"{event.fault.replace('_', ' ')}: {_first_line(event.message)}"


def _first_line(message: str) -> str:
    line = next(iter(message.strip().splitlines()), "no message")
    return line if len(line) <= MESSAGE_LENGTH else f"{line[: MESSAGE_LENGTH - 1]}…"


def _with_job(story: Story, job: Job) -> Story:
    return replace(story, jobs={**story.jobs, job.job_id: job})


def _without(values: Mapping[str, _Value], key: str) -> dict[str, _Value]:
    return {name: value for name, value in values.items() if name != key}
