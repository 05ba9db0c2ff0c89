"""`replay`: the events of a run that is over go out on the bus once more, at the pace they came or another."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from lineage.snapshot import open_snapshot
from orchestrator import ending
from orchestrator.errors import RunError, UserError
from orchestrator.live import endpoint
from orchestrator.live.beside import end
from orchestrator.live.bus_setup import Setup
from orchestrator.live.endpoint import Endpoint, Mqtt
from orchestrator.live.service import bus_of
from orchestrator.live.serving import Serving, serving
from orchestrator.run_folder import RunFolder, find_run

AHEAD = 100  # events that wait for the broker


def replay(run: str, speed: float | None, after: int) -> None:
    """Publish a run's events after a sequence number, `speed` times as fast as they came (None: as fast as it goes).

    Where no broker is configured, one is started here, written to ``replay.json`` in the run's folder, and its first client
    is waited for.

    Raises:
        UserError: the run is live, is replayed already, or has no such event.
        InfrastructureError: the broker can't be reached.
    """
    folder = find_run(run)
    if folder.process() is not None:
        raise UserError(f"run {run} is live: its events are published as they come")
    with open_snapshot(folder.database) as store:
        bus, broker = bus_of(store)
        ((last,),) = store.query("SELECT max(seq) FROM events").rows
    if after >= last:
        raise UserError(f"run {run} has events up to {last}, and none after {after}")
    setup = Setup(
        database=folder.database,
        run=folder.name,
        key=secrets.token_hex(16),  # nobody has it: a replay does as it is told by nobody
        after=after,
        prefix=bus.prefix,
        url=bus.url,
        password=broker.password,
        ca=broker.ca,
    )
    with _alone(folder):
        ending.run(_replay(folder, setup, speed))


@contextmanager
def _alone(folder: RunFolder) -> Iterator[None]:
    """Be the only replay of a run. Raises RunError."""
    try:
        file = folder.replay_lock.open("a+")
    except OSError as error:
        raise RunError(f"can't write into {folder.path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read(20).strip() or "(just starting)"
            raise RunError(f"process {owner} replays run {folder.name}: wait for it, or end it first") from None
        file.truncate(0)
        os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


async def _replay(folder: RunFolder, setup: Setup, speed: float | None) -> None:
    async with serving(setup) as found:
        if found.way.embedded is None:
            await _publish(setup, found, speed)
            return
        try:
            _offer(folder.replay, found.way.offered, setup)
            await found.until(lambda: found.has_clients)
            await _publish(setup, found, speed)
            await found.way.embedded.serve_out()
        finally:
            folder.replay.unlink(missing_ok=True)
        end(0)  # the broker's tasks do not end when they are told to


async def _publish(setup: Setup, found: Serving, speed: float | None) -> None:
    publisher = found.server.publisher
    before: datetime | None = None
    with open_snapshot(setup.database) as store:
        for recorded in store.read(after_seq=setup.after):
            if before is not None and speed is not None:
                await asyncio.sleep(max(0.0, (recorded.ts - before).total_seconds()) / speed)
            before = recorded.ts
            publisher.publish(recorded)
            await found.until(lambda: publisher.behind <= AHEAD)
    await found.until(lambda: publisher.is_done)


def _offer(path: Path, offered: Mqtt, setup: Setup) -> None:
    endpoint.write(path, Endpoint(pid=os.getpid(), mqtt=offered))
    url = offered.url.replace("://", f"://{offered.username}@")
    sys.stderr.write(
        f"the first client is waited for: spnas-orch watch {url}/{setup.run} --json, with the password in {path} "
        "as $SPNAS_MQTT_PASSWORD\n"
    )
