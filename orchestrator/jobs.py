"""Jobs: what a worker is sent for an assignment, from the state alone."""

from __future__ import annotations

import zlib
from pathlib import Path

from lineage.events import JobAssigned
from orchestrator.search.state import Candidate, SearchState
from trainers.protocol import ClassificationJob, DetectionJob, Job, NetworkRef


def job_of(state: SearchState, assigned: JobAssigned, workdir: Path) -> Job:
    """The message for an assignment; relative data paths are read from `workdir`, the configuration's folder."""
    assert state.config is not None
    failures = state.jobs[assigned.job_id].failures  # what diverged once must not diverge again the same way
    seed = zlib.crc32(f"{state.seed}/{assigned.subject_id}/{failures}".encode())
    reignition = state.reignitions.get(assigned.subject_id)
    if reignition is not None:
        settings = state.config.steps[reignition.step].search.reignite
        assert settings is not None
        return ClassificationJob(
            job_id=assigned.job_id,
            attempt=assigned.attempt,
            network=_ref(state.candidates[reignition.candidate_id]),
            data=workdir / settings.data,
            epochs=settings.epoch,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=seed,
        )
    candidate = state.candidates[assigned.subject_id]
    lit = state.reignitions.get(candidate.reignition_id or "")
    return DetectionJob(
        job_id=assigned.job_id,
        attempt=assigned.attempt,
        network=_ref(candidate),
        parent=_ref(state.candidates[candidate.parent_id]) if candidate.parent_id else None,
        backbone_checkpoint=lit.checkpoint if lit else None,
        epochs=state.config.steps[candidate.step].trainer.epoch,
        seed=seed,
    )


def _ref(candidate: Candidate) -> NetworkRef:
    return NetworkRef(
        candidate_id=candidate.candidate_id,
        code=candidate.blueprint.genotype.code,
        block_ids=candidate.blueprint.block_ids,
        base_width=candidate.base_width,
        checkpoint=candidate.checkpoint,
    )
