"""Narration: the events that matter, one readable line each, for the command line and the terminal UI alike.

A line needs a little more than its event: which candidate a job trains, what a child kept of its parent. That context
is `lineage.story`; nobody speaks of an event that is stale there. This module must not know who prints a line, nor any
clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    CandidateRuledOut,
    CheckpointDeleted,
    EpochFinished,
    Event,
    JobAssigned,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobKind,
    NetworkGiven,
    PhaseFinished,
    PhaseStarted,
    Recorded,
    RecordingDelayed,
    ReignitionAbandoned,
    ReignitionProposed,
    ReignitionRequested,
    RequestRefused,
    RunContinued,
    RunFinished,
    RunForked,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SettingChanged,
    StopRequested,
    WeightsInherited,
    WorkerBlocked,
    WorkerLost,
    WorkerStarted,
    WorkerUnblocked,
)
from lineage.measurements import mean
from lineage.story import Job, Story, advance
from lineage.wording import amount, duration, first_line, plural, reasons, some_of

JOB_NAMES: dict[JobKind, str] = {
    "fast_train": "fast training",
    "reignite": "classification training",
    "full_train": "full training",
}


class Narrator:
    """Tells a run line by line: feed it every event in order. `story` is what it knows after the last one."""

    def __init__(self) -> None:
        self.story = Story()

    def line(self, recorded: Recorded) -> str | None:
        """The line of one event; None for events that need no line."""
        line = narrate(self.story, recorded)
        self.story = advance(self.story, recorded)
        return line


def has_line(story: Story, event: Event) -> bool:
    """Whether an event that follows `story` needs a line. Pure."""
    match event:
        case CandidateProposed() | WeightsInherited() | CheckpointDeleted():
            return False
        case JobAssigned():
            return event.job_kind != "fast_train" or event.attempt > 1
        case EpochFinished() | JobFinished() | JobFailed():
            job = story.live_job(event)
            return job is not None and (job.kind != "fast_train" or not isinstance(event, EpochFinished))
    return True


def narrate(story: Story, recorded: Recorded) -> str | None:
    """The line of an event that follows `story`; None for events that need no line. Pure."""
    event: Event = recorded.event
    if not has_line(story, event):
        return None
    match event:
        case RunStarted() | RunResumed() | RunStopped() | RunFinished():
            return _run_line(story, event)
        case RunForked():
            run = _run(story.run_id, story.simulated)
            return f"{run} forked from {event.source} at event {event.at_seq} by {event.by}"
        case PhaseStarted():
            return f"{_phase(event)} started"
        case PhaseFinished():
            best = _best(story, event.best_candidate_id)
            return f"{_phase(event)} finished: {event.reason}{best}{_refused(story, event)}"
        case NetworkGiven():
            known = "" if event.ap is None else f", AP {event.ap:.3f} there"
            weights = "" if event.checkpoint else ", without weights"
            return f"{event.candidate_id} given ({event.source}): {event.code}{known}{weights}"
        case CandidateRuledOut():
            found, allowed = amount(event.limit, event.measured), amount(event.limit, event.allowed)
            told = f"{event.candidate_id} ruled out: {event.limit} {found}, more than {allowed}"
            was_best = story.best is not None and story.best.candidate_id == event.candidate_id
            return told + ("; it is the best no more" if was_best else "")
        case StopRequested() | WorkerBlocked() | WorkerUnblocked() | RecordingDelayed():
            return _upkeep_line(story, event)
        case (
            ReignitionRequested() | RunPaused() | RunContinued() | JobCancelled() | SettingChanged() | RequestRefused()
        ):
            return _request_line(event)
        case ReignitionProposed():
            return _reignition_line(event)
        case CandidateAbandoned():
            return f"{event.candidate_id} abandoned, {_fault(event)}"
        case ReignitionAbandoned():
            return f"{event.reignition_id} abandoned, {_fault(event)}; growth goes on without it"
        case WorkerStarted():
            return f"{event.device} ready: {event.name}"
        case WorkerLost():
            return f"{event.device} lost its worker: {first_line(event.message)}"
        case JobAssigned():
            return _assigned_line(story, event)
        case EpochFinished() | JobFinished() | JobFailed():
            job = story.live_job(event)
            return None if job is None else _job_line(story, job, event, recorded.ts)
    return None


def _run_line(story: Story, event: RunStarted | RunResumed | RunStopped | RunFinished) -> str:
    if isinstance(event, RunStarted):
        steps = event.config.get("pipeline")
        pipeline = f", pipeline {' > '.join(map(str, steps))}" if isinstance(steps, list | tuple) and steps else ""
        slots = plural(event.slots, "device slot")
        return f"{_run(event.run_id, event.simulated)} started: seed {event.seed}, {slots}{pipeline}"
    run = _run(story.run_id, story.simulated)
    if isinstance(event, RunResumed):
        return f"{run} resumed"
    if isinstance(event, RunStopped):
        return f"{run} stopped: {event.reason}"
    outcome = "finished" if event.outcome == "completed" else "failed"
    return f"{run} {outcome}: {event.reason}{_best(story, event.best_candidate_id)}"


def _upkeep_line(story: Story, event: StopRequested | WorkerBlocked | WorkerUnblocked | RecordingDelayed) -> str:
    match event:
        case StopRequested():
            count = len(story.jobs)
            wait = f": {plural(count, 'training')} finish{'es' * (count == 1)} the epoch first" if count else ""
            return f"stop requested by {event.by}{wait}; asked once more, it stops at once"
        case WorkerBlocked():
            return f"{event.device} waits for room on the disk: {first_line(event.reason)}"
        case WorkerUnblocked():
            return f"{event.device} found room on the disk and goes on"
    return f"nothing could be recorded for {duration(event.seconds)}: {first_line(event.reason)}"


def _request_line(
    event: ReignitionRequested | RunPaused | RunContinued | JobCancelled | SettingChanged | RequestRefused,
) -> str:
    match event:
        case ReignitionRequested():
            return f"reignition requested by {event.by}"
        case RunPaused():
            return f"paused by {event.by}: no training begins"
        case RunContinued():
            return f"continued by {event.by}"
        case JobCancelled():
            return f"{event.job_id} cancelled by {event.by}"
        case SettingChanged():
            return f"{event.key} set to {event.value} by {event.by}, before {event.before}"
    return f"{event.request} refused, asked by {event.by}: {first_line(event.reason)}"


def _reignition_line(event: ReignitionProposed) -> str:
    lights = f"{event.reignition_id} reignites {event.candidate_id}"
    match event.trigger:
        case "start":
            return f"{lights} before anything grows from it, as configured"
        case "request":
            return f"{lights}, as requested"
    since = stalled_since(event.candidates_since_best, event.best_ap, event.min_delta, event.gains)
    return f"growth stalled: {since}, n_stuck {event.n_stuck}; {lights}"


def stalled_since(count: int, best_ap: float, min_delta: float, gains: Sequence[float]) -> str:
    """For how long growth has not got better; with `gains` over controls, in a paired search."""
    more = f" by more than {min_delta:g}"
    if gains:
        listed = ", ".join(f"{gain:+.3f}" for gain in gains)
        return f"none of the last {plural(count, 'candidate')} beat its control{more} (gains {listed})"
    return f"{plural(count, 'candidate')} without an AP better{more} (best {best_ap:.3f})"


def _assigned_line(story: Story, event: JobAssigned) -> str:
    candidate, reignition = story.candidates.get(event.subject_id), story.reignitions.get(event.subject_id)
    number = _number(event.repeat, candidate.seeds) if candidate else ""
    line = f"{event.subject_id}{number} {JOB_NAMES[event.job_kind]} on {event.device}"
    if event.attempt > 1:
        line += f", attempt {event.attempt}"
    if reignition is not None:
        return f"{line}: the backbone of {reignition.candidate_id}"
    return f"{line}: its weights are gone" if candidate is None else f"{line}: {_network(story, candidate)}"


def _job_line(story: Story, job: Job, event: EpochFinished | JobFinished | JobFailed, now: datetime) -> str:
    subject = job.subject_id + _number(job.repeat, job.repeats)
    if isinstance(event, JobFailed):
        return f"{subject} attempt {job.attempt} failed on {job.device}, {_fault(event)}"
    if isinstance(event, EpochFinished):
        measure = "accuracy" if job.kind == "reignite" else "AP"
        score = "" if event.ap is None else f", {measure} {event.ap:.3f}"
        return f"{subject} epoch {event.epoch}/{event.epochs}: loss {event.loss:.3f}{score}"
    took = duration((now - job.started).total_seconds())
    if job.is_restoring:
        return f"{subject} has its weights again, {took}"
    if job.kind == "reignite":
        return f"{subject} {_score('accuracy', event.accuracy)}, {took}"
    candidate, score = story.candidates.get(job.subject_id), _score("AP", event.ap)
    if candidate is None:
        return f"{subject} {score}, {took}; nothing waits for it any more"
    if story.aps_with(job, event) is None:
        return f"{subject} {score}, {took}"
    return f"{subject} {score}{_result(story, job, event)}: {_network(story, candidate)}{_kept(job.inherited)}, {took}"


def _result(story: Story, job: Job, event: JobFinished) -> str:
    """What the last training of a candidate makes of it."""
    leader, aps = story.leader(job, event), story.aps_with(job, event)
    means = "" if job.repeats == 1 or aps is None else f"; {_score('mean AP', mean(aps))}"
    is_best = leader is not None and (story.best is None or leader.rank < story.best.rank)
    return f"{means} (best)" if is_best else means


def _kept(inherited: WeightsInherited | None) -> str:
    """How a child was born, and a warning if a part of it can't learn."""
    if inherited is None:
        return ""
    total = inherited.tensors_copied + inherited.tensors_adapted + inherited.tensors_new
    residual = "" if inherited.residual is None else f", residual {inherited.residual:.2g}"
    dead = inherited.dead_tensors
    warning = f", warning: {plural(len(dead), 'new tensor')} can't learn ({some_of(dead)})" if dead else ""
    return f", kept {inherited.tensors_copied} of {total} tensors{residual}{warning}"


