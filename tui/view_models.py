"""What the screens show, as a value: `SearchView` is a pure fold of the recorded events.

The view holds what is in flight and the leaders (`lineage.story`), every candidate (`tui.candidates`), sums, and the last
lines (`tui.lines`), so it grows with the candidates alone, and folding an event costs microseconds. Stale reports of a job
(another attempt took over) change nothing. This module must not know Textual, nor any clock: every time comes from an
event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

from immutables import Map

from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    CandidateRuledOut,
    Event,
    JobFailed,
    JobFinished,
    PhaseFinished,
    PhaseStarted,
    Recorded,
    ReignitionAbandoned,
    ReignitionProposed,
    RunContinued,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    StopRequested,
    WorkerBlocked,
    WorkerLost,
    WorkerStarted,
    WorkerUnblocked,
)
from lineage.story import Job, Leader, Story, advance
from tui.candidates import Candidates
from tui.candidates import Draft as CandidatesDraft
from tui.lines import Lines, tell
from tui.phases import PhaseView, ReignitionView, planned

Status = Literal["waiting", "running", "paused", "stopping", "lost", "interrupted", "finished", "failed"]
LIVE: tuple[Status, ...] = ("waiting", "running", "paused", "stopping")


class SearchView(NamedTuple):
    """The state of a run; `workers` are the names of the devices with a live worker, `blocked` what they wait for.

    `busy_s` and `epochs` are sums over all trainings that ended well.
    """

    story: Story = Story()
    candidates: Candidates = Candidates()
    status: Status = "waiting"
    reason: str = ""
    slots: int = 1
    config: Mapping[str, Any] = Map()
    phases: tuple[PhaseView, ...] = ()
    workers: Mapping[str, str] = Map()
    blocked: Mapping[str, str] = Map()
    reignitions: tuple[ReignitionView, ...] = ()
    lines: Lines = Lines()
    proposed: int = 0
    trained: int = 0
    abandoned: int = 0
    ruled_out: int = 0
    failed_attempts: int = 0
    busy_s: float = 0.0
    epochs: float = 0.0
    last_seq: int = 0
    started: datetime | None = None
    last_ts: datetime | None = None

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def leaders(self) -> tuple[Leader, ...]:
        """The best results, ranked."""
        return self.story.leaders

    @property
    def devices(self) -> tuple[tuple[str, Job | None], ...]:
        """Every device with a worker or a job, in order, and its job in flight."""
        jobs = {job.device: job for job in self.story.jobs.values()}
        return tuple((device, jobs.get(device)) for device in sorted({*self.workers, *jobs}, key=_device_order))


def fold(view: SearchView, *events: Recorded) -> SearchView:
    """The view after more events; one that is in the view already changes nothing."""
    draft = _Draft(view)
    for recorded in events:
        if recorded.seq > draft.last_seq:
            draft.take(recorded)
    return draft.view()


class _Draft(SimpleNamespace):
    """The fields of a view, while events change them one by one: a new view for each would take most of the time."""

    story: Story
    candidates: CandidatesDraft
    status: Status
    workers: Mapping[str, str]
    blocked: Mapping[str, str]
    reignitions: tuple[ReignitionView, ...]
    lines: Lines
    started: datetime | None

    def __init__(self, view: SearchView) -> None:
        super().__init__()
        self.begin(view)

    def begin(self, view: SearchView) -> None:
        vars(self).update(view._asdict())
        self.candidates = CandidatesDraft(view.candidates)
        self.steps = {phase.step: phase for phase in view.phases}
        self.counts: Counter[tuple[str, str]] = Counter()

    def view(self) -> SearchView:
        for (step, name), more in self.counts.items():
            self.change_phase(step, **{name: getattr(self.step(step), name) + more})
        fields = {**vars(self), "phases": tuple(self.steps.values()), "candidates": self.candidates.candidates()}
        del fields["steps"], fields["counts"]
        return SearchView(**fields)

    def take(self, recorded: Recorded) -> None:
        event = recorded.event
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event, recorded)
        before = self.story
        self.started = self.started or recorded.ts
        self.candidates.take(before, event)
        self.lines = tell(self.lines, before, recorded, self.started)
        self.story = advance(before, recorded)
        self.last_seq, self.last_ts = recorded.seq, recorded.ts

    def change_phase(self, step: str, **changes: Any) -> None:
        self.steps[step] = self.step(step)._replace(**changes)

    def step(self, name: str) -> PhaseView:
        return self.steps.get(name) or PhaseView(name)

    def count(self, proposal: CandidateProposed, what: Literal["proposed", "trained", "abandoned"]) -> None:
        """One more in a candidate's step."""
        name: str = what
        if self.story.is_control(proposal):
            if what != "trained":
                return
            name = "controls"
        self.counts[proposal.step, name] += 1

    def change_reignition(self, reignition_id: str, **changes: Any) -> None:
        self.reignitions = tuple(
            one._replace(**changes) if one.reignition_id == reignition_id else one for one in self.reignitions
        )

    def unblock(self, device: str) -> None:
        if device in self.blocked:
            self.blocked = {name: why for name, why in self.blocked.items() if name != device}


