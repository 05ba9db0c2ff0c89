"""`decide(state) -> events`: what happens next, as intents that are recorded before anything is done about them.

An intent is an event; the runtime derives effects from it: a `JobAssigned` starts a training. The first rule that fires:

0. data that are gone or damaged, or given weights, stop the run, for someone to mend them;
1. a subject whose job failed for good (`faults`) is abandoned; the others are tried again;
2. without a current step, the next one starts, or the run finishes;
3. a trained candidate whose measurements break a limit is ruled out;
4. weights that nothing needs go, where the configuration bounds them (`weights`);
5. the current step proposes, ends, or waits (`serial`, `parallel`, `fullytrain`, `audit`);
6. trainings of open subjects that don't run yet go to idle devices, in the order they were decided, after those that make
   weights again which they begin with and which are gone.

Decisions do not depend on which of two trainings ends first: the n-th item of a step is decided from the outcomes of
items 1 to n - window alone, of everything up to the last seed or reignition, and of everything proposed where those say
that growth has stalled or that nothing new is left. So a run that was killed and resumed, on other devices even, goes on
exactly as it would have, and equal seeds give equal searches.
"""

from __future__ import annotations

from lineage.events import (
    CandidateAbandoned,
    Event,
    JobAssigned,
    JobKind,
    PhaseStarted,
    ReignitionAbandoned,
    RunFinished,
    RunStopped,
)
from lineage.wording import first_line
from orchestrator.search import audit, fullytrain, parallel, serial
from orchestrator.search.evolve import evolve
from orchestrator.search.faults import MAX_ABANDONED, batch_parts, devices_for, is_final, pause_s, stops_the_run
from orchestrator.search.limits import ruling_out
from orchestrator.search.state import Job, SearchState, job_id_of
from orchestrator.search.weights import deletions, jobs_of, needs, owner_of, wanted
from orchestrator.sections import Limits

GIVEN = "it was given to this run and can't be made again here: see that its source is there, and resume the run"
REASON_LENGTH = 400

_PROPOSERS = {
    "serial": serial.propose,
    "parallel": parallel.propose,
    "fullytrain": fullytrain.propose,
    "audit": audit.propose,
}


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
    if reason := _why_stop(state):
        return (RunStopped(reason=reason),)
    if abandoned := _abandon(state):
        return abandoned
    if state.current_step is None:
        return (_next_step(state),)
    if ruled_out := _rule_out(state):
        return ruled_out
    if deleted := deletions(state):
        return deleted
    if event := _PROPOSERS[state.step.phase](state):
        return (event,)
    return _assign(state)


def _why_stop(state: SearchState) -> str | None:
    """What somebody has to mend before anything goes on."""
    for job in [one for one in state.jobs.values() if one.status == "failed"]:
        if stops_the_run(job):
            return _told(job)
        if _needs_what_is_lost(state, job) and owner_of(state, job.lost or "") is None:
            return f"{_told(job)}; {GIVEN}"
        if not is_final(job, state.devices):
            continue
        if state.subject(job.subject_id).outcome == "done":
            return f"the weights of {job.subject_id} are gone and can't be made again: {job.fault}: {_told(job)}"
        if job.subject_id == indispensable(state):
            return f"{job.subject_id} could not be trained, and nothing goes on without it: {job.fault}: {_told(job)}"
    if len(abandoned := state.abandoned_in_a_row) < MAX_ABANDONED:
        return None
    messages = (_told(job) for job in state.jobs.values() if job.subject_id == abandoned[-1] and job.message)
    return f"the last {len(abandoned)} candidates could not be trained, at last {abandoned[-1]}: {next(messages, '')}"


def _needs_what_is_lost(state: SearchState, job: Job) -> bool:
    """Weights that came out otherwise when they were made again have taken the place of the lost ones."""
    return job.lost in state.lost and job.lost in needs(state, job.subject_id)


def _told(job: Job) -> str:
    """Why a job failed, in one line, and where the other lines are."""
    line = first_line(job.message, REASON_LENGTH)
    return line if line == job.message.strip() else f"{line} (all of it: logs/{job.job_id}.log)"


def indispensable(state: SearchState) -> str | None:
    """The first network of a step that everything else of the step needs, while it is not trained."""
    first = next((item for item in state.items if item in state.candidates), None)
    if state.current_step is None or first is None or state.step.phase == "audit":
        return None
    start = state.origin
    if state.step.search_algorithm is not None and start is not None and start.outcome == "done":
        return None  # a reignited start may fail: there is the start itself
    return first


def _abandon(state: SearchState) -> tuple[Event, ...]:
    for subject_id in state.open_subjects:
        for _, job in jobs_of(state, subject_id):
            if job is None or not is_final(job, state.devices):
                continue
            assert job.fault is not None
            if subject_id in state.candidates:
                return (CandidateAbandoned(candidate_id=subject_id, fault=job.fault, message=job.message),)
            return (ReignitionAbandoned(reignition_id=subject_id, fault=job.fault, message=job.message),)
    return ()


def _rule_out(state: SearchState) -> tuple[Event, ...]:
    limits = state.step.search_space.limits
    if state.step.search_algorithm is None or limits == Limits():
        return ()
    for item in state.items:
        candidate = state.candidates.get(item)
        if candidate is not None and candidate.is_result and (event := ruling_out(candidate, limits)):
            return (event,)
    return ()


def _next_step(state: SearchState) -> Event:
    assert state.config is not None
    done = state.finished_steps
    best = done[-1].best_candidate_id if done else None
    if done and best is None:
        reason = f"step {done[-1].step} has no network to hand on: none could be trained within the limits"
        return RunFinished(outcome="failed", reason=reason)
    if len(done) == len(state.config.pipeline):
        return RunFinished(outcome="completed", reason="all steps are done", best_candidate_id=best)
    name = state.config.pipeline[len(done)]
    return PhaseStarted(step=name, phase=state.config.steps[name].phase)


def _assign(state: SearchState) -> tuple[Event, ...]:
    if state.paused or state.blocked:  # the disk is full: another training could not keep its weights either
        return ()
    idle = [device for device, job_id in sorted(state.devices.items()) if job_id is None]
    assigned = []
    for subject_id, repeat in wanted(state) if idle else ():
        job = state.jobs.get(job_id_of(subject_id, repeat))
        device = next((one for one in idle if job is None or one in devices_for(job, state.devices)), None)
        if device is None:
            continue
        idle.remove(device)
        assigned.append(
            JobAssigned(
                job_id=job_id_of(subject_id, repeat),
                job_kind=_kind(state, subject_id),
                subject_id=subject_id,
                device=device,
                attempt=job.attempt + 1 if job else 1,
                repeat=repeat,
                batch_parts=batch_parts(job),
                pause_s=pause_s(job),
            )
        )
    return tuple(assigned)


def _kind(state: SearchState, subject_id: str) -> JobKind:
    if subject_id in state.reignitions:
        return "reignite"
    return "full_train" if state.candidates[subject_id].phase == "fullytrain" else "fast_train"
