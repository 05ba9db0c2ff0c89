"""What the screen shows, as a value: `SearchView` is a pure fold of the recorded events.

The view holds what is in flight (`lineage.narration.Story`), sums, `LEADERS` leaders and `LINES` lines, so its size
does not grow with the run and folding an event costs microseconds. Stale reports of a job (another attempt
took over) change nothing. This module must not know Textual, nor any clock: every time comes from an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    JobFailed,
    JobFinished,
    PhaseFinished,
    PhaseStarted,
    Recorded,
    ReignitionAbandoned,
    ReignitionProposed,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStopped,
    WorkerLost,
    WorkerStarted,
)
from lineage.narration import Job, Story, advance, narrate

LEADERS = 50
LINES = 100

Status = Literal["waiting", "running", "interrupted", "finished", "failed"]
Progress = Literal["waiting", "running", "done"]


@dataclass(frozen=True, slots=True)
class PhaseView:
    """A pipeline step: candidates proposed, trained and abandoned, out of `max_sample` where the step has a limit."""

    step: str
    phase: str | None = None
    state: Progress = "waiting"
    max_sample: int | None = None
    proposed: int = 0
    trained: int = 0
    abandoned: int = 0
    reason: str = ""

    @property
    def total(self) -> int | None:
        """Candidates the step is expected to train; None while nobody can know."""
        return self.max_sample or self.proposed or None


@dataclass(frozen=True, slots=True)
class Leader:
    """A trained candidate as the leaderboard ranks it: by AP, and by FLOPs where APs are equal."""

    candidate_id: str
    code: str
    ap: float
    params: int
    flops: int
    phase: str
    parent_id: str | None
    morphisms: tuple[str, ...]

    @property
    def rank(self) -> tuple[float, int, str]:
        return -self.ap, self.flops, self.candidate_id


@dataclass(frozen=True, slots=True)
class ReignitionView:
    """A reignition of `candidate_id`; `successor_id` is the candidate that growth went on from."""

    reignition_id: str
    candidate_id: str
    state: Literal["running", "done", "abandoned"] = "running"
    accuracy: float | None = None
    successor_id: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """An event as a line; `seconds` since the run began."""

    seq: int
    seconds: float
    text: str


@dataclass(frozen=True)
class SearchView:
    """The state of a run; `workers` are the names of the devices with a live worker."""

    story: Story = field(default_factory=Story)
    status: Status = "waiting"
    reason: str = ""
    phases: tuple[PhaseView, ...] = ()
    workers: Mapping[str, str] = field(default_factory=dict)
    leaders: tuple[Leader, ...] = ()
    reignitions: tuple[ReignitionView, ...] = ()
    lines: tuple[Line, ...] = ()
    proposed: int = 0
    trained: int = 0
    abandoned: int = 0
    failed_attempts: int = 0
    last_seq: int = 0
    started: datetime | None = None
    last_ts: datetime | None = None

    @property
    def devices(self) -> tuple[tuple[str, Job | None], ...]:
        """Every device with a worker or a job, in order, and its job in flight."""
        jobs = {job.device: job for job in self.story.jobs.values()}
        return tuple((device, jobs.get(device)) for device in sorted({*self.workers, *jobs}, key=_device_order))

    def fraction(self, phase: PhaseView) -> float:
        """How much of a phase is done, 0 to 1, counting the finished epochs of its jobs in flight."""
        if phase.state == "done":
            return 1.0
        parts = [
            job.epoch / job.epochs
            for job in self.story.jobs.values()
            if job.epochs and (proposal := self.story.candidates.get(job.subject_id)) and proposal.step == phase.step
        ]
        return min(1.0, (phase.trained + phase.abandoned + sum(parts)) / phase.total) if phase.total else 0.0


def fold(view: SearchView, recorded: Recorded) -> SearchView:
    """The view after one more event; an event that is in the view already changes nothing."""
    if recorded.seq <= view.last_seq:
        return view
    event = recorded.event
    changed = _fold_run(view, event) or _fold_search(view, event) or view
    started = changed.started or recorded.ts
    lines = changed.lines
    if (text := narrate(view.story, recorded)) is not None:
        lines = (*lines[1 - LINES :], Line(recorded.seq, (recorded.ts - started).total_seconds(), text))
    return replace(
        changed,
        story=advance(view.story, recorded),
        lines=lines,
        last_seq=recorded.seq,
        started=started,
        last_ts=recorded.ts,
    )


def interrupted(view: SearchView) -> SearchView:
    """The view of a run whose events came to an end: without a closing event nobody drives it any more."""
    return replace(view, status="interrupted") if view.status in ("waiting", "running") else view


def _fold_run(view: SearchView, event: object) -> SearchView | None:
    match event:
        case RunStarted():
            return replace(SearchView(), status="running", phases=_planned(event.config))
        case RunResumed():
            return replace(view, status="running", reason="", workers={})
        case RunStopped():
            return replace(view, status="interrupted", reason=event.reason, workers={})
        case RunFinished():
            status: Status = "finished" if event.outcome == "completed" else "failed"
            return replace(view, status=status, reason=event.reason, workers={})
        case PhaseStarted():
            return _with_phase(view, event.step, phase=event.phase, state="running")
        case PhaseFinished():
            return _with_phase(view, event.step, phase=event.phase, state="done", reason=event.reason)
        case WorkerStarted():
            return replace(view, workers={**view.workers, event.device: event.name})
        case WorkerLost():
            return replace(view, workers={name: of for name, of in view.workers.items() if name != event.device})
    return None


def _fold_search(view: SearchView, event: object) -> SearchView | None:
    match event:
        case CandidateProposed():
            return _proposed(view, event)
        case CandidateAbandoned():
            proposal = view.story.candidates.get(event.candidate_id)
            view = replace(view, abandoned=view.abandoned + 1)
            return view if proposal is None else _counted(view, proposal.step, abandoned=1)
        case ReignitionProposed():
            fresh = ReignitionView(event.reignition_id, event.candidate_id)
            return replace(view, reignitions=(*view.reignitions, fresh))
        case ReignitionAbandoned():
            return _with_reignition(view, event.reignition_id, state="abandoned")
        case JobFailed() if view.story.live_job(event):
            return replace(view, failed_attempts=view.failed_attempts + 1)
        case JobFinished():
            job = view.story.live_job(event)
            return None if job is None else _finished(view, job, event)
    return None


def _proposed(view: SearchView, event: CandidateProposed) -> SearchView:
    view = _counted(replace(view, proposed=view.proposed + 1), event.step, proposed=1)
    if event.reignition_id is None:
        return view
    return _with_reignition(view, event.reignition_id, successor_id=event.candidate_id)


def _finished(view: SearchView, job: Job, event: JobFinished) -> SearchView:
    if job.kind == "reignite":
        return _with_reignition(view, job.subject_id, state="done", accuracy=event.accuracy)
    view = replace(view, trained=view.trained + 1)
    proposal = view.story.candidates.get(job.subject_id)
    if proposal is None:
        return view
    view = _counted(view, proposal.step, trained=1)
    if event.ap is None:
        return view
    leader = Leader(
        candidate_id=proposal.candidate_id,
        code=proposal.code,
        ap=event.ap,
        params=event.params or proposal.params,
        flops=event.flops or proposal.flops,
        phase=proposal.phase,
        parent_id=proposal.parent_id,
        morphisms=proposal.morphisms,
    )
    return replace(view, leaders=tuple(sorted((*view.leaders, leader), key=lambda one: one.rank)[:LEADERS]))


def _planned(config: Mapping[str, Any]) -> tuple[PhaseView, ...]:
    """The steps of a configuration that may lack anything: a step without a limit has none."""
    pipeline = config.get("pipeline")
    if not isinstance(pipeline, list | tuple):
        return ()
    return tuple(PhaseView(str(step), max_sample=_max_sample(config.get(str(step)))) for step in pipeline)


def _max_sample(section: object) -> int | None:
    algorithm = section.get("search_algorithm") if isinstance(section, Mapping) else None
    limit = algorithm.get("max_sample") if isinstance(algorithm, Mapping) else None
    return limit if isinstance(limit, int) and limit > 0 else None


def _with_phase(view: SearchView, step: str, **changes: Any) -> SearchView:
    known = view.phases if any(phase.step == step for phase in view.phases) else (*view.phases, PhaseView(step))
    return replace(view, phases=tuple(replace(phase, **changes) if phase.step == step else phase for phase in known))


def _counted(view: SearchView, step: str, **more: int) -> SearchView:
    known = next((phase for phase in view.phases if phase.step == step), PhaseView(step))
    return _with_phase(view, step, **{name: getattr(known, name) + count for name, count in more.items()})


def _with_reignition(view: SearchView, reignition_id: str, **changes: Any) -> SearchView:
    return replace(
        view,
        reignitions=tuple(
            replace(one, **changes) if one.reignition_id == reignition_id else one for one in view.reignitions
        ),
    )


def _device_order(device: str) -> tuple[str, int]:
    kind, _, number = device.partition(":")
    return kind, int(number) if number.isdecimal() else 0
