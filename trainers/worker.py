"""The worker process: trains one job after another on one device and reports over pipes.

    python -m trainers.worker

reads a `WorkerSetup` as the first line of its input, then `Job`s; writes events, one JSON object a line, on its output
(see `trainers.protocol`). mmdet is imported and the data set opened once. Libraries print what they like: events go out
through a private copy of the original output. Standard output is ``logs/worker-<device>.log`` (the chatter of
pycocotools), and so is standard error, except during a job: then it is ``logs/<job_id>.log``, where progress, warnings
and tracebacks of every attempt are.

* If it can't begin, or is sent what is no job, it answers with one line ``{"setup_error": "..."}`` and exit code 2.
* A job's failure is a `JobFailed`, and the next job is taken.
* `STOP` ends it after the epoch that it trains, which is kept, or at once if it trains none.
* The end of its input means that the orchestrator is gone or wants it gone: it ends at once, in mid-training too.
* Ctrl-C reaches the whole process group and is left to the orchestrator to answer.

It must not know the scheduler: which job comes next, and whether a failed one is tried again, is decided elsewhere.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import queue
import re
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, TextIO

from pydantic import ValidationError

from lineage.events import Event, JobFailed, WorkerStarted, to_json
from trainers.channel import Channel
from trainers.errors import LostCheckpoint, Stopped, TrainerError
from trainers.faults import fault_of, message_of
from trainers.protocol import JOB, SIGN_OF_LIFE, STOP, DetectionJob, Job, WorkerSetup
from trainers.template import load_template

if TYPE_CHECKING:  # imported in earnest only once the input is watched: torch and mmdet take seconds
    import torch

    from trainers.detection import DetectionTrainer

log = logging.getLogger("trainers.worker")


class Output:
    """The protocol's way out: the original standard output, which no library can reach."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        self._breathed = 0.0

    def emit(self, event: Event) -> None:
        self._write(to_json(event))

    def breathe(self) -> None:
        """Give a sign of life, at most once a second."""
        if time.monotonic() - self._breathed >= 1:
            self._breathed = time.monotonic()
            self._write(SIGN_OF_LIFE.decode())

    def refuse(self, message: str) -> NoReturn:
        self._write(json.dumps({"setup_error": message}))
        os._exit(2)

    def _write(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except OSError:  # nobody reads any more
            os._exit(1)


class Input:
    """Lines of standard input, read ahead by a thread that ends the process when the input ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stopping = threading.Event()
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._stream = stream
        threading.Thread(target=self._watch, name="input", daemon=True).start()

    def next(self) -> bytes:
        return self._lines.get()

    def _watch(self) -> None:
        for line in self._stream:
            if line.strip() == STOP:
                self.stopping.set()
            self._lines.put(line)
        os._exit(0)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    output, lines = Output(), Input(sys.stdin.buffer)
    setup = _setup(lines.next(), output)
    own_log = setup.logs / f"worker-{setup.device.replace(':', '-')}.log"
    try:
        os.chdir(setup.workdir)
        setup.logs.mkdir(parents=True, exist_ok=True)
        _point(sys.stdout, own_log)
        _point(sys.stderr, own_log)
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
        logging.getLogger("trainers").setLevel(logging.INFO)
        device, trainer, started = _open(setup)
    except (TrainerError, OSError) as error:
        output.refuse(f"worker on {setup.device}: {error}")
    except BaseException as error:  # a template may raise SystemExit
        traceback.print_exc()
        output.refuse(f"worker on {setup.device}: {type(error).__name__}: {error}; see {own_log}")
    output.emit(started)
    channel = Channel(output.emit, output.breathe, lines.stopping.is_set, setup.device)
    while (line := lines.next()).strip() != STOP:
        job = _job(line, output)
        _point(sys.stderr, setup.logs / f"{job.job_id}.log")
        outcome = _outcome(job, setup, device, trainer, channel)
        _point(sys.stderr, own_log)
        if outcome is None:
            break
        output.emit(outcome)
        if isinstance(outcome, JobFailed) and outcome.fault == "lost_device":
            os._exit(3)  # nothing works on the device any more in this process; the next one may find it well
    os._exit(0)  # the thread that reads the input would keep the interpreter from an orderly end


def _outcome(
    job: Job, setup: WorkerSetup, device: torch.device, trainer: DetectionTrainer, channel: Channel
) -> Event | None:
    """What became of a job; None: it was stopped, and can go on."""
    from trainers import classification

    log.info("job %s, attempt %d, on %s: %s", job.job_id, job.attempt, setup.device, job.network.code)
    try:
        if isinstance(job, DetectionJob):
            finished = trainer.run(job, channel)
        else:
            finished = classification.run(job, trainer.template, setup.checkpoints, device, channel)
    except Stopped as stopped:
        log.info("%s", stopped)
        return None
    except BaseException as error:  # a template may raise SystemExit
        log.exception("job %s failed", job.job_id)
        lost = error.sha256 if isinstance(error, LostCheckpoint) else None
        return JobFailed(
            job_id=job.job_id, attempt=job.attempt, fault=fault_of(error), message=message_of(error), checkpoint=lost
        )
    outcome = finished.model_dump(exclude_none=True, exclude={"kind", "job_id", "attempt"})
    log.info("job %s finished: %s", job.job_id, ", ".join(f"{key} {value}" for key, value in outcome.items()))
    return finished


def _setup(line: bytes, output: Output) -> WorkerSetup:
    try:
        setup = WorkerSetup.model_validate_json(line)
    except ValidationError as error:
        output.refuse(f"the first line is no WorkerSetup: {error}")
    return setup.model_copy(
        update={name: getattr(setup, name).absolute() for name in ("template", "workdir", "checkpoints", "logs")}
    )


def _job(line: bytes, output: Output) -> Job:
    try:
        return JOB.validate_json(line)
    except ValidationError as error:
        output.refuse(f"a line is no job: {error}")


def _open(setup: WorkerSetup) -> tuple[torch.device, DetectionTrainer, WorkerStarted]:
    template = load_template(setup.template)  # what is wrong with it is told before torch and mmdet are imported

    import torch

    from trainers.detection import DetectionTrainer

    if setup.device.startswith("cuda"):
        device = torch.device(setup.device)
        torch.cuda.set_device(device)
        properties = torch.cuda.get_device_properties(device)
        name, memory_bytes = properties.name, properties.total_memory
    else:
        device = torch.device("cpu")
        torch.set_num_threads(1)
        name, memory_bytes = _cpu_name(), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    trainer = DetectionTrainer(setup, template, device)
    return device, trainer, WorkerStarted(device=setup.device, name=name, memory_bytes=memory_bytes)


def _cpu_name() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _point(stream: TextIO, path: Path) -> None:
    """Let a standard stream, whoever writes to its file descriptor, go to the end of the file `path`.

    Where that can't be written, as on a full disk, it stays where it is: a log is no reason to end a training.
    """
    try:
        stream.flush()
        with path.open("ab") as file:
            os.dup2(file.fileno(), stream.fileno())
    except OSError as error:
        log.warning("can't write %s: %s", path, error)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
    os._exit(1)  # not in order: the thread that reads the input would hold it
