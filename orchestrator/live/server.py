"""One run on one broker: its events go out, and what clients ask comes in. The broker may be started here."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from dataclasses import dataclass

from orchestrator.live import broker
from orchestrator.live.address import Address, address_of
from orchestrator.live.bus_setup import Setup
from orchestrator.live.desk import Desk, Say
from orchestrator.live.endpoint import Mqtt
from orchestrator.live.history import History
from orchestrator.live.messages import Status, topic
from orchestrator.live.publisher import Publisher

LAST_S = 5.0  # that a broker has for the last events, and the embedded one's clients
NOTE_S = 1.0


@dataclass(frozen=True, slots=True)
class Way:
    """The run's way to a broker, its clients', and the broker, if it was started here."""

    address: Address
    offered: Mqtt
    embedded: broker.Embedded | None = None


class Server:
    """One run on one broker; what whoever started this has to know goes to `say`."""

    def __init__(self, setup: Setup, way: Way, say: Say) -> None:
        self._setup, self._way, self._say = setup, way, say
        self._history = History(setup.database)
        session = secrets.token_hex(8)
        self.desk = Desk(setup, session, self._history, say, self._reply, lambda: self.publisher.seq)
        self.publisher = Publisher(
            way.address,
            setup.prefix,
            Status(state="running", run=setup.run, session=session, seq=_published(setup)),
            self._history,
            self.desk.hear,
            self._acknowledged,
            self._troubled,
            setup.client_id,
        )
        self._noted = 0.0

    async def _reply(self, payload: str, *topic: str) -> None:
        await self.publisher.say(payload, *topic)

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

    async def run(self) -> None:
        """Serve for ever; cancel it to end."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in (self.publisher.run(), self.desk.run(), self._idle()):
                    group.create_task(part)
        finally:
            self._history.close()

    async def _idle(self) -> None:
        while True:
            await asyncio.sleep(LAST_S)
            await asyncio.to_thread(self._history.close_if_idle)

    async def rest(self) -> None:
        """Give the broker what it has not yet, as far as it takes it; the embedded one its clients, too."""
        self.publisher.lose()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_S):
                while self.publisher.is_connected and not (self.publisher.is_done and self.desk.is_done):
                    await asyncio.sleep(0.05)
                if self._way.embedded is not None:
                    await self._way.embedded.serve_out()
        if self._way.embedded is not None:  # it ends with us
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


async def open_way(setup: Setup) -> Way:
    """The way to the broker that is named, or to one that is started."""
    if setup.url is not None:
        address = address_of(setup.url, setup.password, setup.ca)
        return Way(address, Mqtt(url=setup.url, username=address.username))
    ours, theirs = secrets.token_hex(16), secrets.token_hex(16)
    started = await broker.start(ours, theirs, topic(setup.prefix, setup.run, "requests"))
    offered = Mqtt(url=f"mqtt://{broker.HOST}:{started.port}", username=broker.OWNER, password=theirs)
    return Way(Address(broker.HOST, started.port, broker.RUN, ours), offered, started)
