"""What the screen shows, as a value: `SearchView` is a pure fold of the recorded events.

The view holds what is in flight and the leaders (`lineage.story`), sums, and `LINES` lines, so its size does not grow
with the run and folding an event costs microseconds. Stale reports of a job (another attempt took over) change nothing.
This module must not know Textual, nor any clock: every time comes from an event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    CandidateRuledOut,
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
from lineage.narration import narrate
from lineage.story import Job, Leader, Story, advance

LINES = 100

Status = Literal["waiting", "running", "interrupted", "finished", "failed"]
Progress = Literal["waiting", "running", "done"]


@dataclass(frozen=True, slots=True)
class PhaseView:
    """A pipeline step: candidates proposed, trained and abandoned, out of `max_sample` where the step has a limit.

    Controls, which the limit does not count, are counted apart; `ruled_out` are among the trained.
    """

    step: str
    phase: str | None = None
    state: Progress = "waiting"
    max_sample: int | None = None
    proposed: int = 0
    trained: int = 0
    abandoned: int = 0
    ruled_out: int = 0
    controls: int = 0
    reason: str = ""

    @property
    def total(self) -> int | None:
        """Candidates the step is expected to train; None while nobody can know."""
        return self.max_sample or self.proposed or None


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
    reignitions: tuple[ReignitionView, ...] = ()
    lines: tuple[Line, ...] = ()
    proposed: int = 0
    trained: int = 0
    abandoned: int = 0
    ruled_out: int = 0
    failed_attempts: int = 0
    last_seq: int = 0
    started: datetime | None = None
    last_ts: datetime | None = None

    @property
    def leaders(self) -> tuple[Leader, ...]:
        """The best results, ranked."""
        return self.story.leaders

    @property
    def devices(self) -> tuple[tuple[str, Job | None], ...]:
        """Every device with a worker or a job, in order, and its job in flight."""
        jobs = {job.device: job for job in self.story.jobs.values()}
        return tuple((device, jobs.get(device)) for device in sorted({*self.workers, *jobs}, key=_device_order))

    def fraction(self, phase: PhaseView) -> float:
        """How much of a phase is done, 0 to 1, counting the epochs of trainings that its candidates have behind them."""
        if phase.state == "done":
            return 1.0
        ongoing = [
            candidate
            for candidate in self.story.candidates.values()
            if candidate.step == phase.step and not self.story.is_control(candidate)
        ]
        parts = {one.candidate_id: len(self.story.aps.get(one.candidate_id, {})) / one.seeds for one in ongoing}
        for job in self.story.jobs.values():
            if job.epochs and job.subject_id in parts:
                parts[job.subject_id] += job.epoch / job.epochs / job.repeats
        return min(1.0, (phase.trained + phase.abandoned + sum(parts.values())) / phase.total) if phase.total else 0.0


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
        case CandidateRuledOut():
            return _ruled_out(view)
        case CandidateAbandoned():
            proposal = view.story.candidates.get(event.candidate_id)
            view = replace(view, abandoned=view.abandoned + 1)
            return view if proposal is None else _counted(view, proposal, "abandoned")
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
    view = _counted(replace(view, proposed=view.proposed + 1), event, "proposed")
    if event.reignition_id is None:
        return view
    return _with_reignition(view, event.reignition_id, successor_id=event.candidate_id)


def _finished(view: SearchView, job: Job, event: JobFinished) -> SearchView | None:
    if job.kind == "reignite":
        return _with_reignition(view, job.subject_id, state="done", accuracy=event.accuracy)
    proposal = view.story.candidates.get(job.subject_id)
    if proposal is None or view.story.aps_with(job, event) is None:
        return None
    return _counted(replace(view, trained=view.trained + 1), proposal, "trained")


def _ruled_out(view: SearchView) -> SearchView:
    """One more in the step that runs: no other's candidates are ruled out."""
    phases = tuple(
        replace(phase, ruled_out=phase.ruled_out + 1) if phase.state == "running" else phase for phase in view.phases
    )
    return replace(view, ruled_out=view.ruled_out + 1, phases=phases)


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


def _counted(
    view: SearchView, proposal: CandidateProposed, what: Literal["proposed", "trained", "abandoned"]
) -> SearchView:
    """One more in a candidate's step."""
    if view.story.is_control(proposal):
        if what != "trained":
            return view
        what = "controls"
    known = next((phase for phase in view.phases if phase.step == proposal.step), PhaseView(proposal.step))
    return _with_phase(view, proposal.step, **{what: getattr(known, what) + 1})


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
