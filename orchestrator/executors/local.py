"""Workers on this machine: one long-lived process a device slot, messages over its pipes (`trainers.protocol`).

A worker that dies fails its job as a crash and is replaced, unless it keeps dying without finishing anything. One that
says what it can't mean (`honesty`) is killed, and nothing more of it is heard. One that hangs (`patience`) is killed, and
its job fails as hung. Workers end when their input closes, so none outlives this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydantic_core
from pydantic import ValidationError

from lineage.events import Event, Fault, JobAssigned, JobFailed, JobFinished, WorkerLost, WorkerStarted, from_json
from orchestrator.devices import environment
from orchestrator.errors import ConfigError, InfrastructureError
from orchestrator.executors.honesty import objection
from orchestrator.executors.patience import Patience
from orchestrator.jobs import job_of, network_of
from orchestrator.search.state import SearchState
from trainers.protocol import SIGN_OF_LIFE, Job, WorkerSetup

WORKER = (sys.executable, "-P", "-m", "trainers.worker")  # -P: modules in the user's folder must not shadow ours
MAX_DEATHS = 3  # deaths in a row of one slot's workers without a finished job
END_TIMEOUT_S = 5.0
LINE_LIMIT_BYTES = 2**22
LOOK_S = 1.0  # between two looks at a worker

_log = logging.getLogger(__name__)


@dataclass
class _Slot:
    setup: WorkerSetup
    process: Process | None = None
    has_started: bool = False  # that process, as it says
    job: Job | None = None
    cost: float = 0.0  # of the job: multiply-adds times epochs
    since: float = 0.0  # when the worker was sent it, on the loop's clock
    heard: float = 0.0  # when the worker was last heard of
    hung: str | None = None  # why it was killed
    deaths: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class LocalExecutor:
    """One worker process for each of `setups`; `command` is what starts one."""

    def __init__(
        self, setups: Sequence[WorkerSetup], command: Sequence[str] = WORKER, patience: Patience | None = None
    ) -> None:
        self._command = command
        self._patience = patience or Patience()
        self._slots = {setup.device: _Slot(setup) for setup in setups}
        self._queue: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self._closing = False
        self._any_started = False

    async def start(self) -> None:
        for slot in self._slots.values():
            await self._spawn(slot)

    def assign(self, state: SearchState, assigned: JobAssigned) -> None:
        slot = self._slots[assigned.device]
        slot.job = job = job_of(state, assigned, slot.setup.workdir)
        slot.cost = float(network_of(state, assigned).flops * job.epochs)
        slot.tasks.append(asyncio.create_task(self._carry_out(slot, job, assigned.pause_s)))

    async def reports(self) -> list[Event]:
        found = [await self._queue.get()]
        while not self._queue.empty():
            found.append(self._queue.get_nowait())
        for item in found:
            if isinstance(item, Exception):
                raise item
        return [item for item in found if not isinstance(item, Exception)]

    async def close(self) -> None:
        self._closing = True
        await asyncio.gather(*(self._end(slot) for slot in self._slots.values()))

    async def _carry_out(self, slot: _Slot, job: Job, pause_s: float) -> None:
        """Send a job after a pause, and watch its worker for as long as it has it."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(pause_s)
        if slot.job is not job or slot.process is None:
            return
        slot.since = slot.heard = loop.time()
        self._send(slot, job.model_dump_json())
        while slot.job is job:
            await asyncio.sleep(min(LOOK_S, self._patience.silence_s / 4))
            now = loop.time()
            hung = self._patience.verdict(job.type, slot.cost, now - slot.heard, now - slot.since)
            if slot.job is job and hung is not None:
                slot.hung = hung
                _kill(slot.process)
                return

    async def _spawn(self, slot: _Slot) -> None:
        slot.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            env=environment(slot.setup.device),
            limit=LINE_LIMIT_BYTES,
            start_new_session=True,  # Ctrl-C is for the orchestrator, which ends its workers itself
        )
        slot.hung, slot.has_started = None, False
        self._send(slot, slot.setup.model_dump_json())
        slot.tasks = [task for task in slot.tasks if not task.done()]
        slot.tasks.append(asyncio.create_task(self._listen(slot, slot.process)))

    def _send(self, slot: _Slot, line: str) -> None:
        assert slot.process is not None
        assert slot.process.stdin is not None
        if not slot.process.stdin.is_closing():  # a dead worker is noticed by its listener
            slot.process.stdin.write(line.encode() + b"\n")

    async def _listen(self, slot: _Slot, process: Process) -> None:
        assert process.stdout is not None
        try:
            while line := await _line(process.stdout):
                self._receive(slot, line)
        except ValueError as error:  # what it says is no message of ours
            _log.error("worker %s is replaced: %.1000s", slot.setup.device, error)
            _kill(process)
        await process.wait()
        if not self._closing:
            await self._died(slot, process)

    def _receive(self, slot: _Slot, line: bytes) -> None:
        """Take what a worker says. Raises ValueError if no worker can mean it."""
        slot.heard = asyncio.get_running_loop().time()
        if line.strip() == SIGN_OF_LIFE:
            return
        try:
            event = from_json(line)
        except ValidationError:
            self._receive_other(slot, line)
            return
        if (reason := objection(event, slot.setup.device, slot.job, slot.has_started)) is not None:
            raise ValueError(f"it reported {reason}")
        if isinstance(event, WorkerStarted):
            self._any_started = slot.has_started = True
        if isinstance(event, JobFinished | JobFailed) and slot.job is not None:
            if isinstance(event, JobFinished):
                slot.deaths = 0
                if event.attempt == 1:  # a later one may have gone on in the middle, and says nothing of the whole
                    self._patience.learn(slot.job.type, slot.cost, slot.heard - slot.since)
            slot.job = None
        self._queue.put_nowait(event)

    def _receive_other(self, slot: _Slot, line: bytes) -> None:
        with contextlib.suppress(ValueError, AttributeError):
            fault = pydantic_core.from_json(line).get("setup_error")
            if fault is not None and self._any_started:  # it worked before: a matter of this slot, not of the run
                _log.error("worker %s can't be set up any more: %s", slot.setup.device, fault)
                slot.deaths = MAX_DEATHS
                return
            if fault is not None:
                self._queue.put_nowait(ConfigError(f"the workers can't be set up: {fault}"))
                return
        raise ValueError(f"it sent a line that is no event: {line[:200]!r}")

    async def _died(self, slot: _Slot, process: Process) -> None:
        slot.deaths += 1
        ending = f"was killed: {slot.hung}" if slot.hung else f"ended with {_describe(process.returncode)}"
        message = f"worker on {slot.setup.device} {ending}; see {self._log_of(slot)}"
        if slot.job is not None:
            job, slot.job = slot.job, None
            fault: Fault = "hang" if slot.hung else "crash"
            self._queue.put_nowait(JobFailed(job_id=job.job_id, attempt=job.attempt, fault=fault, message=message))
        self._queue.put_nowait(WorkerLost(device=slot.setup.device, message=message))
        if slot.deaths < MAX_DEATHS:
            await self._spawn(slot)
            return
        slot.process = None
        if all(other.process is None for other in self._slots.values()):
            self._queue.put_nowait(InfrastructureError(f"no worker can be kept alive: {message}"))

    def _log_of(self, slot: _Slot) -> Path:
        return slot.setup.logs / f"worker-{slot.setup.device.replace(':', '-')}.log"

    async def _end(self, slot: _Slot) -> None:
        process = slot.process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), END_TIMEOUT_S)
            except TimeoutError:
                _kill(process)
                await process.wait()
        for task in slot.tasks:
            task.cancel()
        await asyncio.gather(*slot.tasks, return_exceptions=True)


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError as error:
        raise ValueError(f"it sent a line of more than {LINE_LIMIT_BYTES} bytes") from error


def _describe(returncode: int | None) -> str:
    return f"signal {-returncode}" if returncode is not None and returncode < 0 else f"exit code {returncode}"


def _kill(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        process.kill()
