"""The worker as a process: one job after another over pipes, failures told apart, never outliving its orchestrator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from lineage.architecture import Genotype
from lineage.events import Event, JobFailed, JobFinished, WeightsInherited, WorkerStarted, from_json
from lineage.morphism import Blueprint, Expand, apply
from trainers.errors import CheckpointError, DataError, NonFiniteError, PromiseError, TemplateError
from trainers.faults import fault_of
from trainers.protocol import SIGN_OF_LIFE, STOP, ClassificationJob, DetectionJob, NetworkRef, WorkerSetup

WORKER = [sys.executable, "-m", "trainers.worker"]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
# An orchestrator to kill: it starts a worker, hands it two lines, and tells its pid and first event.
ORCHESTRATOR = """
import subprocess, sys
worker = subprocess.Popen([sys.executable, "-m", "trainers.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
worker.stdin.write(sys.stdin.buffer.readline() + sys.stdin.buffer.readline())
worker.stdin.flush()
print(worker.pid, flush=True)
for line in worker.stdout:
    print(line.decode(), end="", flush=True)
"""


class Worker:
    """The orchestrator's end of the pipes."""

    def __init__(self, setup: BaseModel) -> None:
        self.process = subprocess.Popen(
            WORKER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ONE_THREAD
        )
        self.send(setup.model_dump_json())

    def send(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def do(self, job: DetectionJob | ClassificationJob) -> list[Event]:
        """Every event up to the one that ends the job."""
        self.send(job.model_dump_json())
        events = [self.event()]
        while not isinstance(events[-1], JobFinished | JobFailed):
            events.append(self.event())
        return events

    def event(self) -> Event:
        while (line := self.process.stdout.readline()).strip() == SIGN_OF_LIFE:
            pass
        return from_json(line)

    def refusal(self) -> str:
        assert self.process.wait(30) == 2
        return json.loads(self.process.stdout.read())["setup_error"]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()


@pytest.fixture(scope="module")
def running(setup: WorkerSetup) -> Iterator[tuple[Worker, WorkerStarted]]:
    worker = Worker(setup)
    yield worker, worker.event()
    worker.close()


@pytest.fixture
def worker(running: tuple[Worker, WorkerStarted]) -> Worker:
    return running[0]


@pytest.fixture(scope="module")
def trained(running: tuple[Worker, WorkerStarted], seed_network: NetworkRef) -> tuple[list[Event], NetworkRef]:
    """What the seed's training reported, and the seed with its weights."""
    events = running[0].do(detection("s-0001", seed_network))
    return events, seed_network.model_copy(update={"checkpoint": events[-1].checkpoint})


def detection(job_id: str, network: NetworkRef, parent: NetworkRef | None = None, epochs: int = 1) -> DetectionJob:
    return DetectionJob(job_id=job_id, attempt=1, network=network, parent=parent, epochs=epochs, seed=0)


def child_of(parent: NetworkRef) -> NetworkRef:
    blueprint = apply(Blueprint(Genotype.parse(parent.code), parent.block_ids), Expand(1, 1, 1), "s-0002")
    return NetworkRef(candidate_id="s-0002", code=blueprint.genotype.code, block_ids=blueprint.block_ids, base_width=8)


def test_it_says_when_it_is_ready_and_on_what(running: tuple[Worker, WorkerStarted]) -> None:
    started = running[1]
    assert started.device == "cpu:0"
    assert started.name
    assert started.memory_bytes > 2**20


def test_seed_is_trained(trained: tuple[list[Event], NetworkRef]) -> None:
    assert [event.kind for event in trained[0]] == ["EpochFinished", "JobFinished"]


def test_child_inherits_from_its_parent(worker: Worker, trained: tuple[list[Event], NetworkRef]) -> None:
    inherited, *_, finished = worker.do(detection("s-0002", child_of(trained[1]), trained[1]))
    assert isinstance(inherited, WeightsInherited)
    assert inherited.residual <= 1e-4
    assert isinstance(finished, JobFinished)


def test_backbone_is_reignited_and_used(worker: Worker, trained: tuple[list[Event], NetworkRef], workdir: Path) -> None:
    job = ClassificationJob(
        job_id="r-0001",
        attempt=1,
        network=trained[1],
        data=workdir / "data/digits/classification",
        epochs=1,
        batch_size=16,
        learning_rate=0.001,
        seed=0,
    )
    *_, reignited = worker.do(job)
    assert reignited.accuracy is not None
    after = detection("s-0003", child_of(trained[1]), trained[1])
    *_, finished = worker.do(after.model_copy(update={"backbone_checkpoint": reignited.checkpoint}))
    assert isinstance(finished, JobFinished)


def test_failed_job_is_reported_and_the_next_one_taken(
    worker: Worker, trained: tuple[list[Event], NetworkRef], setup: WorkerSetup, seed_network: NetworkRef
) -> None:
    lost = trained[1].model_copy(update={"checkpoint": "0" * 64})
    [failed] = worker.do(detection("s-0004", child_of(lost), lost))
    assert isinstance(failed, JobFailed)
    assert (failed.job_id, failed.fault) == ("s-0004", "checkpoint")
    assert "0" * 64 in failed.message
    assert "Traceback" in (setup.logs / "s-0004.log").read_text()
    assert isinstance(worker.do(detection("s-0005", seed_network))[-1], JobFinished)


def test_job_has_a_log_for_people_and_another_attempt_is_appended(
    worker: Worker, setup: WorkerSetup, seed_network: NetworkRef
) -> None:
    for attempt in (1, 2):
        worker.do(detection("s-0006", seed_network).model_copy(update={"attempt": attempt}))
    text = (setup.logs / "s-0006.log").read_text()
    assert text.index("attempt 1") < text.index("epoch 1, iteration 1/3") < text.index("attempt 2")
    assert "epoch 1/1: mean loss" in text
    assert "creating index" not in text


def test_a_log_that_can_not_be_written_ends_no_training(
    worker: Worker, setup: WorkerSetup, seed_network: NetworkRef
) -> None:
    (setup.logs / "s-unlogged.log").mkdir()
    assert isinstance(worker.do(detection("s-unlogged", seed_network))[-1], JobFinished)
    assert "can't write" in (setup.logs / "worker-cpu-0.log").read_text()


def test_ctrl_c_is_left_to_the_orchestrator(worker: Worker, seed_network: NetworkRef) -> None:
    worker.process.send_signal(signal.SIGINT)
    assert isinstance(worker.do(detection("s-0007", seed_network))[-1], JobFinished)


def test_line_that_is_no_job_ends_it_with_a_reason(worker: Worker) -> None:
    worker.send('{"type": "cooking"}')  # the last test to use this worker
    assert "no job" in worker.refusal()


def test_a_worker_that_is_to_stop_finishes_its_last_epoch_and_ends(
    setup: WorkerSetup, seed_network: NetworkRef
) -> None:
    worker = Worker(setup)
    worker.event()
    worker.send(detection("s-stop", seed_network).model_dump_json())
    worker.send(STOP.decode())
    kinds = [worker.event().kind for _ in range(2)]
    assert kinds == ["EpochFinished", "JobFinished"]
    assert worker.process.wait(30) == 0
    worker.close()


def test_a_worker_that_is_to_stop_keeps_its_epoch_and_ends(setup: WorkerSetup, seed_network: NetworkRef) -> None:
    worker = Worker(setup)
    worker.event()
    worker.send(detection("s-kept", seed_network, epochs=50).model_dump_json())
    while worker.event().kind != "EpochFinished":
        pass
    worker.send(STOP.decode())
    assert worker.process.wait(60) == 0
    assert b"JobFinished" not in worker.process.stdout.read()
    assert list(setup.checkpoints.glob("s-kept.*.unfinished"))
    worker.close()


def test_first_line_that_is_no_setup_is_refused(seed_network: NetworkRef) -> None:
    worker = Worker(seed_network)
    assert "no WorkerSetup" in worker.refusal()
    worker.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"template": Path("no/such.py")}, "no such template"), ({"workdir": Path("no/such/folder")}, "no/such/folder")],
)
def test_worker_that_cannot_begin_says_why(setup: WorkerSetup, changes: dict[str, Path], message: str) -> None:
    worker = Worker(setup.model_copy(update=changes))
    assert message in worker.refusal()
    worker.close()


