"""Events of made-up runs: builders with defaults, and random runs in which everything that may happen does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from lineage import events as ev
from lineage.store import EventStore

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
SEED_CODE = "b_11-21_0-0"


def run_started(**changes: Any) -> ev.RunStarted:
    return ev.RunStarted(
        **{"run_id": "r", "seed": 1, "simulated": True, "slots": 2, "window": 2, "config": {}} | changes
    )


def proposed(candidate_id: str, parent_id: str | None = None, **changes: Any) -> ev.CandidateProposed:
    given: dict[str, Any] = {
        "candidate_id": candidate_id,
        "step": "serial",
        "phase": "serial",
        "code": SEED_CODE,
        "block_ids": (("s-0000.1", "s-0000.2"), ("s-0000.3", "s-0000.4")),
        "base_width": 16,
        "parent_id": parent_id,
        "morphisms": ("expand(0@1 +1)",) if parent_id else (),
        "params": 1000,
        "flops": 5000,
    }
    return ev.CandidateProposed(**given | changes)


def reignition(reignition_id: str, candidate_id: str) -> ev.ReignitionProposed:
    return ev.ReignitionProposed(
        reignition_id=reignition_id,
        step="serial",
        candidate_id=candidate_id,
        n_stuck=3,
        candidates_since_best=3,
        best_ap=0.25,
        min_delta=0.01,
    )


def assigned(job_id: str, subject_id: str, attempt: int = 1, **changes: Any) -> ev.JobAssigned:
    given: dict[str, Any] = {
        "job_id": job_id,
        "job_kind": "fast_train",
        "subject_id": subject_id,
        "device": "cpu:0",
        "attempt": attempt,
    }
    return ev.JobAssigned(**given | changes)


def inherited(job_id: str, child_id: str, parent_id: str, attempt: int = 1) -> ev.WeightsInherited:
    return ev.WeightsInherited(
        job_id=job_id,
        attempt=attempt,
        child_id=child_id,
        parent_id=parent_id,
        tensors_copied=90,
        tensors_adapted=3,
        tensors_new=7,
        tensors_dropped=1,
        residual=1e-6,
    )


def epoch(job_id: str, number: int = 1, attempt: int = 1, **changes: Any) -> ev.EpochFinished:
    return ev.EpochFinished(
        **{"job_id": job_id, "attempt": attempt, "epoch": number, "epochs": 3, "loss": 0.5, "ap": 0.1} | changes
    )


def finished(job_id: str, attempt: int = 1, **changes: Any) -> ev.JobFinished:
    return ev.JobFinished(**{"job_id": job_id, "attempt": attempt, "checkpoint": "c" * 64, "ap": 0.25} | changes)


def failed(job_id: str, attempt: int = 1) -> ev.JobFailed:
    return ev.JobFailed(job_id=job_id, attempt=attempt, fault="crash", message="it's gone: \x00 “ü”")


def trained(store: EventStore, candidate_id: str, parent_id: str | None = None, **results: Any) -> None:
    """Record that a candidate was proposed and trained; what is no result describes the proposal."""
    measured = {name: results.pop(name) for name in ("ap", "peak_memory_bytes", "latency_ms") if name in results}
    job_id = f"j-{candidate_id}"
    store.append(
        [proposed(candidate_id, parent_id, **results), assigned(job_id, candidate_id), finished(job_id, **measured)],
        NOON,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[ev.Event]:
    """A run as it may really go: late reports of lost attempts, unknown ids and interruptions included."""
    history: list[ev.Event] = [run_started(), ev.PhaseStarted(step="serial", phase="serial"), proposed("s-0")]
    candidates, reignitions = ["s-0"], ["i-none"]
    numbers = st.integers(0, 5)
    aps = st.one_of(st.none(), st.floats(0, 1), st.just(float("nan")))
    for _ in range(draw(st.integers(1, 25))):
        job_id, attempt = f"j-{draw(numbers)}", draw(st.integers(1, 2))
        match draw(st.integers(0, 12)):
            case 0 | 1:
                phase = draw(st.sampled_from(["serial", "parallel", "fullytrain"]))
                new = f"s-{len(candidates)}"
                history.append(proposed(new, draw(st.sampled_from(candidates)), phase=phase, flops=draw(numbers)))
                candidates.append(new)
            case 2:
                reignitions.append(f"i-{len(reignitions)}")
                history.append(reignition(reignitions[-1], draw(st.sampled_from(candidates))))
            case 3 | 4 | 5:
                subject = draw(st.sampled_from(candidates))
                history.append(assigned(job_id, subject, attempt))
            case 6:
                subject = draw(st.sampled_from(reignitions))
                history.append(assigned(job_id, subject, attempt, job_kind="reignite"))
            case 7:
                child = draw(st.sampled_from(candidates))
                history.append(inherited(job_id, child, "s-0", attempt))
            case 8:
                history.append(epoch(job_id, draw(st.integers(1, 3)), attempt, loss=draw(st.floats(width=32))))
            case 9 | 10:
                history.append(finished(job_id, attempt, ap=draw(aps), params=draw(st.one_of(st.none(), numbers))))
            case 11:
                history.append(failed(job_id, attempt))
            case 12:
                history.append(draw(st.sampled_from(INTERRUPTIONS)))
    return history


INTERRUPTIONS: list[ev.Event] = [
    ev.RunStopped(reason="interrupted"),
    ev.RunResumed(),
    ev.WorkerStarted(device="cpu:0", name="cpu"),
    ev.WorkerLost(device="cpu:0", message="killed"),
    ev.CandidateAbandoned(candidate_id="s-1", fault="out_of_memory", message="no memory"),
    ev.ReignitionAbandoned(reignition_id="i-1", fault="data", message="no data"),
    ev.PhaseFinished(step="serial", phase="serial", reason="max_sample", best_candidate_id="s-0"),
    ev.RunFinished(outcome="completed", reason="end of pipeline", best_candidate_id="s-0"),
]

TABLES = ("run", "phases", "candidates", "inheritance", "jobs", "epochs", "reignitions")


def tables(store: EventStore) -> dict[str, list[str]]:
    """Every row of every projected table, as text so that NaN equals NaN."""
    return {table: sorted(map(repr, store.query(f"FROM {table}").rows)) for table in TABLES}
