"""Events of made-up runs: builders with defaults, and random runs in which everything that may happen does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from lineage import events as ev
from lineage.rows import KEYS
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


def given_network(candidate_id: str, parent_id: str | None = None, **changes: Any) -> ev.NetworkGiven:
    given: dict[str, Any] = {
        "candidate_id": candidate_id,
        "step": "serial",
        "phase": "serial",
        "source": "resnet50.pth",
        "code": SEED_CODE,
        "block_ids": (("i-0001.1", "i-0001.2"), ("i-0001.3", "i-0001.4")),
        "base_width": 16,
        "parent_id": parent_id,
        "params": 1000,
        "flops": 5000,
    }
    return ev.NetworkGiven(**given | changes)


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


def inherited(job_id: str, child_id: str, parent_id: str, attempt: int = 1, **changes: Any) -> ev.WeightsInherited:
    given: dict[str, Any] = {
        "job_id": job_id,
        "attempt": attempt,
        "child_id": child_id,
        "parent_id": parent_id,
        "tensors_copied": 90,
        "tensors_adapted": 3,
        "tensors_new": 7,
        "tensors_dropped": 1,
        "residual": 1e-6,
    }
    return ev.WeightsInherited(**given | changes)


def epoch(job_id: str, number: int = 1, attempt: int = 1, **changes: Any) -> ev.EpochFinished:
    return ev.EpochFinished(
        **{"job_id": job_id, "attempt": attempt, "epoch": number, "epochs": 3, "loss": 0.5, "ap": 0.1} | changes
    )


def finished(job_id: str, attempt: int = 1, **changes: Any) -> ev.JobFinished:
    return ev.JobFinished(**{"job_id": job_id, "attempt": attempt, "checkpoint": "c" * 64, "ap": 0.25} | changes)


def failed(job_id: str, attempt: int = 1) -> ev.JobFailed:
    return ev.JobFailed(job_id=job_id, attempt=attempt, fault="crash", message="it's gone: \x00 “ü”")


def trained(store: EventStore, candidate_id: str, parent_id: str | None = None, **results: Any) -> None:
    """Record that a candidate was proposed and trained once; what is no result describes the proposal."""
    store.append(trainings(candidate_id, parent_id, **results), NOON)


def trainings(
    candidate_id: str, parent_id: str | None = None, aps: tuple[float | None, ...] = (), **results: Any
) -> list[ev.Event]:
    """A candidate that was proposed and trained, once for each of `aps`; what is no result describes the proposal."""
    measured = {name: results.pop(name) for name in ("ap", "peak_memory_bytes", "latency_ms") if name in results}
    events: list[ev.Event] = [proposed(candidate_id, parent_id, **{"seeds": len(aps) or 1} | results)]
    for repeat, result in enumerate([{"ap": ap} for ap in aps] or [{}], 1):
        job_id = f"j-{candidate_id}" + (f"-{repeat}" if repeat > 1 else "")
        events += [assigned(job_id, candidate_id, repeat=repeat), finished(job_id, **measured | result)]
    return events


@st.composite
def histories(draw: st.DrawFn) -> list[ev.Event]:
    """A run as it may really go: late reports of lost attempts, unknown ids and interruptions included."""
    history: list[ev.Event] = [run_started(), ev.PhaseStarted(step="serial", phase="serial"), proposed("s-0")]
    candidates, reignitions = ["s-0"], ["i-none"]
    numbers, seeds = st.integers(0, 5), st.integers(1, 3)
    aps = st.one_of(st.none(), st.floats(0, 1), st.just(float("nan")))
    probabilities = st.dictionaries(st.sampled_from(["s-0", "s-1", "s-9"]), st.floats(0, 1))
    refused = st.dictionaries(st.sampled_from(["duplicate", "flops"]), st.integers(1, 9))
    dead = st.one_of(st.none(), st.sampled_from([(), ("backbone.a", "neck.b")]))
    for _ in range(draw(st.integers(1, 25))):
        job_id, attempt, repeat = f"j-{draw(numbers)}", draw(st.integers(1, 2)), draw(seeds)
        match draw(st.integers(0, 16)):
            case 0 | 1 | 2:
                changes = {
                    "phase": draw(st.sampled_from(["serial", "parallel", "fullytrain", "audit"])),
                    "flops": draw(numbers),
                    "seeds": draw(seeds),
                    "parent_probabilities": draw(probabilities),
                    "refused": draw(refused),
                    "inherit": draw(st.sampled_from(["detector", "backbone"])),
                    "control_id": draw(st.sampled_from([None, "s-0"])),
                }
                candidates.append(f"s-{len(candidates)}")
                history.append(proposed(candidates[-1], draw(st.sampled_from(candidates)), **changes))
            case 3:
                reignitions.append(f"i-{len(reignitions)}")
                history.append(reignition(reignitions[-1], draw(st.sampled_from(candidates))))
            case 4 | 5 | 6:
                subject = draw(st.sampled_from(candidates))
                history.append(assigned(job_id, subject, attempt, repeat=repeat))
            case 7:
                subject = draw(st.sampled_from(reignitions))
                history.append(assigned(job_id, subject, attempt, job_kind="reignite"))
            case 8:
                child = draw(st.sampled_from(candidates))
                history.append(inherited(job_id, child, "s-0", attempt, dead_tensors=draw(dead)))
            case 9:
                history.append(epoch(job_id, draw(st.integers(1, 3)), attempt, loss=draw(st.floats(width=32))))
            case 10 | 11:
                history.append(finished(job_id, attempt, ap=draw(aps), params=draw(st.one_of(st.none(), numbers))))
            case 12:
                history.append(failed(job_id, attempt))
            case 13:
                candidates.append(f"g-{len(candidates)}")
                history.append(given_network(candidates[-1], draw(st.one_of(st.none(), st.just("s-0"))), ap=draw(aps)))
            case 14:
                ruled_out = draw(st.sampled_from(candidates))
                history.append(ev.CandidateRuledOut(candidate_id=ruled_out, limit="flops", measured=5e9, allowed=4e9))
            case 15 | 16:
                history.append(draw(st.sampled_from(INTERRUPTIONS)))
    return history


REQUESTS: list[ev.Event] = [
    ev.StopRequested(by="somebody"),
    ev.ReignitionRequested(by="somebody"),
    ev.RunPaused(by="somebody"),
    ev.RunContinued(by="somebody"),
    ev.JobCancelled(job_id="j-1", attempt=1, by="somebody"),
    ev.SettingChanged(key="serial.search_algorithm.max_sample", value=9, before=6, by="somebody"),
    ev.RequestRefused(request="cancel j-9", reason="no training of that name runs", by="somebody"),
]

INTERRUPTIONS: list[ev.Event] = [
    ev.RunStopped(reason="interrupted"),
    ev.RunResumed(),
    ev.WorkerStarted(device="cpu:0", name="cpu"),
    ev.WorkerLost(device="cpu:0", message="killed"),
    ev.CandidateAbandoned(candidate_id="s-1", fault="out_of_memory", message="no memory"),
    ev.CandidateRuledOut(candidate_id="s-1", limit="latency", measured=23.1, allowed=20),
    ev.ReignitionAbandoned(reignition_id="i-1", fault="data", message="no data"),
    ev.PhaseFinished(
        step="serial", phase="serial", reason="exhausted", best_candidate_id="s-0", refused={"duplicate": 1000}
    ),
    ev.RunFinished(outcome="completed", reason="end of pipeline", best_candidate_id="s-0"),
    *REQUESTS,
    ev.WorkerBlocked(device="cpu:0", reason="no space left on device"),
    ev.WorkerUnblocked(device="cpu:0"),
    ev.RecordingDelayed(reason="no space left on device", seconds=61.5),
    ev.CheckpointDeleted(checkpoint="c" * 64, subject_id="s-0"),
    ev.RunForked(source="/runs/r", at_seq=3, by="somebody"),
]


def tables(store: EventStore) -> dict[str, list[str]]:
    """Every row of every projected table, as text so that NaN equals NaN."""
    return {table: sorted(map(repr, store.query(f"FROM {table}").rows)) for table in KEYS}
