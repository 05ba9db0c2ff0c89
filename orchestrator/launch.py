"""From a configuration or a run folder to a running search and back: lock, store, executor, signals, outputs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from lineage.cost import Heads
from lineage.errors import StoreError
from lineage.events import Event, JobAssigned, Recorded, RunResumed, RunStarted
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from lineage.wal import wal_of
from orchestrator.config import RunConfig
from orchestrator.devices import find_devices
from orchestrator.drive import Watchers, drive
from orchestrator.errors import ConfigError, InfrastructureError, RunError, UserError
from orchestrator.executors import Executor
from orchestrator.executors.local import LocalExecutor
from orchestrator.executors.simulated import EPOCH, SimulatedExecutor
from orchestrator.forking import Fork, share_weights
from orchestrator.history import followed
from orchestrator.live.service import broker_of
from orchestrator.outputs import write_outputs
from orchestrator.preparation import check_limits, check_workdir
from orchestrator.refetch import refetch
from orchestrator.run_folder import RunFolder
from orchestrator.search.state import SearchState
from orchestrator.sources import given_networks
from trainers.protocol import CHECKPOINT, WorkerSetup, unfinished

SIMULATED_SLOTS = 2

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a new run does: `config` as validated, and `text` as the user wrote it; relative paths start from `workdir`.

    `heads` are what the template's detector costs beside backbone and neck, where that is known.
    """

    config: RunConfig
    text: str
    workdir: Path
    simulate: bool = False
    heads: Heads | None = None


def start_run(folder: RunFolder, plan: Plan, watchers: Watchers, speed: float | None = None) -> SearchState:
    """Make the run folder and search until the end or an interrupt; a run that can't even be set up leaves no folder.

    Raises:
        UserError: the folder or the configuration can't be used.
        InfrastructureError: no worker can be kept alive.
    """
    config = plan.config
    devices = (
        [f"sim:{slot}" for slot in range(config.general.worker.cpu_workers or SIMULATED_SLOTS)]
        if plan.simulate
        else find_devices(config.general.worker.cpu_workers)
    )
    started = RunStarted(
        run_id=folder.name,
        seed=config.general.seed,
        simulated=plan.simulate,
        slots=len(devices),
        window=len(devices),
        config=config.to_mapping(),
        workdir=str(plan.workdir),
        versions={"spnas-orch": importlib.metadata.version("spnas-orch"), "python": platform.python_version()},
        heads=plan.heads,
    )
    with _making(folder, plan.text, watchers) as watched, EventStore.create(folder.database) as store:
        given = given_networks(config, plan.workdir, folder.checkpoints, plan.simulate, plan.heads)
        check_limits(config, given, plan.heads)
        executor = _executor(folder, started, devices, EPOCH, speed)
        return drive(folder, store, SearchState(), executor, [started, *given], watched, plan.workdir)


def fork_run(
    folder: RunFolder, fork: Fork, watchers: Watchers, speed: float | None = None, more: Sequence[Event] = ()
) -> SearchState:
    """Make the run folder of a fork and go on from where it leaves its source; `more` is recorded before. Raises as
    `start_run`, and like that leaves no folder where there is no run. The log is written last, and at once.
    """
    with _making(folder, fork.text, watchers) as watched:
        gone = share_weights(fork, folder)
        with EventStore.create(folder.database) as store:
            store.append_groups(fork.groups(folder.name, gone, list(more)))
            if gone:
                _log.warning(
                    "%d checkpoints are gone since from %s: they are made again once a training needs them",
                    len(gone),
                    fork.source.path,
                )
            return _go_on(folder, store, watched, speed, fork.at_seq)


def resume_run(folder: RunFolder, watchers: Watchers, speed: float | None = None) -> SearchState:
    """Fold the log and go on where it ends; a run that is over gets its outputs written again. Raises as `start_run`."""
    with folder.held():
        with EventStore.open(folder.database) as store:
            before = _last_seq(store)
            state = _go_on(folder, store, watchers, speed)
            was_over = state.is_over and _last_seq(store) == before
        if was_over:
            _tell_the_end(folder, state, before)
    return state


