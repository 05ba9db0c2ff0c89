"""The embedded broker hears each of its clients, and stays until they have what is there for them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

import aiomqtt
import pytest

from orchestrator.live import broker
from orchestrator.live.address import Address
from orchestrator.live.broker import OWNER, RUN, Embedded


@pytest.fixture
async def embedded() -> AsyncIterator[Embedded]:
    started = await broker.start("for the run", "for its owner", "spnas/run/requests")
    yield started
    await started.broker.shutdown()


def client(embedded: Embedded, name: str = OWNER) -> aiomqtt.Client:
    password = "for the run" if name == RUN else "for its owner"
    return Address(broker.HOST, embedded.port, name, password).client()


async def test_clients_that_come_while_others_come_and_go_are_all_answered(embedded: Embedded) -> None:
    async def come_and_go(times: int) -> None:
        for _ in range(times):
            async with asyncio.timeout(5), client(embedded) as one:
                await one.subscribe("spnas/run/status", qos=1)
                await one.subscribe(f"spnas/run/replies/{secrets.token_hex(8)}", qos=1)
                await anext(aiter(one.messages))

    async with client(embedded, RUN) as run, client(embedded) as steady:
        await run.publish("spnas/run/status", b"{}", qos=1, retain=True)
        await steady.subscribe("spnas/run/status", qos=1)
        await asyncio.gather(*(come_and_go(40) for _ in range(5)))


async def test_who_is_not_let_in_is_no_client(embedded: Embedded) -> None:
    with pytest.raises(aiomqtt.MqttError):
        await Address(broker.HOST, embedded.port, OWNER, "guessed").client().__aenter__()
    await asyncio.sleep(0.1)
    assert embedded.clients == 0
    async with client(embedded, RUN) as run, client(embedded) as owner:
        await run.subscribe("spnas/run/requests/+")
        await owner.subscribe("spnas/run/status")
        assert embedded.clients == 1
    async with asyncio.timeout(5):
        while embedded.clients:
            await asyncio.sleep(0.01)


async def test_it_ends_at_once_where_nobody_listens(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "GRACE_S", 10)
    monkeypatch.setattr(broker, "QUIET_S", 5)
    async with client(embedded, RUN) as run:
        for number in range(50):
            await run.publish("spnas/run/events/Any", str(number), qos=1)
        began = time.monotonic()
        await embedded.serve_out()
        assert time.monotonic() - began < 3


async def test_it_stays_until_a_slow_client_has_all_and_no_longer(embedded: Embedded) -> None:
    heard = []

    async def listen(slow: aiomqtt.Client) -> None:
        async for _ in slow.messages:
            heard.append(len(heard))

    async with client(embedded, RUN) as run, client(embedded) as slow:
        await slow.subscribe("spnas/run/events/+", qos=1)
        listening = asyncio.create_task(listen(slow))
        await asyncio.gather(*(run.publish("spnas/run/events/Any", bytes(20_000), qos=1) for _ in range(200)))
        await embedded.serve_out()
        assert embedded.broker._broadcast_queue.empty()
        await asyncio.sleep(0)
        assert len(heard) == 200
        listening.cancel()


async def test_a_client_that_hangs_does_not_keep_it(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "GRACE_S", 1)
    async with client(embedded, RUN) as run:
        _, hanging = await asyncio.open_connection(broker.HOST, embedded.port)
        name, login = b"\x00\x01h", b"\x00\x05owner" + b"\x00\x0dfor its owner"
        connect = b"\x00\x04MQTT\x04\xc2\x00\x3c" + name + login
        subscribe = b"\x00\x01\x00\x01#\x01"
        hanging.write(bytes([0x10, len(connect)]) + connect + bytes([0x82, len(subscribe)]) + subscribe)
        async with asyncio.timeout(5):
            while "#" not in embedded.broker.subscriptions:
                await asyncio.sleep(0.01)
        await run.publish("spnas/run/events/Any", b"never read", qos=1)
        began = time.monotonic()
        await embedded.serve_out()
        assert 0.9 < time.monotonic() - began < 5
        hanging.close()
