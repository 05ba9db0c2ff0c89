"""A process that publishes a live run's events on MQTT and hears requests there: `python -m orchestrator.live.bus_server`.

Its first line of input is a `Setup`, the others are events as they become durable, and answers to requests; its output are
the address of the broker, and requests that are signed with the run's key. It runs the embedded broker where no other is
named. It ends with its input, once the broker has all events, or some seconds later. A process of its own, so that no
broker and no client takes time or memory from the search.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import aiomqtt
from pydantic import BaseModel, ValidationError

from lineage.errors import StoreError
from lineage.events import Recorded
from orchestrator.live import broker
from orchestrator.live.address import Address, address_of
from orchestrator.live.history import History
from orchestrator.live.messages import (
    MAX_PAGE,
    MAX_PAGE_BYTES,
    MAX_REQUEST_BYTES,
    Envelope,
    Page,
    Status,
    is_signed,
    topic,
)
from orchestrator.live.publisher import Publisher
from orchestrator.live.resources import end_beyond

LAST_S = 5.0  # that the broker has for the last events
MAX_BYTES = 2**30  # of memory: clients that do not read are kept for by the embedded broker
MAX_IDS = 10_000
NOTE_S = 1.0
LINE_LIMIT_BYTES = 2**25


class Setup(BaseModel):
    """What is published where. Without a `url` the broker is embedded."""

    database: Path
    published: Path  # how far, to which broker: written here for the next process
    run: str
    key: str
    after: int = 0  # for a broker that lives no longer than this process
    prefix: str = "spnas"
    url: str | None = None
    password: str | None = None
    ca: Path | None = None


class Server:
    """One run on one broker."""

    def __init__(self, setup: Setup, address: Address) -> None:
        self._setup = setup
        self._session = secrets.token_hex(8)
        self._history = History(setup.database)
        self._taken: dict[str, None] = {}
        status = Status(state="running", run=setup.run, session=self._session, seq=_published(setup))
        self.publisher = Publisher(
            address, setup.prefix, status, self._history, self._hear, self._acknowledged, _troubled
        )
        self._noted = 0.0

    def _acknowledged(self, seq: int) -> None:
        """Note how far events are published, now and then: those after that are published once more, should this end."""
        if self._setup.url is not None and time.monotonic() - self._noted > NOTE_S:
            self._noted = time.monotonic()
            self.note(seq)

    def note(self, seq: int) -> None:
        partial = self._setup.published.with_suffix(".partial")
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps({"url": self._setup.url, "seq": seq}), encoding="utf-8")
            partial.replace(self._setup.published)

    async def idle(self) -> None:
        while True:
            await asyncio.sleep(LAST_S)
            await asyncio.to_thread(self._history.close_if_idle)

    async def _hear(self, message: aiomqtt.Message) -> None:
        client = str(message.topic).rpartition("/")[2]
        payload = message.payload
        if not isinstance(payload, bytes) or len(payload) > MAX_REQUEST_BYTES:
            return
        try:
            envelope = Envelope.model_validate_json(payload)
        except ValidationError:
            return
        if envelope.body.get("request") == "events":
            await self._answer(client, envelope.id, await self._page(envelope))
        elif not is_signed(self._setup.key, self._setup.run, self._session, envelope):
            await self._answer(client, envelope.id, {"error": "the request is not signed with this run's key"})
        elif envelope.id in self._taken:
            await self._answer(client, envelope.id, {"error": "this request was taken before"})
        else:
            self._taken[envelope.id] = None
            if len(self._taken) > MAX_IDS:
                del self._taken[next(iter(self._taken))]
            say({"request": envelope.body, "id": envelope.id, "client": client, "by": envelope.by})

    async def _page(self, envelope: Envelope) -> dict[str, Any]:
        """Events that somebody missed, as far as they are published."""
        try:
            asked = Page.model_validate(envelope.body)
            found = await asyncio.to_thread(self._history.after, asked.after, MAX_PAGE, MAX_PAGE_BYTES)
        except (ValidationError, StoreError) as error:
            return {"error": f"the events can't be read: {error}"}
        return {"events": [one.model_dump(mode="json") for one in found]}

    async def answer(self, said: dict[str, Any]) -> None:
        await self._answer(said["client"], said["id"], said["answer"])

    async def _answer(self, client: str, identity: str, answer: dict[str, Any]) -> None:
        await self.publisher.say(json.dumps({"id": identity, **answer}), "replies", client)

    async def rest(self) -> None:
        """Give the broker what it has not yet, as far as it takes it."""
        self.publisher.lose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                while self.publisher.is_connected and not self.publisher.is_done:
                    await asyncio.sleep(0.05)
        if not self.publisher.is_done:
            say({"missing": self.publisher.seq})
        if self._setup.url is not None:
            self.note(self.publisher.seq)


def _published(setup: Setup) -> int:
    """The last event that a broker that outlives us has."""
    if setup.url is None:
        return setup.after
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(setup.published.read_text(encoding="utf-8"))
        if found["url"] == setup.url:
            return int(found["seq"])
    return 0


def _troubled(reason: str) -> None:
    say({"trouble": reason})


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def serve(setup: Setup, lines: asyncio.StreamReader) -> None:
    owner_password, run_password = secrets.token_hex(16), secrets.token_hex(16)
    if setup.url is None:
        _, port = await broker.start(run_password, owner_password, topic(setup.prefix, setup.run, "requests"))
        address = Address(broker.HOST, port, broker.RUN, run_password)
        url = f"mqtt://{broker.HOST}:{port}"
        say({"mqtt": {"url": url, "username": broker.OWNER, "password": owner_password}})
    else:
        address = address_of(setup.url, setup.password, setup.ca)
        say({"mqtt": {"url": setup.url, "username": address.username}})
    server = Server(setup, address)
    beside = [asyncio.create_task(task) for task in (server.publisher.run(), server.idle())]
    while line := await lines.readline():
        said = json.loads(line)
        if "answer" in said:
            await server.answer(said)
        else:
            server.publisher.publish(Recorded.model_validate(said))
    await server.rest()
    for task in beside:
        task.cancel()


async def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    os.nice(5)
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    setup = Setup.model_validate_json(await lines.readline())
    watch = asyncio.create_task(end_beyond(MAX_BYTES))
    await serve(setup, lines)
    watch.cancel()
    os._exit(0)  # the embedded broker would wait for its clients


if __name__ == "__main__":
    asyncio.run(main())
