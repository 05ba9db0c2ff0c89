"""A process beside the search that hears every event once it is durable, and that the search never waits for.

It gets its setup as one JSON line, then events as they are recorded; what happened before, it reads from the store. It ends
with its input. One that ends by itself, or does not read what it is sent, is replaced after a pause; the new one reads what
it missed. What it says, a JSON object a line, goes to `hear`, and an empty object once it has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pydantic_core

MAX_BACKLOG_BYTES = 2**25  # that a process may leave unread
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
STEADY_S = 10.0  # a process that lived so long is not to blame for the pauses of those before it
MANY = 2  # ends in a row are told
LAST_S = 0.5  # from the end of what a process says to its own
LINE_LIMIT_BYTES = 2**22

Said = dict[str, Any]

_log = logging.getLogger(__name__)


class Child:
    """One such process: ``python -m module``. `setup` is asked for anew for each; `environment` is all that it sees."""

    def __init__(
        self,
        module: str,
        setup: Callable[[], str],
        hear: Callable[[Said], None],
        environment: Mapping[str, str],
        log: Path,
    ) -> None:
        self._module, self._setup, self._hear = module, setup, hear
        self._environment, self._log_path = dict(environment), log
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._is_told = False

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_alive())

    def send(self, line: bytes) -> None:
        """Hand on a line, without waiting. Where no process runs it is lost: the next one reads the store."""
        if self._process is None or self._process.stdin is None or self._process.stdin.is_closing():
            return
        self._process.stdin.write(line + b"\n")
        if self._process.stdin.transport.get_write_buffer_size() > MAX_BACKLOG_BYTES:
            _log.warning("%s does not keep up: it is replaced", self._module)
            self._kill()

    async def close(self, patience_s: float) -> None:
        """End its input, and the process, if it does not end by itself in time."""
        self._closing.set()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=patience_s)
            self._kill()
            await self._task

    async def _keep_alive(self) -> None:
        pause_s, ends, loop = FIRST_PAUSE_S, 0, asyncio.get_running_loop()
        while not self._closing.is_set():
            began = loop.time()
            try:
                await self._live()
            except OSError as error:
                _log.warning("%s can't be started: %s", self._module, error)
            self._hear({})
            ends += 1
            if loop.time() - began > STEADY_S:
                pause_s, ends = FIRST_PAUSE_S, 0
            if ends == MANY and not self._closing.is_set():
                self._tell()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _tell(self) -> None:
        """Say, once, that it does not work."""
        if not self._is_told:
            self._is_told = True
            _log.warning(
                "%s keeps ending and is started again; the run goes on without: see %s", self._module, self._log_path
            )

    async def _live(self) -> None:
        """Start a process and hear it to its end."""
        with self._log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                self._module,
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                env=self._environment,
                limit=LINE_LIMIT_BYTES,
                start_new_session=True,  # Ctrl-C is for the orchestrator
            )
        self._process = process
        if self._closing.is_set():  # there was no process yet whose input could be ended
            self._kill()
        self.send(self._setup().encode())
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                with contextlib.suppress(ValueError):
                    said = pydantic_core.from_json(line)
                    if isinstance(said, dict):
                        self._hear(said)
            with contextlib.suppress(TimeoutError):  # asyncio warns of one that is killed in the moment that it ends
                await asyncio.wait_for(process.wait(), LAST_S)
        except ValueError:
            _log.warning("%s said more in one line than it may: it is replaced", self._module)
        finally:
            if process.returncode is None:
                self._kill()
        await process.wait()
        self._process = None

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