def test_killed_orchestrator_leaves_no_worker_behind(setup: WorkerSetup, seed_network: NetworkRef) -> None:
    orchestrator = subprocess.Popen(
        [sys.executable, "-c", ORCHESTRATOR], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ONE_THREAD
    )
    forever = detection("s-0008", seed_network, epochs=10_000)
    with orchestrator.stdin as lines, orchestrator.stdout as answers:
        lines.write(f"{setup.model_dump_json()}\n{forever.model_dump_json()}\n".encode())
        lines.flush()
        pid = int(answers.readline())
        assert b"WorkerStarted" in answers.readline()
        assert b"EpochFinished" in next(line for line in answers if line.strip() != SIGN_OF_LIFE)  # in mid-training
        orchestrator.kill()
        orchestrator.wait()
        deadline = time.monotonic() + 5
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "out_of_memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (RuntimeError("CUDA error: unspecified launch failure"), "lost_device"),
        (NonFiniteError("loss is nan"), "non_finite"),
        (DataError("no image"), "data"),
        (TemplateError("no model"), "data"),
        (FileNotFoundError("00001.png"), "data"),
        (RuntimeError("std::bad_alloc"), "out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "out_of_memory"),
        (SystemExit(3), "bug"),
        (CheckpointError("damaged"), "checkpoint"),
        (PromiseError("features differ"), "broken_promise"),
        (KeyError("x"), "bug"),
    ],
)
def test_a_fault_says_who_must_act(error: BaseException, expected: str) -> None:
    assert fault_of(error) == expected
