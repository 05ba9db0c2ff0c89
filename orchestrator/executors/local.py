"""Workers on this machine: one long-lived process a device slot, messages over its pipes (`trainers.protocol`).

A worker that dies fails its job as a crash and is replaced. A slot whose workers die with nothing to do, or of one job
after another where other slots do not, is given up. A worker that says what it can't mean (`honesty`) is killed, and
nothing more of it is heard. One that hangs (`patience`) is killed, and its job fails as hung. Workers end when their input
closes, so none outlives this process; what their templates started ends with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydantic_core
from pydantic import ValidationError

from lineage.events import (
    Event,
    Fault,
    JobAssigned,
    JobFailed,
    JobFinished,
    WorkerBlocked,
    WorkerLost,
    WorkerStarted,
    WorkerUnblocked,
    from_json,
)
from orchestrator.devices import environment
from orchestrator.errors import ConfigError, InfrastructureError
from orchestrator.executors.honesty import objection
from orchestrator.executors.patience import Patience
from orchestrator.executors.processes import described, ended, kill
from orchestrator.jobs import job_of, network_of
from orchestrator.search.state import SearchState
from trainers.protocol import CHECKPOINT, JOB_ID, SIGN_OF_LIFE, STOP, Job, WorkerSetup, unfinished

WORKER = (sys.executable, "-P", "-m", "trainers.worker")  # -P: modules in the user's folder must not shadow ours
MAX_DEATHS = 3  # in a row of one slot's workers, each of another job or of none
END_TIMEOUT_S = 5.0
LINE_LIMIT_BYTES = 2**22
LOOK_S = 1.0  # between two looks at a worker

_log = logging.getLogger(__name__)


@dataclass
class _Slot:
    setup: WorkerSetup
    process: Process | None = None
    ready: bool = False
    blocked: bool = False  # it waits for room on the disk
    job: Job | None = None
    cost: float = 0.0  # of the job: multiply-adds times epochs
    since: float | None = None  # when the worker was sent it, on the loop's clock; waits for room don't count
    heard: float = 0.0  # when the worker was last heard of
    hung: str | None = None  # why it was killed
    cancelled: bool = False  # it was killed for its job
    deaths: int = 0  # with nothing to do
    killers: set[str] = field(default_factory=set)  # jobs that workers died of since one finished
    fault: str | None = None  # why no worker can be set up any more
    listening: asyncio.Task[None] | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class LocalExecutor:
    """One worker process for each of `setups`; `command` is what starts one."""

    def __init__(
        self, setups: Sequence[WorkerSetup], command: Sequence[str] = WORKER, patience: Patience | None = None
    ) -> None:
        self._command = command
        self._patience = patience or Patience()
        self._slots = {setup.device: _Slot(setup) for setup in setups}
        self._queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()  # None: all is drained
        self._draining = False
        self._closing = False
        self._any_started = False

    async def start(self) -> None:
        for slot in self._slots.values():
            await self._spawn(slot)

    def assign(self, state: SearchState, assigned: JobAssigned) -> None:
        slot = self._slots[assigned.device]
        slot.job = job = job_of(state, assigned, slot.setup.workdir)
        slot.cost = float(network_of(state, assigned).flops * job.epochs)
        slot.since = None
        slot.tasks.append(asyncio.create_task(self._carry_out(slot, job, assigned.pause_s)))

    def delete(self, checkpoint: str) -> None:
        if re.fullmatch(CHECKPOINT, checkpoint):  # it may lead anywhere
            self._remove(f"{checkpoint}.safetensors")

    def cancel(self, job_id: str) -> None:
        for slot in self._slots.values():
            if slot.job is not None and slot.job.job_id == job_id and slot.process is not None:
                slot.job, slot.cancelled = None, True
                kill(slot.process)

    def forget(self, job_id: str) -> None:
        if re.fullmatch(JOB_ID, job_id):
            self._remove(unfinished(job_id))

    def _remove(self, pattern: str) -> None:
        for folder in {slot.setup.checkpoints for slot in self._slots.values()}:
            for file in folder.glob(pattern):
                with contextlib.suppress(OSError):  # a resumption looks again, and fsck
                    file.unlink(missing_ok=True)

    async def reports(self) -> list[Event]:
        found = [await self._queue.get()]
        while not self._queue.empty():
            found.append(self._queue.get_nowait())
        events = [item for item in found if item is not None and not isinstance(item, Exception)]
        for end in found:
            if end is None or isinstance(end, Exception):
                if isinstance(end, Exception) and not events:
                    raise end
                if events:
                    self._queue.put_nowait(end)  # for the call after this one
        return events

    def drain(self) -> None:
        self._draining = True
        for slot in self._slots.values():
            if slot.process is None or slot.process.stdin is None:
                continue
            if slot.job is not None and slot.since is not None:
                self._send(slot, STOP)
            else:
                slot.job = None  # it was not begun
                slot.process.stdin.close()
        self._end_if_drained()

    def _end_if_drained(self) -> None:
        if self._draining and all(slot.process is None for slot in self._slots.values()):
            self._queue.put_nowait(None)

    async def close(self) -> None:
        self._closing = True
        await asyncio.gather(*(self._end(slot) for slot in self._slots.values()))

    async def _carry_out(self, slot: _Slot, job: Job, pause_s: float) -> None:
        """Send a job after a pause."""
        await asyncio.sleep(pause_s)
        if slot.job is job and slot.process is not None:
            slot.since = slot.heard = asyncio.get_running_loop().time()
            self._send(slot, job.model_dump_json().encode())

    async def _watch(self, slot: _Slot, process: Process) -> None:
        """Kill a worker that hangs, as it begins or with a job."""
        loop, look_s = asyncio.get_running_loop(), min(LOOK_S, self._patience.silence_s / 4)
        while process.returncode is None and slot.hung is None:
            await asyncio.sleep(look_s)
            now = loop.time()
            if slot.blocked and slot.since is not None:
                slot.since += look_s
            if not slot.ready:
                slot.hung = self._patience.verdict_on_start(now - slot.heard)
            elif slot.job is not None and slot.since is not None:
                slot.hung = self._patience.verdict(slot.job.type, slot.cost, now - slot.heard, now - slot.since)
        kill(process)

    async def _spawn(self, slot: _Slot) -> None:
        slot.process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            env=environment(slot.setup.device),
            limit=LINE_LIMIT_BYTES,
            start_new_session=True,  # Ctrl-C is for the orchestrator, which ends its workers itself
        )
        slot.hung, slot.ready, slot.blocked, slot.cancelled = None, False, False, False
        slot.heard = asyncio.get_running_loop().time()
        self._send(slot, slot.setup.model_dump_json().encode())
        if self._draining and slot.process.stdin is not None:
            slot.process.stdin.close()
        slot.tasks = [task for task in slot.tasks if not task.done()]
        slot.listening = asyncio.create_task(self._listen(slot, slot.process))
        slot.tasks += [slot.listening, asyncio.create_task(self._watch(slot, slot.process))]

    def _send(self, slot: _Slot, line: bytes) -> None:
        assert slot.process is not None
        assert slot.process.stdin is not None
        if not slot.process.stdin.is_closing():  # a dead worker is noticed by its listener
            slot.process.stdin.write(line + b"\n")

    async def _listen(self, slot: _Slot, process: Process) -> None:
        assert process.stdout is not None
        try:
            while line := await _line(process.stdout):
                self._receive(slot, line)
        except ValueError as error:  # what it says is no message of ours
            _log.error("worker %s is replaced: %.1000s", slot.setup.device, error)
            kill(process)
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
        if (reason := objection(event, slot.setup.device, slot.job, slot.ready)) is not None:
            raise ValueError(f"it reported {reason}")
        if isinstance(event, WorkerStarted):
            self._any_started = slot.ready = True
        if isinstance(event, WorkerBlocked | WorkerUnblocked):
            slot.blocked = isinstance(event, WorkerBlocked)
        if isinstance(event, JobFinished | JobFailed) and slot.job is not None:
            if isinstance(event, JobFinished):
                slot.deaths = 0
                slot.killers.clear()
                if event.attempt == 1 and slot.since is not None:  # a later one may have gone on in the middle
                    self._patience.learn(slot.job.type, slot.cost, slot.heard - slot.since)
            slot.job = None
        self._queue.put_nowait(event)

    def _receive_other(self, slot: _Slot, line: bytes) -> None:
        with contextlib.suppress(ValueError, AttributeError):
            fault = pydantic_core.from_json(line).get("setup_error")
            if fault is not None and self._any_started:  # it worked before: a matter of this slot, not of the run
                _log.error("worker %s can't be set up any more: %s", slot.setup.device, fault)
                slot.fault = fault
                return
            if fault is not None:
                self._queue.put_nowait(ConfigError(f"the workers can't be set up: {fault}"))
                return
        raise ValueError(f"it sent a line that is no event: {line[:200]!r}")

    async def _died(self, slot: _Slot, process: Process) -> None:
        if self._draining:  # with a job that is kept, or that will be trained again
            slot.process = None
            self._end_if_drained()
            return
        reason = "its job was cancelled" if slot.cancelled else slot.hung
        ending = f"was killed: {reason}" if reason else f"ended with {described(process.returncode)}"
        message = f"worker on {slot.setup.device} {ending}; see {self._log_of(slot)}"
        if slot.job is not None:
            job, slot.job = slot.job, None
            slot.killers.add(job.job_id)
            fault: Fault = "hang" if slot.hung else "crash"
            self._queue.put_nowait(JobFailed(job_id=job.job_id, attempt=job.attempt, fault=fault, message=message))
        elif not slot.cancelled:
            slot.deaths += 1
        self._queue.put_nowait(WorkerLost(device=slot.setup.device, message=message))
        slot.process = None
        others = any(other.process is not None for other in self._slots.values())
        blamed = others and len(slot.killers) >= MAX_DEATHS  # without others, `search.faults` ends the run
        if slot.fault is None and slot.deaths < MAX_DEATHS and not blamed:
            await self._spawn(slot)
        elif not others and slot.fault is not None:
            self._queue.put_nowait(ConfigError(f"the workers can't be set up any more: {slot.fault}"))
        elif not others:
            self._queue.put_nowait(InfrastructureError(f"no worker can be kept alive: {message}"))

    def _log_of(self, slot: _Slot) -> Path:
        return slot.setup.logs / f"worker-{slot.setup.device.replace(':', '-')}.log"

    async def _end(self, slot: _Slot) -> None:
        process = slot.process
        if process is not None and process.returncode is None:
            assert process.stdin is not None
            process.stdin.close()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended(process), END_TIMEOUT_S)
        if process is not None and slot.listening is not None:
            kill(process)
            await asyncio.wait({slot.listening}, timeout=END_TIMEOUT_S)  # it hears the end of the pipe
        for task in slot.tasks:
            task.cancel()
        await asyncio.gather(*slot.tasks, return_exceptions=True)


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError as error:
        raise ValueError(f"it sent a line of more than {LINE_LIMIT_BYTES} bytes") from error
