"""What becomes of a run's word on a real broker when connections are cut, processes hang and others say something else."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from brokers import PASSWORD, PROGRAM, USER, Mosquitto, Proxy
from simulated import EXAMPLE, Spnas, paced

from lineage.events import EpochFinished, JobAssigned, Recorded, RunFinished
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from orchestrator.errors import InfrastructureError
from orchestrator.live import address, client
from orchestrator.live.address import Address
from orchestrator.live.bus_setup import Setup
from orchestrator.live.client import Target
from orchestrator.live.endpoint import Mqtt
from orchestrator.live.server import Server, Way

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no mosquitto: apt-get install mosquitto")
EVENTS = 8


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A store with some events."""
    path = tmp_path / "lineage.duckdb"
    with EventStore.create(path) as store:
        job: dict[str, Any] = {"job_id": "j", "attempt": 1}
        assigned = JobAssigned(job_kind="fast_train", subject_id="s", device="cpu:0", **job)
        epochs = [EpochFinished(epoch=number, epochs=EVENTS, loss=1.0, **job) for number in range(1, EVENTS)]
        store.append([assigned, *epochs], datetime.now(UTC))
    return path


def way_to(port: int) -> Address:
    return Address("127.0.0.1", port, USER, PASSWORD)


@asynccontextmanager
async def live(database: Path, port: int, identity: str | None = None) -> AsyncIterator[Server]:
    """A run that is served in this process; its broker has all events, and its status."""
    setup = Setup(database=database, run="run", key="k" * 32, client_id=identity, url=f"mqtt://127.0.0.1:{port}")
    server = Server(setup, Way(way_to(port), Mqtt(url="")), lambda _: None)
    server.publisher.stand("running", EVENTS)
    task = asyncio.create_task(server.run())
    try:
        await until(lambda: server.publisher.is_done)
        yield server
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until(condition: Any, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def states(broker: Mosquitto) -> AsyncIterator[list[str]]:
    """What stands as the run's status, from now on."""
    found: list[str] = []

    async def listen(connection: aiomqtt.Client) -> None:
        async for message in connection.messages:
            said = json.loads(message.payload or b"{}")
            found.append(said.get("state", ""))

    async with way_to(broker.port).client() as connection:
        await connection.subscribe("spnas/run/status", qos=1)
        listening = asyncio.create_task(listen(connection))
        yield found
        listening.cancel()


async def test_a_broker_gives_up_a_connection_that_was_cut_for_the_next_one_of_its_run(
    plain: Mosquitto, database: Path
) -> None:
    async with Proxy(plain.port) as proxy, live(database, proxy.port, "spnas-1"), states(plain) as seen:
        await until(lambda: seen == ["running"])
        proxy.cut()
        await until(lambda: proxy.given_up == 1, timeout_s=5)  # long before 45 s without a word are over
        await until(lambda: seen[-1] == "running")


async def test_a_run_that_is_said_to_be_lost_says_that_it_is_not(
    plain: Mosquitto, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "KEEPALIVE_S", 1)
    async with Proxy(plain.port) as proxy, live(database, proxy.port), states(plain) as seen:
        await until(lambda: seen == ["running"])
        proxy.cut()
        await until(lambda: seen[-3:] == ["running", "lost", "running"])


async def test_two_that_are_one_run_contradict_each_other_once(plain: Mosquitto, database: Path) -> None:
    async with states(plain) as seen, live(database, plain.port), live(database, plain.port):
        await asyncio.sleep(1)
        assert 2 <= len(seen) <= 4
        assert set(seen) == {"running"}


async def test_a_status_that_somebody_deletes_comes_back(plain: Mosquitto, database: Path) -> None:
    async with live(database, plain.port), states(plain) as seen:
        async with way_to(plain.port).client() as other:
            await other.publish("spnas/run/status", b"", qos=1, retain=True)
        await until(lambda: seen[-2:] == ["", "running"])


async def test_a_broker_takes_nobody_for_lost_who_leaves_with_much_unread(plain: Mosquitto) -> None:
    will = aiomqtt.Will("spnas/run/status", '{"state": "lost"}', qos=1, retain=True)
    async with states(plain) as seen, way_to(plain.port).client() as other:
        for number in range(50):
            await other.publish(f"much/{number}", bytes(10_000), qos=1, retain=True)
        async with way_to(plain.port).client(will=will) as leaving:
            leaving._client.subscribe("much/+")
            time.sleep(0.3)  # it comes, and nobody reads it
        await other.publish("spnas/run/status", '{"state": "left"}', qos=1)
        await until(lambda: seen)
        await asyncio.sleep(0.2)
        assert seen == ["left"]


async def test_a_watcher_that_hears_events_does_not_take_their_run_for_lost(
    plain: Mosquitto, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETURN_S", 0.4)
    with open_snapshot(database) as store:
        events = list(store.read())
    status = {"state": "lost", "run": "run", "session": "s"}

    async def tell() -> None:
        async with way_to(plain.port).client() as run:
            await run.publish("spnas/run/status", json.dumps(status), qos=1, retain=True)
            for one in events:
                await asyncio.sleep(0.2)
                await run.publish(f"spnas/run/events/{one.event.kind}", one.model_dump_json(), qos=1)
            over = status | {"state": "completed", "seq": EVENTS}
            await run.publish("spnas/run/status", json.dumps(over), qos=1, retain=True)

    telling = asyncio.create_task(tell())
    target = Target(way_to(plain.port), "spnas", "run")
    assert [one async for one in client.follow(target, 0)] == events
    await telling


async def test_a_watcher_gives_up_in_time_and_says_how_to_go_on(
    plain: Mosquitto, database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(client, "GONE_S", 0.5)
    monkeypatch.setattr(client, "PAUSE_S", 0.1)
    target, found = Target(way_to(plain.port), "spnas", "run"), []

    async def watch() -> None:
        async for one in client.follow(target, 0):
            found.append(one.seq)
            if one.seq == EVENTS:
                plain.stop()

    async with live(database, plain.port), asyncio.timeout(20):
        with pytest.raises(InfrastructureError, match=f"events up to {EVENTS}: go on with --after {EVENTS}"):
            await watch()
    assert found == list(range(1, EVENTS + 1))
    assert capsys.readouterr().err.count("\n") == 1


class Rude:
    """A client whose broker fails just as it is left."""

    async def __aenter__(self) -> Rude:
        return self

    async def __aexit__(self, *exception: object) -> None:
        raise aiomqtt.MqttError("Operation timed out")

    async def subscribe(self, *_: object, **__: object) -> None:
        await asyncio.sleep(3600)


async def test_publishing_ends_when_it_is_told_to_also_where_the_broker_fails_just_then(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Address, "client", lambda *_, **__: Rude())
    setup = Setup(database=database, run="run", key="k", url="mqtt://h")
    task = asyncio.create_task(Server(setup, Way(way_to(1), Mqtt(url="")), lambda _: None).run())
    await asyncio.sleep(0.1)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done


DEAF = """
import asyncio
from orchestrator.live import bus_server, publisher, server

async def deaf(self):
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

publisher.Publisher.run = deaf
bus_server.LAST_S = server.LAST_S = 0.2
asyncio.run(bus_server.main())
"""


def test_a_bus_that_hangs_ends_after_its_run_for_certain(database: Path) -> None:
    setup = Setup(database=database, run="run", key="k")
    with subprocess.Popen(
        [sys.executable, "-c", DEAF], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(setup.model_dump_json() + "\n")
        process.stdin.flush()
        assert "mqtt" in json.loads(process.stdout.readline())
        process.stdin.close()
        try:
            assert process.wait(10) == 1
        finally:
            process.kill()
        assert process.stderr is not None
        assert "after its input" in process.stderr.read()


def test_every_watcher_of_the_runs_own_broker_hears_its_end(tmp_path: Path) -> None:
    job: dict[str, Any] = {"job_id": "j", "attempt": 1}
    epochs = [EpochFinished(epoch=number, epochs=400, loss=1.0, **job) for number in range(1, 401)]
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        assigned = JobAssigned(job_kind="fast_train", subject_id="s", device="cpu:0", **job)
        events = store.append([assigned, *epochs, RunFinished(outcome="completed", reason="")], datetime.now(UTC))
    setup = Setup(database=tmp_path / "lineage.duckdb", run="run", key="k")
    command = [sys.executable, "-m", "orchestrator.live.bus_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(setup.model_dump_json() + "\n")
        process.stdin.flush()
        mqtt = Mqtt.model_validate(json.loads(process.stdout.readline())["mqtt"])
        way = Address("127.0.0.1", int(mqtt.url.rpartition(":")[2]), mqtt.username, mqtt.password)

        async def watch() -> list[Recorded]:
            return [one async for one in client.follow(Target(way, "spnas", "run"), 0)]

        async def story() -> list[list[Recorded]]:
            watching = [asyncio.create_task(watch()) for _ in range(6)]
            await asyncio.sleep(1)  # so that all of them listen
            assert process.stdin is not None
            process.stdin.writelines(f"{one.model_dump_json()}\n" for one in events)
            process.stdin.close()
            async with asyncio.timeout(20):
                return await asyncio.gather(*watching)

        found = asyncio.run(story())
        assert process.wait(10) == 0
    assert [len(one) for one in found] == [len(events)] * 6
    assert found == [events] * 6


def retained(broker: Mosquitto) -> dict[str, Any]:
    """The status that stands there."""

    async def ask() -> dict[str, Any]:
        async with asyncio.timeout(10), way_to(broker.port).client() as connection:
            await connection.subscribe("spnas/run/status", qos=1)
            message = await anext(aiter(connection.messages))
            found: dict[str, Any] = json.loads(message.payload)
            return found

    return asyncio.run(ask())


def test_what_a_broker_that_hung_missed_at_the_end_of_a_run_it_gets_when_that_is_resumed(
    plain: Mosquitto, tmp_path: Path, spnas: Spnas
) -> None:
    heard: list[int] = []

    async def listen() -> None:
        async with way_to(plain.port).client() as connection:
            await connection.subscribe("spnas/run/events/+", qos=1)
            async for message in connection.messages:
                said = json.loads(message.payload)
                heard.append(said["seq"])

    async def story() -> str:
        listening = asyncio.create_task(listen())
        await asyncio.sleep(0.3)
        process = paced(tmp_path, *plain.settings)
        await until(lambda: len(heard) > 20, timeout_s=60)
        plain.signal(signal.SIGSTOP)
        _, errors = await asyncio.to_thread(process.communicate, timeout=60)
        assert process.returncode == 0, errors
        plain.signal(signal.SIGCONT)
        resumed = await asyncio.to_thread(spnas, "resume", "run", "--no-tui")
        assert resumed.returncode == 0, resumed.stderr
        assert resumed.stderr == ""
        last = numbers(tmp_path / "run")[-1]
        await until(lambda: heard[-1] == last)
        listening.cancel()
        return errors

    errors = asyncio.run(story())
    run = tmp_path / "run"
    assert f"spnas-orch resume {run}" in errors
    assert list(dict.fromkeys(heard)) == numbers(run)
    stands = retained(plain)
    assert (stands["state"], stands["seq"]) == ("completed", numbers(run)[-1])
    plain.stop()
    unreached = spnas("resume", "run", "--no-tui")
    assert unreached.returncode == 0
    assert f"publishing to localhost:{plain.port}" in unreached.stderr
    assert "spnas-orch resume" in unreached.stderr


def numbers(run: Path) -> list[int]:
    with open_snapshot(run / "lineage.duckdb") as store:
        return [one.seq for one in store.read()]


def test_a_run_that_is_over_and_never_was_on_a_broker_is_not_published_when_it_is_resumed(
    plain: Mosquitto, spnas: Spnas
) -> None:
    plain.stop()
    told = ["--simulate", "--run-dir", "run", *plain.settings]
    assert spnas("start", EXAMPLE / "sp_nas.yml", *told).returncode == 0
    done = spnas("resume", "run", "--no-tui")
    assert (done.returncode, done.stderr) == (0, "")
