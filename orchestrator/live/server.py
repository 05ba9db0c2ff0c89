"""One run on one broker: its events go out, and what clients ask comes in. The broker may be started here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiomqtt
from pydantic import ValidationError

from lineage.errors import StoreError
from orchestrator.live import broker
from orchestrator.live.address import Address, address_of
from orchestrator.live.bus_setup import Setup
from orchestrator.live.endpoint import Mqtt
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

LAST_S = 5.0  # that the broker has for the last events
MAX_IDS = 10_000
NOTE_S = 1.0

Say = Callable[[dict[str, Any]], None]


class Server:
    """One run on one broker; what whoever started this has to know goes to `say`."""

    def __init__(self, setup: Setup, address: Address, say: Say) -> None:
        self._setup, self._say = setup, say
        self._session = secrets.token_hex(8)
        self._history = History(setup.database)
        self._taken: dict[str, None] = {}
        status = Status(state="running", run=setup.run, session=self._session, seq=_published(setup))
        self.publisher = Publisher(
            address, setup.prefix, status, self._history, self._hear, self._acknowledged, self._troubled
        )
        self._noted = 0.0

    def _acknowledged(self, seq: int) -> None:
        """Note how far events are published, now and then: those after that are published once more, should this end."""
        if self._setup.url is not None and time.monotonic() - self._noted > NOTE_S:
            self._noted = time.monotonic()
            self.note(seq)

    def note(self, seq: int) -> None:
        if self._setup.published is None:
            return
        partial = self._setup.published.with_suffix(".partial")
        with contextlib.suppress(OSError):
            partial.write_text(json.dumps({"url": self._setup.url, "seq": seq}), encoding="utf-8")
            partial.replace(self._setup.published)

    def _troubled(self, reason: str) -> None:
        self._say({"trouble": reason})

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
            self._say({"request": envelope.body, "id": envelope.id, "client": client, "by": envelope.by})

    async def _page(self, envelope: Envelope) -> dict[str, Any]:
        """Events that somebody missed, as far as they are published."""
        try:
            asked = Page.model_validate(envelope.body)
            found = await asyncio.to_thread(self._history.after, asked.after, MAX_PAGE, MAX_PAGE_BYTES)
        except (ValidationError, StoreError) as error:
            return {"error": f"the events can't be read: {error}"}
        return {"events": [one.model_dump(mode="json") for one in found if one.seq <= self.publisher.seq]}

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
        if self._setup.url is None:  # the broker ends with us
            return
        if not self.publisher.is_done:
            self._say({"missing": self.publisher.seq})
        self.note(self.publisher.seq)


def _published(setup: Setup) -> int:
    """The last event that a broker that outlives us has."""
    if setup.url is None or setup.published is None:
        return setup.after
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        found = json.loads(setup.published.read_text(encoding="utf-8"))
        if found["url"] == setup.url:
            return int(found["seq"])
    return 0


@dataclass(frozen=True, slots=True)
class Way:
    """The run's way to a broker, its clients', and the broker, if it was started here."""

    address: Address
    offered: Mqtt
    embedded: broker.Embedded | None = None


async def open_way(setup: Setup) -> Way:
    """The way to the broker that is named, or to one that is started."""
    if setup.url is not None:
        address = address_of(setup.url, setup.password, setup.ca)
        return Way(address, Mqtt(url=setup.url, username=address.username))
    ours, theirs = secrets.token_hex(16), secrets.token_hex(16)
    started = await broker.start(ours, theirs, topic(setup.prefix, setup.run, "requests"))
    offered = Mqtt(url=f"mqtt://{broker.HOST}:{started.port}", username=broker.OWNER, password=theirs)
    return Way(Address(broker.HOST, started.port, broker.RUN, ours), offered, started)
