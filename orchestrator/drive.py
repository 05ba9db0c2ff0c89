"""A search from its state and executor to its end: store, signals, what it offers to others, and who watches it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lineage.events import Event, Recorded
from lineage.store import EventStore
from lineage.writer import EventWriter
from orchestrator.ending import INTERRUPTED, left_to_the_search
from orchestrator.executors import Executor
from orchestrator.executors.simulated import SimulatedExecutor
from orchestrator.live.service import Service, broker_of
from orchestrator.outputs import write_outputs
from orchestrator.requests import user_name
from orchestrator.run_folder import RunFolder
from orchestrator.runtime import Listener, Runtime
from orchestrator.search.control import Request, Stop, answered
from orchestrator.search.evolve import evolve
from orchestrator.search.state import SearchState

Companion = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who watches a run: listeners hear every new event, `replay` those of before a resumption.

    A companion, such as a terminal UI, runs beside the search in its event loop; the search does not wait for it.
    """

    listeners: tuple[Listener, ...] = ()
    replay: tuple[Listener, ...] = ()
    companion: Companion | None = None


def drive(
    folder: RunFolder,
    store: EventStore,
    state: SearchState,
    executor: Executor,
    first: Sequence[Event],
    watchers: Watchers,
    workdir: Path,
    last_seq: int = 0,
) -> SearchState:
    """Record `first`, then search on; relative paths in the configuration start from `workdir`. Raises as `start_run`."""
    with EventWriter(store) as writer, left_to_the_search():
        now = executor.now if isinstance(executor, SimulatedExecutor) else lambda: datetime.now(UTC)
        runtime = Runtime(state, writer, executor, now)
        runtime.listeners.extend(watchers.listeners)
        folder.endpoint.unlink(missing_ok=True)  # of a process that was killed, and may have had the same number
        service = _service(folder, workdir, runtime, first, last_seq) if _takes_time(executor) else None
        finish = partial(write_outputs, store, folder)
        return asyncio.run(_search(runtime, first, watchers.companion, service, finish))


def _takes_time(executor: Executor) -> bool:
    """A simulation at full speed is over before anybody could ask it something."""
    return not isinstance(executor, SimulatedExecutor) or executor.speed is not None


def _service(folder: RunFolder, workdir: Path, runtime: Runtime, first: Sequence[Event], last_seq: int) -> Service:
    state = runtime.state if runtime.state.config is not None else evolve(runtime.state, first[0])
    assert state.config is not None
    general = state.config.general

    def ask(request: Request, by: str) -> asyncio.Future[Recorded]:
        if isinstance(request, Stop) and runtime.state.status == "running":
            return runtime.ask_to_stop(by)
        return runtime.ask(lambda now: answered(now, request, by))

    return Service(folder, general, broker_of(general.bus, workdir), ask, last_seq)


async def _search(
    runtime: Runtime,
    first: Sequence[Event],
    companion: Companion | None,
    service: Service | None,
    finish: Callable[[SearchState], None],
) -> SearchState:
    """Run the search beside its companion, `finish` once it is over, then wait until the companion is closed."""
    beside = None if companion is None else asyncio.ensure_future(companion())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _interrupt, runtime, beside, number)
    if service is not None:
        runtime.listeners.append(service.publish)
        service.start()
    try:
        state = await runtime.run(first)
        finish(state)
    except BaseException:
        if beside is not None:
            beside.cancel()
        raise
    finally:
        if beside is not None:
            await asyncio.gather(beside, return_exceptions=True)
        if service is not None:
            await service.close()
    return state


def _interrupt(runtime: Runtime, beside: asyncio.Future[None] | None, number: signal.Signals) -> None:
    """The first signal stops the run in order; the second ends the process at once (workers end with it)."""
    if runtime.is_asked_to_stop:
        os._exit(INTERRUPTED)
    runtime.ask_to_stop(f"{user_name()} ({number.name})")
    if beside is not None:
        beside.cancel()
