"""Jobs: what a worker is sent for an assignment, from the state alone."""

from __future__ import annotations

import zlib
from pathlib import Path

from lineage.events import JobAssigned
from lineage.morphism import preserves_function
from orchestrator.search.proposal import is_control
from orchestrator.search.state import Candidate, SearchState
from trainers.protocol import ClassificationJob, DetectionJob, Job, NetworkRef


def job_of(state: SearchState, assigned: JobAssigned, workdir: Path) -> Job:
    """The message for an assignment; relative data paths are read from `workdir`, the configuration's folder."""
    assert state.config is not None
    reignition = state.reignitions.get(assigned.subject_id)
    if reignition is not None:
        settings = state.config.reignite_of(reignition.step)
        assert settings is not None
        return ClassificationJob(
            job_id=assigned.job_id,
            attempt=assigned.attempt,
            network=_ref(state.candidates[reignition.candidate_id]),
            data=workdir / settings.data,
            epochs=settings.epoch,
            batch_size=settings.batch_size,
            batch_parts=assigned.batch_parts,
            learning_rate=settings.learning_rate,
            seed=seed_of(state, assigned),
        )
    candidate = state.candidates[assigned.subject_id]
    parent = state.candidates.get(candidate.parent_id or "")
    lit = state.reignitions.get(candidate.reignition_id or "")
    return DetectionJob(
        job_id=assigned.job_id,
        attempt=assigned.attempt,
        network=_ref(candidate),
        parent=_ref(parent) if parent else None,
        backbone_checkpoint=lit.checkpoint if lit else None,
        inherit="backbone" if candidate.inherit == "backbone" else "detector",
        preserves=parent is not None and _keeps_its_promise(candidate, parent),
        epochs=state.config.steps[candidate.step].trainer.epoch,
        batch_parts=assigned.batch_parts,
        seed=seed_of(state, assigned),
    )


def network_of(state: SearchState, assigned: JobAssigned) -> Candidate:
    """The candidate that a job trains, or whose backbone it retrains."""
    reignition = state.reignitions.get(assigned.subject_id)
    return state.candidates[reignition.candidate_id if reignition else assigned.subject_id]


def seed_of(state: SearchState, assigned: JobAssigned) -> int:
    """Seed of a training: another one after it diverged, for it must not diverge again the same way.

    A child that is compared with a control, and the control, have the seeds of their parent; an audit has those of the run.
    What was proposed before a fork took another seed keeps the seed that it was trained from.
    """
    failures = sum(failure.fault == "non_finite" for failure in state.jobs[assigned.job_id].failures)
    subject = assigned.subject_id
    run_seed = state.subject(subject).run_seed
    candidate = state.candidates.get(subject)
    if candidate is not None and candidate.audited_id is not None:
        given = state.candidates[candidate.audited_id].seed
        if given is not None and not failures:
            return given
    if candidate is not None and (candidate.control_id is not None or is_control(state, subject)):
        subject = f"{candidate.parent_id}+"
        run_seed = state.candidates[candidate.control_id or candidate.candidate_id].run_seed
    key = f"{run_seed}/{subject}/{failures}" + (f"/{assigned.repeat}" if assigned.repeat > 1 else "")
    return zlib.crc32(key.encode())


def _keeps_its_promise(candidate: Candidate, parent: Candidate) -> bool:
    """Whether the network has to compute what its parent does; one that was given may be of another detector."""
    return (
        candidate.inherit == "detector"
        and candidate.reignition_id is None
        and parent.outcome == "done"
        and preserves_function(candidate.morphisms)
    )


def _ref(candidate: Candidate) -> NetworkRef:
    return NetworkRef(
        candidate_id=candidate.candidate_id,
        code=candidate.blueprint.genotype.code,
        block_ids=candidate.blueprint.block_ids,
        base_width=candidate.base_width,
        checkpoint=candidate.checkpoint,
    )
