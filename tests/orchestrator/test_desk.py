"""Who asks with the run's key is heard at once, whatever others ask at the same time."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiomqtt

from orchestrator.live.bus_setup import Setup
from orchestrator.live.desk import MAX_WAITING, Desk
from orchestrator.live.history import History
from orchestrator.live.messages import Envelope, signature

KEY, SESSION = "k" * 32, "session"


def message(client: str, envelope: Envelope) -> aiomqtt.Message:
    return aiomqtt.Message(f"spnas/run/requests/{client}", envelope.model_dump_json().encode(), 1, False, 1, None)


def signed(identity: str) -> Envelope:
    envelope = Envelope(id=identity, by="me", body={"request": "pause"}, session=SESSION)
    return envelope.model_copy(update={"signature": signature(KEY, "run", envelope)})


async def test_a_flood_of_questions_that_anyone_may_ask_delays_no_signed_request_and_takes_no_memory() -> None:
    said: list[dict[str, Any]] = []
    replied: list[tuple[str, dict[str, Any]]] = []
    flooded = asyncio.Event()

    async def reply(payload: str, *topic: str) -> None:
        if topic[-1] == "flood":
            await flooded.wait()  # a broker that is slow
        replied.append((topic[-1], json.loads(payload)))

    setup = Setup(database=Path("nowhere"), run="run", key=KEY)
    desk = Desk(setup, SESSION, History(setup.database), said.append, reply, lambda: 0)
    serving = asyncio.create_task(desk.run())
    for number in range(5000):
        body = {"request": "events", "after": -1} if number % 2 else {"request": "stop"}
        desk.hear(message("flood", Envelope(id=f"{number:08}", by="eve", body=body)))
    desk.hear(message("me", signed("a" * 8)))
    assert [one["client"] for one in said] == ["me"]
    desk.answer({"client": "me", "id": "a" * 8, "answer": {"event": {}}})
    assert not desk.is_done
    async with asyncio.timeout(5):
        while not replied:
            await asyncio.sleep(0)
    assert replied == [("me", {"id": "a" * 8, "event": {}})]
    assert desk.is_done
    flooded.set()
    async with asyncio.timeout(5):
        while len(replied) < MAX_WAITING + 1:
            await asyncio.sleep(0)
    await asyncio.sleep(0.05)
    assert len(replied) <= MAX_WAITING + 2
    serving.cancel()
    await asyncio.wait({serving})
