"""Given: events to tell of, and what is told of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lineage.events import (
    CandidateProposed,
    EpochFinished,
    Event,
    JobAssigned,
    JobFinished,
    NetworkGiven,
    Recorded,
    ReignitionProposed,
    RunStarted,
    WeightsInherited,
)
from lineage.narration import Narrator

STARTED = RunStarted(run_id="digits", seed=7, simulated=False, slots=2, window=3, config={"pipeline": ["s", "p"]})
SEED = CandidateProposed(
    candidate_id="s-0001",
    step="s",
    phase="serial",
    code="b_11-21_0-0",
    block_ids=(("s-0001.1",),),
    base_width=16,
    params=1,
    flops=1,
)
CHILD = SEED.model_copy(
    update={"candidate_id": "s-0002", "code": "b_111-21_0-0", "parent_id": "s-0001", "morphisms": ("expand(0@1 +1)",)}
)
KEPT = WeightsInherited(
    job_id="j-2",
    attempt=1,
    child_id="s-0002",
    parent_id="s-0001",
    tensors_copied=120,
    tensors_adapted=1,
    tensors_new=10,
    tensors_dropped=5,
    residual=0.0,
)
STALLED = ReignitionProposed(
    reignition_id="r-0001",
    step="s",
    candidate_id="s-0001",
    n_stuck=3,
    candidates_since_best=3,
    best_ap=0.1,
    min_delta=0.005,
)


GIVEN = NetworkGiven(
    candidate_id="i-0001",
    step="s",
    phase="serial",
    source="resnet18.pth",
    code="b_11-21_0-0",
    block_ids=(("i-0001.1",),),
    base_width=64,
    checkpoint="ab" * 32,
    params=1,
    flops=1,
)


def assigned(job_id: str, subject_id: str, kind: str = "fast_train", attempt: int = 1, repeat: int = 1) -> JobAssigned:
    return JobAssigned(
        job_id=job_id, job_kind=kind, subject_id=subject_id, device="cpu:0", attempt=attempt, repeat=repeat
    )


def epoch(job_id: str, ap: float | None = 0.9) -> EpochFinished:
    return EpochFinished(job_id=job_id, attempt=1, epoch=2, epochs=3, loss=0.25, ap=ap)


def finished(job_id: str, attempt: int = 1, **results: float) -> JobFinished:
    return JobFinished(job_id=job_id, attempt=attempt, checkpoint="ab" * 32, **results)


def told(*events: Event) -> list[str | None]:
    narrator, start = Narrator(), datetime(2026, 1, 1, tzinfo=UTC)
    return [
        narrator.line(Recorded(seq=seq, event_id=f"e-{seq}", ts=start + timedelta(seconds=10 * seq), event=event))
        for seq, event in enumerate(events, 1)
    ]