def _run_started(draft: _Draft, event: RunStarted, recorded: Recorded) -> None:
    draft.begin(SearchView(status="running", phases=planned(event.config), config=event.config, slots=event.slots))


def _run_ended(draft: _Draft, event: RunStopped | RunFinished, recorded: Recorded) -> None:
    draft.status = "interrupted"
    if isinstance(event, RunFinished):
        draft.status = "finished" if event.outcome == "completed" else "failed"
    draft.reason, draft.workers, draft.blocked = event.reason, Map(), Map()


def _run_goes_on(draft: _Draft, event: RunResumed | RunContinued, recorded: Recorded) -> None:
    draft.status, draft.reason = "running", ""
    if isinstance(event, RunResumed):
        draft.workers, draft.blocked = Map(), Map()


def _run_held(draft: _Draft, event: RunPaused | StopRequested, recorded: Recorded) -> None:
    draft.status = "paused" if isinstance(event, RunPaused) else "stopping"
    draft.reason = f"by {event.by}"


def _phase(draft: _Draft, event: PhaseStarted | PhaseFinished, recorded: Recorded) -> None:
    if isinstance(event, PhaseStarted):
        draft.change_phase(event.step, phase=event.phase, state="running")
    else:
        draft.change_phase(event.step, phase=event.phase, state="done", reason=event.reason)


def _worker(draft: _Draft, event: WorkerStarted | WorkerLost, recorded: Recorded) -> None:
    others = {name: of for name, of in draft.workers.items() if name != event.device}
    draft.workers = {**others, event.device: event.name} if isinstance(event, WorkerStarted) else others
    draft.unblock(event.device)


def _blocked(draft: _Draft, event: WorkerBlocked, recorded: Recorded) -> None:
    draft.blocked = {**draft.blocked, event.device: event.reason}


def _unblocked(draft: _Draft, event: WorkerUnblocked, recorded: Recorded) -> None:
    draft.unblock(event.device)


def _proposed(draft: _Draft, event: CandidateProposed, recorded: Recorded) -> None:
    draft.proposed += 1
    draft.count(event, "proposed")
    if event.reignition_id is not None:
        draft.change_reignition(event.reignition_id, successor_id=event.candidate_id)


def _finished(draft: _Draft, event: JobFinished, recorded: Recorded) -> None:
    story = draft.story
    job = story.live_job(event)
    if job is None:
        return
    if job.kind == "reignite":
        draft.change_reignition(job.subject_id, state="done", accuracy=event.accuracy)
        return
    proposal = story.candidates.get(job.subject_id)
    if proposal is None:
        return
    draft.busy_s += (recorded.ts - job.started).total_seconds()
    draft.epochs += draft.step(proposal.step).epochs / proposal.seeds
    if story.aps_with(job, event) is not None:
        draft.trained += 1
        draft.count(proposal, "trained")


def _failed(draft: _Draft, event: JobFailed, recorded: Recorded) -> None:
    if draft.story.live_job(event):
        draft.failed_attempts += 1


def _abandoned(draft: _Draft, event: CandidateAbandoned, recorded: Recorded) -> None:
    draft.abandoned += 1
    proposal = draft.story.candidates.get(event.candidate_id)
    if proposal is not None:
        draft.count(proposal, "abandoned")


def _ruled_out(draft: _Draft, event: CandidateRuledOut, recorded: Recorded) -> None:
    """One more in the step that runs: no other's candidates are ruled out."""
    draft.ruled_out += 1
    for phase in draft.steps.values():
        if phase.state == "running":
            draft.counts[phase.step, "ruled_out"] += 1


def _reignition(draft: _Draft, event: ReignitionProposed, recorded: Recorded) -> None:
    after = draft.candidates.count_finished
    fresh = ReignitionView(event.reignition_id, event.candidate_id, after, event.trigger)
    draft.reignitions = (*draft.reignitions, fresh)


def _reignition_abandoned(draft: _Draft, event: ReignitionAbandoned, recorded: Recorded) -> None:
    draft.change_reignition(event.reignition_id, state="abandoned")


def _device_order(device: str) -> tuple[str, int]:
    kind, _, number = device.partition(":")
    return kind, int(number) if number.isdecimal() else 0


_HANDLERS: dict[type[Event], Callable[[_Draft, Any, Recorded], None]] = {
    RunStarted: _run_started,
    RunResumed: _run_goes_on,
    RunContinued: _run_goes_on,
    RunPaused: _run_held,
    StopRequested: _run_held,
    RunStopped: _run_ended,
    RunFinished: _run_ended,
    PhaseStarted: _phase,
    PhaseFinished: _phase,
    WorkerStarted: _worker,
    WorkerLost: _worker,
    WorkerBlocked: _blocked,
    WorkerUnblocked: _unblocked,
    CandidateProposed: _proposed,
    CandidateRuledOut: _ruled_out,
    CandidateAbandoned: _abandoned,
    ReignitionProposed: _reignition,
    ReignitionAbandoned: _reignition_abandoned,
    JobFailed: _failed,
    JobFinished: _finished,
}
