"""Whatever a worker says, only what an honest one could mean gets into the log; for anything else it is replaced."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from histories import assigned, proposed, run_started
from hostile import VALUES, mutated, mutated_bytes, tries
from hypothesis import given
from hypothesis import strategies as st

from lineage.events import (
    EpochFinished,
    Event,
    JobFailed,
    JobFinished,
    ReignitionRequested,
    RunFinished,
    RunResumed,
    WeightsInherited,
    WorkerBlocked,
    WorkerLost,
    WorkerStarted,
    WorkerUnblocked,
    to_json,
)
from lineage.store import EventStore
from orchestrator.errors import ConfigError
from orchestrator.executors.honesty import objection
from orchestrator.executors.local import LocalExecutor
from trainers.protocol import ClassificationJob, DetectionJob, NetworkRef, WorkerSetup

OWN = {"job_id": "j-s-0001", "attempt": 2}
NETWORK = NetworkRef(candidate_id="s-0001", code="b_1-1_0-0", block_ids=(("a",), ("b",)), base_width=16)
PARENT = NETWORK.model_copy(update={"candidate_id": "s-0000"})
JOB = DetectionJob(**OWN, network=NETWORK, parent=PARENT, epochs=3, seed=1)
CLASSIFICATION = ClassificationJob(
    **OWN, network=NETWORK, data=Path("d"), epochs=3, batch_size=1, learning_rate=0.1, seed=1
)
SHA256 = "0123456789abcdef" * 4
STARTED = WorkerStarted(device="cpu:0", name="a processor", memory_bytes=1)
INHERITED = WeightsInherited(
    **OWN,
    child_id="s-0001",
    parent_id="s-0000",
    tensors_copied=1,
    tensors_adapted=2,
    tensors_new=3,
    tensors_dropped=4,
    residual=float("nan"),
    dead_tensors=("a",),
)
EPOCH = EpochFinished(**OWN, epoch=3, epochs=3, loss=float("inf"), ap=0.0)
FINISHED = JobFinished(**OWN, checkpoint=SHA256, ap=1.0, ap50=1, params=1, flops=2, peak_memory_bytes=3, latency_ms=4.5)
FAILED = JobFailed(**OWN, fault="crash", message="it ended\0")
BLOCKED = WorkerBlocked(device="cpu:0", reason="no space left")
HONEST = [STARTED, INHERITED, EPOCH, FINISHED, FAILED]


def executor(folder: Path, mode: str = "none", slots: int = 2) -> LocalExecutor:
    places = dict.fromkeys(("template", "workdir", "checkpoints", "logs"), folder)
    setups = [WorkerSetup(device=f"cpu:{slot}", image_size=(96, 96), **places) for slot in range(slots)]
    return LocalExecutor(setups, (sys.executable, str(Path(__file__).with_name("hostile_worker.py")), mode))


def received(line: bytes, has_started: bool) -> list[Event] | None:
    """What the executor takes of a line from cpu:0, which has job j-s-0001; None: the worker is replaced."""

    async def receive() -> list[Event] | None:
        one = executor(Path())
        slot = one._slots["cpu:0"]
        slot.job, slot.ready, slot.cost = JOB, has_started, 1.0
        try:
            one._receive(slot, line)
        except ValueError:
            assert one._queue.empty()
            return None
        return [] if one._queue.empty() else await one.reports()

    try:
        return asyncio.run(receive())
    except ConfigError:  # {"setup_error": "..."}: the worker could not begin
        return []


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with EventStore.create(tmp_path_factory.mktemp("messages") / "lineage.duckdb") as store:
        first = [run_started(), proposed("s-0000"), proposed("s-0001", "s-0000")]
        store.append([*first, assigned("j-s-0001", "s-0001", attempt=2)], datetime.now(UTC))
        yield store


def check(events: list[Event] | None, store: EventStore) -> None:
    """Taken are only own events, such as the store can hold."""
    for event in events or []:
        assert isinstance(
            event,
            WorkerStarted
            | WorkerBlocked
            | WorkerUnblocked
            | WeightsInherited
            | EpochFinished
            | JobFinished
            | JobFailed,
        )
        if isinstance(event, WorkerStarted | WorkerBlocked | WorkerUnblocked):
            assert event.device == "cpu:0"
        else:
            assert (event.job_id, event.attempt) == ("j-s-0001", 2)
    if events:
        store.append([*events, *[RunResumed()] * 5], datetime.now(UTC))  # many are stored in another way than few


@tries(200)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode) | VALUES.map(lambda value: repr(value).encode()))
def test_any_line(store: EventStore, line: bytes):
    check(received(line, has_started=True), store)


@tries(300)
@given(st.sampled_from([json.loads(to_json(event)) for event in (*HONEST, BLOCKED)]).flatmap(mutated), st.booleans())
def test_an_event_with_other_values(store: EventStore, payload: Any, has_started: bool):
    check(received(json.dumps(payload).encode(), has_started), store)


@tries(200)
@given(st.sampled_from([to_json(event).encode() for event in (*HONEST, BLOCKED)]).flatmap(mutated_bytes), st.booleans())
def test_an_event_with_other_bytes(store: EventStore, line: bytes, has_started: bool):
    check(received(line, has_started), store)


@pytest.mark.parametrize("event", [*HONEST, BLOCKED, WorkerUnblocked(device="cpu:0")], ids=lambda event: event.kind)
def test_what_an_honest_worker_says_is_taken(event: Event):
    assert [to_json(one) for one in received(to_json(event).encode(), has_started=False) or []] == [to_json(event)]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (WorkerStarted(device="cpu:1", name="x"), "the start of a worker on cpu:1"),
        (STARTED.model_copy(update={"memory_bytes": -1}), "memory_bytes -1"),
        (STARTED.model_copy(update={"memory_bytes": 2**63}), "memory_bytes"),
        *((event.model_copy(update={"job_id": "j-s-0002"}), "of job j-s-0002") for event in HONEST[1:]),
        *(
            (event.model_copy(update={"attempt": 1}), "attempt 1; its job is j-s-0001, attempt 2")
            for event in HONEST[1:]
        ),
        *(
            (FINISHED.model_copy(update={"checkpoint": name}), "expected the sha256 of a file")
            for name in ("../../etc/passwd", "", "c", SHA256.upper(), SHA256 + "\n", "simulated-s-0001")
        ),
        *(
            (event.model_copy(update={"ap": ap}), f"with ap {ap}")
            for event in (FINISHED, EPOCH)
            for ap in (float("nan"), float("inf"), -1.0, 7.0, -0.001)
        ),
        (FINISHED.model_copy(update={"accuracy": 1.1}), "accuracy 1.1"),
        (FINISHED.model_copy(update={"latency_ms": float("nan")}), "latency_ms nan"),
        (FINISHED.model_copy(update={"flops": -5}), "flops -5"),
        (FINISHED.model_copy(update={"params": 10**30}), "params 1000"),
        (EPOCH.model_copy(update={"epoch": 4}), "number 4 of 3"),
        (EPOCH.model_copy(update={"epochs": 2**40}), "and its job has 3"),
        (INHERITED.model_copy(update={"child_id": "s-0009"}), "by s-0009 from s-0000"),
        (INHERITED.model_copy(update={"parent_id": "s-0009"}), "by s-0001 from s-0009"),
        (INHERITED.model_copy(update={"residual": -1.0}), "residual -1.0"),
        (
            JobFailed(job_id="j-s-0001", attempt=2, fault="checkpoint", message="it says", checkpoint="f" * 64),
            "which its job does not begin with",
        ),
        (WorkerBlocked(device="cpu:1", reason="it says"), "WorkerBlocked of cpu:1"),
        (WorkerUnblocked(device="cpu:1"), "WorkerUnblocked of cpu:1"),
        (INHERITED.model_copy(update={"tensors_new": -1}), "tensors_new -1"),
        (RunFinished(outcome="completed", reason="so it says"), "RunFinished, which no worker says"),
        (WorkerLost(device="cpu:0", message="it says"), "WorkerLost, which no worker says"),
        (ReignitionRequested(by="it"), "ReignitionRequested, which no worker says"),
        (proposed("s-0002"), "CandidateProposed, which no worker says"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_a_lie_is_found(event: Event, reason: str):
    assert reason in (objection(event, "cpu:0", JOB, has_started=False) or "")


def test_a_worker_starts_once_and_reports_only_while_it_has_a_job():
    assert "again" in (objection(STARTED, "cpu:0", None, has_started=True) or "")
    for event in HONEST[1:]:
        assert "its job is none" in (objection(event, "cpu:0", None, has_started=True) or "")
    assert "by s-0001" in (objection(INHERITED, "cpu:0", CLASSIFICATION, has_started=True) or "")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("lie", "it reported RunFinished, which no worker says"),
        ("long", "it sent a line of more than 4194304 bytes"),
        ("deep", "it sent a line that is no event"),
        ("binary", "it sent a line that is no event"),
        ("last_words", "it reported RunFinished, which no worker says"),
        ("silence", ""),
    ],
)
def test_a_worker_that_can_not_be_believed_is_replaced_and_nothing_it_says_later_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: str, reason: str
):
    async def watch() -> list[Event]:
        one = executor(tmp_path, mode, slots=1)
        await one.start()
        try:
            heard: list[Event] = []
            while sum(isinstance(event, WorkerLost) for event in heard) < 2:
                heard += await asyncio.wait_for(one.reports(), 60)
            return heard
        finally:
            await one.close()

    heard = asyncio.run(watch())
    assert {type(event) for event in heard} == {WorkerStarted, WorkerLost}
    started = [event.device for event in heard if isinstance(event, WorkerStarted)]
    assert set(started) <= {"cpu:0"}
    assert reason in caplog.text