def _go_on(
    folder: RunFolder, store: EventStore, watchers: Watchers, speed: float | None, told_seq: int | None = None
) -> SearchState:
    """Go on where the log ends; what comes after `told_seq` in it is new to listeners."""
    log = list(store.read())
    if not log or not isinstance(log[0].event, RunStarted):
        raise RunError(f"{folder.path} holds no run: its log does not begin with RunStarted; start a new run")
    started, state = log[0].event, SearchState()
    if speed is not None and not started.simulated:
        raise RunError("--speed goes with a simulated run: a real training takes the time it takes")
    for recorded in log:
        state = followed(state, recorded, folder.path)
        is_told = told_seq is None or recorded.seq <= told_seq
        for listener in watchers.replay if is_told else watchers.listeners:
            listener(recorded)
    _sweep(folder, state)
    if state.is_over:
        write_outputs(store, folder, state)
        return state
    devices = (
        [f"sim:{slot}" for slot in range(started.slots)]
        if started.simulated
        else find_devices(started.config["general"]["worker"]["cpu_workers"])
    )
    if not started.simulated:
        check_workdir(Path(started.workdir))
        refetch(folder, state, Path(started.workdir))
    executor = _executor(folder, started, devices, log[-1].ts, speed)
    workdir, last_seq = Path(started.workdir), log[-1].seq
    return drive(folder, store, state, executor, [RunResumed()], watchers, workdir, last_seq)


def _last_seq(store: EventStore) -> int:
    ((last,),) = store.query("SELECT coalesce(max(seq), 0) FROM events").rows
    return int(last)


def _tell_the_end(folder: RunFolder, state: SearchState, last_seq: int) -> None:
    """Let a broker of the user's have what it missed of a run that is over."""
    with open_snapshot(folder.database) as store:
        started = next(store.read(kinds=["RunStarted"])).event
    assert isinstance(started, RunStarted)
    assert state.config is not None
    bus = state.config.general.bus
    if bus.url is None or (started.simulated and not folder.published.exists()):  # at full speed it publishes nothing
        return
    from orchestrator.live.catching_up import catch_up  # MQTT, which few do this for

    outcome: Literal["completed", "failed"] = "failed" if state.status == "failed" else "completed"
    try:
        catch_up(folder, bus, broker_of(bus, Path(started.workdir)), outcome, last_seq)
    except (ConfigError, InfrastructureError) as error:
        _log.warning("%s; the next spnas-orch resume publishes what the broker has not of this run", error)


def _sweep(folder: RunFolder, state: SearchState) -> None:
    """Remove what a worker that was killed left half written, and what was to go when the run was killed."""
    over = {
        job.job_id
        for job in state.jobs.values()
        if job.status == "finished" or state.subject(job.subject_id).outcome == "abandoned"
    }
    for file in [
        *folder.checkpoints.glob(".*.partial"),
        *(file for file in folder.checkpoints.glob(unfinished("*")) if file.name.partition(".")[0] in over),
        *(folder.checkpoints / f"{name}.safetensors" for name in state.deleted if re.fullmatch(CHECKPOINT, name)),
    ]:
        file.unlink(missing_ok=True)


@contextmanager
def _making(folder: RunFolder, text: str, watchers: Watchers) -> Iterator[Watchers]:
    """A new run folder, held, and who watches the run; the folder goes again where the run can't be set up."""
    assignments: list[Recorded] = []

    def notice(recorded: Recorded) -> None:
        if isinstance(recorded.event, JobAssigned):
            assignments.append(recorded)

    made = _make(folder)
    with folder.held():
        try:
            _fill(folder, text)
            yield replace(watchers, listeners=(notice, *watchers.listeners))
        except (UserError, StoreError, KeyboardInterrupt):
            if not assignments:  # it is no run yet: later, what went wrong costs nothing that was done
                _remove(folder, made)
            raise


def _make(folder: RunFolder) -> list[Path]:
    """Make the folder, empty; what to remove again when the run can't be set up."""
    try:
        existed = folder.path.exists()
        missing = [parent for parent in folder.path.parents if not parent.exists()]
        folder.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"can't make the run folder {folder.path}: {error.strerror}") from error
    inside = [
        folder.checkpoints,
        folder.logs,
        folder.config,
        folder.database,
        folder.lock,
        wal_of(folder.database),
        folder.endpoint,
        folder.published,
    ]
    return inside if existed else [folder.path, *missing]


def _fill(folder: RunFolder, text: str) -> None:
    try:
        for path in (folder.checkpoints, folder.logs):
            path.mkdir()
        folder.config.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"can't make the run folder {folder.path}: {error.strerror}") from error


def _remove(folder: RunFolder, made: Sequence[Path]) -> None:
    for path in made:
        if path in folder.path.parents:
            with contextlib.suppress(OSError):
                path.rmdir()  # only if it is empty
        else:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _executor(
    folder: RunFolder, started: RunStarted, devices: Sequence[str], now: datetime, speed: float | None = None
) -> Executor:
    if started.simulated:
        return SimulatedExecutor(devices, now, speed)
    first = started.config[started.config["pipeline"][0]]
    workdir = Path(started.workdir)
    return LocalExecutor(
        [
            WorkerSetup(
                device=device,
                template=workdir / first["trainer"]["template"],
                workdir=workdir,
                checkpoints=folder.checkpoints,
                logs=folder.logs,
                image_size=first["search_space"]["image_size"],
            )
            for device in devices
        ]
    )
