"""How fast events go out on MQTT, and what the writer of the log pays for it: `python benchmarks/bus.py [EVENTS]`.

Epochs of a training are appended one transaction each, as a search does, without and with the bus beside; and how fast a
client of the embedded broker hears them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import aiomqtt

from lineage.events import EpochFinished, JobAssigned
from lineage.store import EventStore
from lineage.writer import EventWriter
from orchestrator.general import General
from orchestrator.live.service import Broker, Service
from orchestrator.run_folder import RunFolder


async def measure(folder: Path, count: int, *, with_bus: bool) -> tuple[float, float]:
    """Events a second that were recorded, and that a client of the embedded broker heard."""
    run = RunFolder(folder)
    run.logs.mkdir(parents=True)
    service = Service(run, General(), Broker(), lambda *_: asyncio.Future(), 0)
    heard_rate = 0.0
    with EventStore.create(run.database) as store, EventWriter(store) as writer:
        assigned = JobAssigned(job_id="j", job_kind="fast_train", subject_id="s", device="cpu:0", attempt=1)
        writer.append([assigned], datetime.now(UTC)).result()
        hearing = None
        if with_bus:
            service.start()
            hearing = asyncio.create_task(hear(run, count))
            await asyncio.sleep(4)
        began = time.perf_counter()
        for number in range(1, count + 1):
            event = EpochFinished(job_id="j", attempt=1, epoch=number, epochs=count, loss=1.0, ap=0.1)
            (recorded,) = await asyncio.wrap_future(writer.append([event], datetime.now(UTC)))
            if with_bus:
                service.publish(recorded)
        rate = count / (time.perf_counter() - began)
        if hearing is not None:
            heard_rate = count / (await hearing - began)
            await service.close()
    return rate, heard_rate


async def hear(run: RunFolder, count: int) -> float:
    """When a client has heard so many events."""
    while not (run.endpoint.exists() and "mqtt" in json.loads(run.endpoint.read_text())):
        await asyncio.sleep(0.05)
    mqtt = json.loads(run.endpoint.read_text())["mqtt"]
    port = int(mqtt["url"].rpartition(":")[2])
    login = {"username": mqtt["username"], "password": mqtt["password"]}
    async with aiomqtt.Client("127.0.0.1", port, **login) as client:
        await client.subscribe("spnas/+/events/EpochFinished", qos=1)
        heard = 0
        async for _ in client.messages:
            heard += 1
            if heard == count:
                return time.perf_counter()
    raise AssertionError


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    for with_bus in (False, True, False, True):
        with tempfile.TemporaryDirectory() as folder:
            rate, heard = asyncio.run(measure(Path(folder) / "run", count, with_bus=with_bus))
        more = f", heard {heard:.0f} events/s" if with_bus else ""
        beside = "with the bus and the SQL server" if with_bus else "alone"
        sys.stdout.write(f"{beside}: recorded {rate:.0f} events/s{more}\n")


if __name__ == "__main__":
    main()
