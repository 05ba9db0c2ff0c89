"""`decide(state) -> events`: what happens next, as intents that are recorded before anything is done about them.

An intent is an event; the runtime derives effects from it: a `JobAssigned` starts a training. The first rule that fires:

0. a checkpoint that is gone or damaged stops the run, for someone to mend it;
1. a subject whose job failed for good is abandoned; the others are tried again;
2. the current step proposes, ends, or waits (`serial`, `parallel`, `fullytrain`);
3. open subjects without a running job go to idle devices, in the order they were decided;
4. without a current step, the next one starts, or the run finishes.

Decisions do not depend on which of two trainings ends first: the n-th item of a step is decided from the outcomes of
items 1 to n - window alone (and of everything up to the last seed or reignition). So a run that was killed and resumed,
on other devices even, goes on exactly as it would have, and equal seeds give equal searches.
"""

from __future__ import annotations

from lineage.events import (
    CandidateAbandoned,
    Event,
    Fault,
    JobAssigned,
    JobKind,
    PhaseStarted,
    ReignitionAbandoned,
    RunFinished,
    RunStopped,
)
from orchestrator.search import fullytrain, parallel, serial
from orchestrator.search.evolve import evolve
from orchestrator.search.state import Job, SearchState

MAX_FAILURES = 3
FINAL_FAULTS: tuple[Fault, ...] = ("data",)
_PROPOSERS = {"serial": serial.propose, "parallel": parallel.propose, "fullytrain": fullytrain.propose}


def plan(state: SearchState) -> list[Event]:
    """All intents that follow from `state` before another report is needed."""
    intents: list[Event] = []
    while events := decide(state):
        intents.extend(events)
        for event in events:
            state = evolve(state, event)
    return intents


def decide(state: SearchState) -> tuple[Event, ...]:
    """The next intents; empty while reports are awaited or the run is over."""
    if state.status != "running":
        return ()
    for job in state.jobs.values():
        if job.status == "failed" and job.fault == "checkpoint":
            return (RunStopped(reason=job.message),)
    if abandoned := _abandon(state):
        return abandoned
    if state.current_step is None:
        return (_next_step(state),)
    if event := _PROPOSERS[state.step.phase](state):
        return (event,)
    return _assign(state)


def job_id_of(subject_id: str) -> str:
    return f"j-{subject_id}"


def _abandon(state: SearchState) -> tuple[Event, ...]:
    for subject_id in state.open_subjects:
        job = state.jobs.get(job_id_of(subject_id))
        if job is not None and job.status == "failed" and _is_final(job):
            assert job.fault is not None
            if subject_id in state.candidates:
                return (CandidateAbandoned(candidate_id=subject_id, fault=job.fault, message=job.message),)
            return (ReignitionAbandoned(reignition_id=subject_id, fault=job.fault, message=job.message),)
    return ()


def _is_final(job: Job) -> bool:
    return job.fault in FINAL_FAULTS or job.failures >= MAX_FAILURES


def _next_step(state: SearchState) -> Event:
    assert state.config is not None
    done = state.finished_steps
    best = done[-1].best_candidate_id if done else None
    if done and best is None:
        reason = f"step {done[-1].step} trained no network: every attempt failed"
        return RunFinished(outcome="failed", reason=reason)
    if len(done) == len(state.config.pipeline):
        return RunFinished(outcome="completed", reason="all steps are done", best_candidate_id=best)
    name = state.config.pipeline[len(done)]
    return PhaseStarted(step=name, phase=state.config.steps[name].phase)


def _assign(state: SearchState) -> tuple[Event, ...]:
    idle = [device for device, job_id in sorted(state.devices.items()) if job_id is None]
    waiting = [
        subject_id
        for subject_id in state.open_subjects
        if (job := state.jobs.get(job_id_of(subject_id))) is None or job.status != "running"
    ]
    return tuple(_assignment(state, subject, device) for subject, device in zip(waiting, idle, strict=False))


def _assignment(state: SearchState, subject_id: str, device: str) -> JobAssigned:
    job = state.jobs.get(job_id_of(subject_id))
    return JobAssigned(
        job_id=job_id_of(subject_id),
        job_kind=_kind(state, subject_id),
        subject_id=subject_id,
        device=device,
        attempt=job.attempt + 1 if job else 1,
    )


def _kind(state: SearchState, subject_id: str) -> JobKind:
    if subject_id in state.reignitions:
        return "reignite"
    return "full_train" if state.candidates[subject_id].phase == "fullytrain" else "fast_train"
