"""`replay`: the events of a run that is over go out on the bus once more, at the pace they came or another."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from lineage.snapshot import open_snapshot
from orchestrator.errors import InfrastructureError, UserError
from orchestrator.live import endpoint
from orchestrator.live.bus_setup import Setup
from orchestrator.live.endpoint import Endpoint, Mqtt
from orchestrator.live.server import Server, Way, open_way
from orchestrator.live.service import bus_of
from orchestrator.run_folder import RunFolder, find_run

AHEAD = 100  # events that wait for the broker
PAUSE_S = 0.02
GRACE_S = 1.0  # that clients of the embedded broker have to hear the end


def replay(run: str, speed: float | None, after: int) -> None:
    """Publish a run's events after a sequence number, `speed` times as fast as they came (None: as fast as it goes).

    Where no broker is configured, one is started here, written to ``replay.json`` in the run's folder, and its first client
    is waited for.

    Raises:
        UserError: the run is live, or has no such event.
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
    asyncio.run(_replay(folder, setup, speed))


class _Replay:
    """One replay, on its way to the broker."""

    def __init__(self, setup: Setup, way: Way) -> None:
        self._database, self._way = setup.database, way
        self._trouble: list[str] = []
        self.server = Server(setup, way.address, self._hear)

    async def run(self, speed: float | None, after: int) -> None:
        publisher, embedded = self.server.publisher, self._way.embedded
        if embedded is not None:
            await self._until(lambda: embedded.clients > 1)
        before: datetime | None = None
        with open_snapshot(self._database) as store:
            for recorded in store.read(after_seq=after):
                if before is not None and speed is not None:
                    await asyncio.sleep(max(0.0, (recorded.ts - before).total_seconds()) / speed)
                before = recorded.ts
                publisher.publish(recorded)
                await self._until(lambda: publisher.behind <= AHEAD)
        await self._until(lambda: publisher.is_done)
        if embedded is not None:
            await asyncio.sleep(GRACE_S)

    async def _until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            if self._trouble:
                raise InfrastructureError(f"{self._trouble[0]}; see general.bus in the run's configuration")
            await asyncio.sleep(PAUSE_S)

    def _hear(self, said: dict[str, Any]) -> None:
        if "trouble" in said:
            self._trouble.append(said["trouble"])


async def _replay(folder: RunFolder, setup: Setup, speed: float | None) -> None:
    way = await open_way(setup)
    path = folder.path / "replay.json"
    replay = _Replay(setup, way)
    publishing = asyncio.create_task(replay.server.publisher.run())
    try:
        if way.embedded is not None:
            _offer(path, way.offered, setup)
        await replay.run(speed, setup.after)
    finally:
        publishing.cancel()
        path.unlink(missing_ok=True)


def _offer(path: Path, offered: Mqtt, setup: Setup) -> None:
    endpoint.write(path, Endpoint(pid=os.getpid(), mqtt=offered))
    url = offered.url.replace("://", f"://{offered.username}@")
    sys.stderr.write(
        f"the first client is waited for: spnas-orch watch {url}/{setup.run} --json, with the password in {path} "
        "as $SPNAS_MQTT_PASSWORD\n"
    )
