"""`evolve(state, event) -> state`: the fold. A report that is late, repeated or of an old attempt changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from lineage.architecture import Genotype
from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    CandidateRuledOut,
    CheckpointDeleted,
    Event,
    JobAssigned,
    JobCancelled,
    JobFailed,
    JobFinished,
    NetworkGiven,
    PhaseFinished,
    PhaseStarted,
    ReignitionAbandoned,
    ReignitionProposed,
    ReignitionRequested,
    RunContinued,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
    RunStopped,
    SettingChanged,
    StopRequested,
    WorkerBlocked,
    WorkerLost,
    WorkerStarted,
    WorkerUnblocked,
)
from lineage.morphism import Blueprint
from orchestrator.config import RunConfig
from orchestrator.search.state import Candidate, Failure, FinishedStep, Job, Measurement, Reignition, SearchState

SEED = "general.seed"


def evolve(state: SearchState, event: Event) -> SearchState:
    """State after `event`."""
    match event:
        case RunStarted():
            config = RunConfig.model_validate(event.config)
            return SearchState(event.run_id, config, event.seed, event.window, event.heads, "running")
        case RunResumed():
            return _resumed(state)
        case RunStopped():
            return replace(_resumed(state), status="stopped")
        case RunFinished():
            return replace(state, status=event.outcome)
        case CheckpointDeleted():
            return replace(state, deleted=state.deleted | {event.checkpoint})
        case StopRequested():
            return replace(state, status="stopping") if state.status == "running" else state
        case PhaseStarted():
            return replace(state, current_step=event.step, items=())
        case PhaseFinished():
            finished = (*state.finished_steps, FinishedStep(event.step, event.best_candidate_id))
            return replace(state, current_step=None, finished_steps=finished, reignition_requested=False)
        case NetworkGiven():
            return _given(state, event)
        case CandidateProposed():
            candidate = _proposed(event, state.seed)
            return _opened(
                replace(state, candidates=state.candidates | {event.candidate_id: candidate}), event.candidate_id
            )
        case ReignitionProposed():
            reignition = Reignition(event.reignition_id, event.step, event.candidate_id, event.trigger, state.seed)
            reignitions = state.reignitions | {event.reignition_id: reignition}
            state = replace(state, reignitions=reignitions, reignition_requested=False)
            return _opened(state, event.reignition_id)
        case ReignitionRequested():
            return replace(state, reignition_requested=True)
        case RunPaused() | RunContinued():
            return replace(state, paused=isinstance(event, RunPaused))
        case JobCancelled():
            return _cancelled(state, event)
        case SettingChanged():
            assert state.config is not None
            config = state.config.with_value(event.key, event.value)
            return replace(state, config=config, seed=config.general.seed if event.key == SEED else state.seed)
        case CandidateRuledOut():
            candidate = replace(state.candidates[event.candidate_id], ruled_out=True)
            return replace(state, candidates=state.candidates | {event.candidate_id: candidate})
        case CandidateAbandoned():
            if event.fault != "cancelled":
                state = replace(state, abandoned_in_a_row=(*state.abandoned_in_a_row, event.candidate_id))
            return _closed(state, event.candidate_id, "abandoned")
        case ReignitionAbandoned():
            return _closed(state, event.reignition_id, "abandoned")
        case WorkerStarted():
            return replace(state, devices=state.devices | {event.device: None})
        case WorkerLost():
            return _lost(state, event.device)
        case WorkerBlocked():
            return replace(state, blocked=state.blocked | {event.device})
        case WorkerUnblocked():
            return replace(state, blocked=state.blocked - {event.device})
        case JobAssigned():
            return _assigned(state, event)
        case JobFinished() | JobFailed():
            return _ended(state, event)
    return state


def is_current(state: SearchState, job_id: str, attempt: int) -> bool:
    """Whether a report is of the attempt that runs now."""
    job = state.jobs.get(job_id)
    return job is not None and job.status == "running" and job.attempt == attempt


def _resumed(state: SearchState) -> SearchState:
    """Nothing is running; of a run that was stopped, what made it stop may have been mended since."""
    jobs = dict(state.jobs)
    for job_id, job in state.jobs.items():
        if job.status == "running":
            jobs[job_id] = replace(job, status="interrupted", device=None)
        elif job.status == "failed" and state.status == "stopped" and _may_go_on(state, job):
            jobs[job_id] = replace(job, status="interrupted", failures=())
    return replace(
        state,
        status="running",
        paused=False,
        devices={},
        blocked=frozenset(),
        lost=frozenset(),
        jobs=jobs,
        abandoned_in_a_row=(),
    )


def _may_go_on(state: SearchState, job: Job) -> bool:
    return state.subject(job.subject_id).outcome != "abandoned"


def _lost(state: SearchState, device: str) -> SearchState:
    """Without a device; a job that was sent to it while it died is left to others."""
    jobs = state.jobs
    for job in jobs.values():
        if job.status == "running" and job.device == device:
            jobs = jobs | {job.job_id: replace(job, status="interrupted", device=None)}
    devices = {name: job for name, job in state.devices.items() if name != device}
    return replace(state, jobs=jobs, devices=devices, blocked=state.blocked - {device})


def _candidate(event: CandidateProposed | NetworkGiven, **more: Any) -> Candidate:
    return Candidate(
        candidate_id=event.candidate_id,
        step=event.step,
        phase=event.phase,
        blueprint=Blueprint(Genotype.parse(event.code), event.block_ids),
        base_width=event.base_width,
        ignition=event.ignition,
        parent_id=event.parent_id,
        morphisms=event.morphisms,
        params=event.params,
        flops=event.flops,
        **more,
    )


def _proposed(event: CandidateProposed, run_seed: int) -> Candidate:
    return _candidate(
        event,
        reignition_id=event.reignition_id,
        inherit=event.inherit,
        seeds=event.seeds,
        control_id=event.control_id,
        audited_id=event.audited_id,
        run_seed=run_seed,
    )


def _given(state: SearchState, event: NetworkGiven) -> SearchState:
    candidate = _candidate(
        event, reignition_id=None, seed=event.seed, outcome="given", ap=event.ap or 0.0, checkpoint=event.checkpoint
    )
    candidates = state.candidates | {event.candidate_id: candidate}
    return replace(state, candidates=candidates, given=state.given | {event.step: event.candidate_id})


def _opened(state: SearchState, subject_id: str) -> SearchState:
    return replace(state, items=(*state.items, subject_id), open_subjects=(*state.open_subjects, subject_id))


def _closed(state: SearchState, subject_id: str, outcome: Literal["done", "abandoned"]) -> SearchState:
    open_subjects = tuple(other for other in state.open_subjects if other != subject_id)
    if subject_id in state.candidates:
        candidate = replace(state.candidates[subject_id], outcome=outcome)
        return replace(state, open_subjects=open_subjects, candidates=state.candidates | {subject_id: candidate})
    reignition = replace(state.reignitions[subject_id], outcome=outcome)
    return replace(state, open_subjects=open_subjects, reignitions=state.reignitions | {subject_id: reignition})


def _assigned(state: SearchState, event: JobAssigned) -> SearchState:
    failures = state.jobs[event.job_id].failures if event.job_id in state.jobs else ()
    job = Job(
        event.job_id,
        event.job_kind,
        event.subject_id,
        "running",
        event.attempt,
        event.repeat,
        failures,
        event.device,
    )
    return replace(state, jobs=state.jobs | {event.job_id: job}, devices=state.devices | {event.device: event.job_id})


def _ended(state: SearchState, event: JobFinished | JobFailed) -> SearchState:
    if not is_current(state, event.job_id, event.attempt):
        return state
    job = state.jobs[event.job_id]
    assert job.device is not None
    state = replace(state, devices=state.devices | {job.device: None})
    if isinstance(event, JobFailed):
        failures = (*job.failures, Failure(event.fault, job.device))
        failed = replace(
            job,
            status="failed",
            device=None,
            failures=failures,
            fault=event.fault,
            message=event.message,
            lost=event.checkpoint,
        )
        lost = state.lost | ({event.checkpoint} if event.checkpoint else set())
        return replace(state, lost=lost, jobs=state.jobs | {job.job_id: failed})
    made = {event.checkpoint}
    state = replace(state, deleted=state.deleted - made, lost=state.lost - made)
    state = replace(state, jobs=state.jobs | {job.job_id: replace(job, status="finished", device=None)})
    if job.subject_id in state.reignitions:
        state = _closed(state, job.subject_id, "done")
        reignition = replace(
            state.reignitions[job.subject_id],
            checkpoint=event.checkpoint,
            checkpoint_bytes=event.checkpoint_bytes,
        )
        return replace(state, reignitions=state.reignitions | {job.subject_id: reignition})
    return _measured(state, job, event)


def _cancelled(state: SearchState, event: JobCancelled) -> SearchState:
    """Without the job, and without its device until another worker has started there."""
    if not is_current(state, event.job_id, event.attempt):
        return state
    device = state.jobs[event.job_id].device
    assert device is not None
    return _lost(_ended(state, event.failure), device)


def _measured(state: SearchState, job: Job, event: JobFinished) -> SearchState:
    """With one more training of a candidate; the last one makes it done, unless it was abandoned meanwhile."""
    measurement = Measurement(
        event.ap or 0.0,
        event.checkpoint,
        event.checkpoint_bytes,
        event.params,
        event.flops,
        event.peak_memory_bytes,
        event.latency_ms,
    )
    candidate = state.candidates[job.subject_id]
    if candidate.outcome == "done":
        return _restored(state, candidate, job.repeat, event)
    measurements = candidate.measurements | {job.repeat: measurement}
    candidate = replace(candidate, measurements=measurements)
    complete = candidate.outcome == "pending" and len(measurements) == candidate.seeds
    if complete:
        state = replace(state, abandoned_in_a_row=())
        best = max(sorted(measurements), key=lambda repeat: measurements[repeat].ap)
        ap = round(sum(one.ap for one in measurements.values()) / len(measurements), 6)
        candidate = replace(candidate, ap=ap, checkpoint=measurements[best].checkpoint)
    state = replace(state, candidates=state.candidates | {job.subject_id: candidate})
    return _closed(state, job.subject_id, "done") if complete else state


def _restored(state: SearchState, candidate: Candidate, repeat: int, event: JobFinished) -> SearchState:
    """A candidate that was trained again for its lost weights: its results, which others were decided from, stay."""
    before = candidate.measurements[repeat]
    again = replace(before, checkpoint=event.checkpoint, checkpoint_bytes=event.checkpoint_bytes)
    checkpoint = event.checkpoint if candidate.checkpoint == before.checkpoint else candidate.checkpoint
    candidate = replace(candidate, checkpoint=checkpoint, measurements=candidate.measurements | {repeat: again})
    return replace(state, candidates=state.candidates | {candidate.candidate_id: candidate})
