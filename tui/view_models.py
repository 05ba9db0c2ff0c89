"""What the screens show, as a value: `SearchView` is a pure fold of the recorded events.

The view holds what is in flight and the leaders (`lineage.story`), every candidate (`tui.candidates`), sums, and the last
lines (`tui.lines`), so it grows with the candidates alone, and folding an event costs microseconds. Stale reports of a job
(another attempt took over) change nothing. This module must not know Textual, nor any clock: every time comes from an
event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
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
from tui.candidates import Candidates, follow
from tui.lines import Lines, tell
from tui.phases import PhaseView, planned, with_phase

Status = Literal["waiting", "running", "paused", "stopping", "lost", "interrupted", "finished", "failed"]
LIVE: tuple[Status, ...] = ("waiting", "running", "paused", "stopping")


class ReignitionView(NamedTuple):
    """A reignition of `candidate_id`; `successor_id` is the candidate that growth went on from.

    `after` are the candidates that had an outcome when it was proposed.
    """

    reignition_id: str
    candidate_id: str
    after: int
    trigger: Literal["stall", "start", "request"] = "stall"
    state: Literal["running", "done", "abandoned"] = "running"
    accuracy: float | None = None
    successor_id: str | None = None


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
    epochs: int = 0
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
    event, before = recorded.event, view.story
    handler = _HANDLERS.get(type(event))
    changed = view if handler is None else handler(view, event, recorded)
    started = changed.started or recorded.ts
    return changed._replace(
        story=advance(before, recorded),
        candidates=follow(changed.candidates, before, event),
        lines=tell(changed.lines, before, recorded, started),
        last_seq=recorded.seq,
        started=started,
        last_ts=recorded.ts,
    )


def _run_started(view: SearchView, event: RunStarted, recorded: Recorded) -> SearchView:
    return SearchView(status="running", phases=planned(event.config), config=event.config, slots=event.slots)


def _run_ended(view: SearchView, event: RunStopped | RunFinished, recorded: Recorded) -> SearchView:
    status: Status = "interrupted"
    if isinstance(event, RunFinished):
        status = "finished" if event.outcome == "completed" else "failed"
    return view._replace(status=status, reason=event.reason, workers=Map(), blocked=Map())


def _run_goes_on(view: SearchView, event: RunResumed | RunContinued, recorded: Recorded) -> SearchView:
    changed = view._replace(status="running", reason="")
    return changed._replace(workers=Map(), blocked=Map()) if isinstance(event, RunResumed) else changed


def _run_held(view: SearchView, event: RunPaused | StopRequested, recorded: Recorded) -> SearchView:
    return view._replace(status="paused" if isinstance(event, RunPaused) else "stopping", reason=f"by {event.by}")


def _phase(view: SearchView, event: PhaseStarted | PhaseFinished, recorded: Recorded) -> SearchView:
    if isinstance(event, PhaseStarted):
        return view._replace(phases=with_phase(view.phases, event.step, phase=event.phase, state="running"))
    done = with_phase(view.phases, event.step, phase=event.phase, state="done", reason=event.reason)
    return view._replace(phases=done)


def _worker(view: SearchView, event: WorkerStarted | WorkerLost, recorded: Recorded) -> SearchView:
    others = {name: of for name, of in view.workers.items() if name != event.device}
    workers = {**others, event.device: event.name} if isinstance(event, WorkerStarted) else others
    return _unblocked(view._replace(workers=workers), event.device)


def _blocked(view: SearchView, event: WorkerBlocked | WorkerUnblocked, recorded: Recorded) -> SearchView:
    if isinstance(event, WorkerBlocked):
        return view._replace(blocked={**view.blocked, event.device: event.reason})
    return _unblocked(view, event.device)


def _unblocked(view: SearchView, device: str) -> SearchView:
    if device not in view.blocked:
        return view
    return view._replace(blocked={name: why for name, why in view.blocked.items() if name != device})


def _proposed(view: SearchView, event: CandidateProposed, recorded: Recorded) -> SearchView:
    view = _counted(view._replace(proposed=view.proposed + 1), event, "proposed")
    if event.reignition_id is None:
        return view
    return _with_reignition(view, event.reignition_id, successor_id=event.candidate_id)


def _finished(view: SearchView, event: JobFinished, recorded: Recorded) -> SearchView:
    job = view.story.live_job(event)
    if job is None:
        return view
    if job.kind == "reignite":
        return _with_reignition(view, job.subject_id, state="done", accuracy=event.accuracy)
    proposal = view.story.candidates.get(job.subject_id)
    if proposal is None:
        return view
    busy_s = view.busy_s + (recorded.ts - job.started).total_seconds()
    view = view._replace(busy_s=busy_s, epochs=view.epochs + (job.epochs or 1))
    if view.story.aps_with(job, event) is None:
        return view
    return _counted(view._replace(trained=view.trained + 1), proposal, "trained")


def _failed(view: SearchView, event: JobFailed, recorded: Recorded) -> SearchView:
    return view._replace(failed_attempts=view.failed_attempts + 1) if view.story.live_job(event) else view


def _abandoned(view: SearchView, event: CandidateAbandoned, recorded: Recorded) -> SearchView:
    proposal = view.story.candidates.get(event.candidate_id)
    view = view._replace(abandoned=view.abandoned + 1)
    return view if proposal is None else _counted(view, proposal, "abandoned")


def _ruled_out(view: SearchView, event: CandidateRuledOut, recorded: Recorded) -> SearchView:
    """One more in the step that runs: no other's candidates are ruled out."""
    phases = tuple(
        phase._replace(ruled_out=phase.ruled_out + 1) if phase.state == "running" else phase for phase in view.phases
    )
    return view._replace(ruled_out=view.ruled_out + 1, phases=phases)


def _reignition(view: SearchView, event: ReignitionProposed | ReignitionAbandoned, recorded: Recorded) -> SearchView:
    if isinstance(event, ReignitionAbandoned):
        return _with_reignition(view, event.reignition_id, state="abandoned")
    after = len(view.candidates.finished)
    fresh = ReignitionView(event.reignition_id, event.candidate_id, after, event.trigger)
    return view._replace(reignitions=(*view.reignitions, fresh))


def _counted(
    view: SearchView, proposal: CandidateProposed, what: Literal["proposed", "trained", "abandoned"]
) -> SearchView:
    """One more in a candidate's step."""
    if view.story.is_control(proposal):
        if what != "trained":
            return view
        return _with_one_more(view, proposal.step, "controls")
    return _with_one_more(view, proposal.step, what)


def _with_one_more(view: SearchView, step: str, what: str) -> SearchView:
    known = next((phase for phase in view.phases if phase.step == step), PhaseView(step))
    return view._replace(phases=with_phase(view.phases, step, **{what: getattr(known, what) + 1}))


def _with_reignition(view: SearchView, reignition_id: str, **changes: Any) -> SearchView:
    reignitions = tuple(
        one._replace(**changes) if one.reignition_id == reignition_id else one for one in view.reignitions
    )
    return view._replace(reignitions=reignitions)


def _device_order(device: str) -> tuple[str, int]:
    kind, _, number = device.partition(":")
    return kind, int(number) if number.isdecimal() else 0


_HANDLERS: dict[type[Event], Callable[[SearchView, Any, Recorded], SearchView]] = {
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
    WorkerUnblocked: _blocked,
    CandidateProposed: _proposed,
    CandidateRuledOut: _ruled_out,
    CandidateAbandoned: _abandoned,
    ReignitionProposed: _reignition,
    ReignitionAbandoned: _reignition,
    JobFailed: _failed,
    JobFinished: _finished,
}