def _score(measure: str, value: float | None) -> str:
    return f"{measure} {value:.3f}" if value is not None else "without a result"


def _number(repeat: int, repeats: int) -> str:
    return f" ({repeat} of {repeats})" if repeats > 1 else ""


def _run(run_id: str, simulated: bool) -> str:
    return f"{'simulated ' if simulated else ''}run {run_id}".rstrip()


def _phase(event: PhaseStarted | PhaseFinished) -> str:
    return f"{event.phase} phase" + ("" if event.step == event.phase else f" ({event.step})")


def _best(story: Story, candidate_id: str | None) -> str:
    if candidate_id is None:
        return ""
    known = next((leader for leader in story.leaders if leader.candidate_id == candidate_id), None)
    return f"; best {candidate_id}" + (f" AP {known.ap:.3f}" if known else "")


def _refused(story: Story, event: PhaseFinished) -> str:
    counts = Counter(story.refused.get(event.step, {}))
    counts.update(event.refused)
    return f"; {plural(counts.total(), 'draw')} refused ({reasons(counts)})" if counts else ""


def _network(story: Story, candidate: CandidateProposed) -> str:
    parent = candidate.parent_id
    if story.is_control(candidate):
        return f"{candidate.code}, a control: {parent} trained on"
    start = f"the backbone of {parent}" if candidate.inherit == "backbone" else parent
    origin = f" from {start}" if parent else ""
    changes = f" by {' '.join(candidate.morphisms)}" if candidate.morphisms else ""
    audit = f", audit of {candidate.audited_id}{'' if parent else ' from scratch'}" if candidate.audited_id else ""
    return f"{candidate.code}{origin}{changes}{audit}"


def _fault(event: CandidateAbandoned | ReignitionAbandoned | JobFailed) -> str:
    return f"{event.fault.replace('_', ' ')}: {first_line(event.message)}"
