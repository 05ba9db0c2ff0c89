"""What clients of the bus ask, and how they are answered.

What is signed goes on at once, and its answer, too; pages of events and refusals, which anyone may ask for, wait in a line
of their own: it is short, and what does not fit in is not answered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiomqtt
from pydantic import ValidationError

from lineage.errors import StoreError
from orchestrator.live.bus_setup import Setup
from orchestrator.live.ending import end_if_cancelled
from orchestrator.live.history import History
from orchestrator.live.messages import MAX_PAGE, MAX_PAGE_BYTES, MAX_REQUEST_BYTES, Envelope, Page, is_signed

MAX_IDS = 10_000
MAX_WAITING = 100

Say = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class _Due:
    """An answer, or the question for events that it has to be found for."""

    client: str
    identity: str
    answer: dict[str, Any] | Page


class Desk:
    """Answers the clients of one run; signed requests go to `say`. Give `reply` a payload and the parts of a topic.

    `published` is the last event that may be told.
    """

    def __init__(
        self,
        setup: Setup,
        session: str,
        history: History,
        say: Say,
        reply: Callable[..., Coroutine[Any, Any, None]],
        published: Callable[[], int],
    ) -> None:
        self._setup, self._session, self._history = setup, session, history
        self._say, self._reply, self._published = say, reply, published
        self._taken: dict[str, None] = {}
        self._answers: asyncio.Queue[_Due] = asyncio.Queue()
        self._line: asyncio.Queue[_Due] = asyncio.Queue(MAX_WAITING)
        self._open = 0

    @property
    def is_done(self) -> bool:
        """Whether all is said that the search answered."""
        return self._open == 0

    async def run(self) -> None:
        """Answer for ever; cancel it to end."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work_off(self._answers))
            group.create_task(self._work_off(self._line))

    def hear(self, message: aiomqtt.Message) -> None:
        """Take what came to the run's requests."""
        client = str(message.topic).rpartition("/")[2]
        payload = message.payload
        if not isinstance(payload, bytes) or len(payload) > MAX_REQUEST_BYTES:
            return
        try:
            envelope = Envelope.model_validate_json(payload)
        except ValidationError:
            return
        if envelope.body.get("request") == "events":
            self._queue(client, envelope.id, _asked(envelope))
        elif not is_signed(self._setup.key, self._setup.run, self._session, envelope):
            self._queue(client, envelope.id, {"error": "the request is not signed with this run's key"})
        elif envelope.id in self._taken:
            self._queue(client, envelope.id, {"error": "this request was taken before"})
        else:
            self._taken[envelope.id] = None
            if len(self._taken) > MAX_IDS:
                del self._taken[next(iter(self._taken))]
            self._say({"request": envelope.body, "id": envelope.id, "client": client, "by": envelope.by})

    def answer(self, said: dict[str, Any]) -> None:
        """Hand on what the search answered to a signed request."""
        self._open += 1
        self._answers.put_nowait(_Due(said["client"], said["id"], said["answer"]))

    def _queue(self, client: str, identity: str, answer: dict[str, Any] | Page) -> None:
        if not self._line.full():
            self._line.put_nowait(_Due(client, identity, answer))

    async def _work_off(self, line: asyncio.Queue[_Due]) -> None:
        while True:
            due = await line.get()
            answer = await self._page(due.answer) if isinstance(due.answer, Page) else due.answer
            await self._reply(json.dumps({"id": due.identity, **answer}), "replies", due.client)
            if line is self._answers:
                self._open -= 1
            end_if_cancelled()

    async def _page(self, asked: Page) -> dict[str, Any]:
        """Events that somebody missed, as far as they are published."""
        if asked.after >= self._published():
            return {"events": []}
        try:
            found = await asyncio.to_thread(self._history.after, asked.after, MAX_PAGE, MAX_PAGE_BYTES)
        except StoreError as error:
            return {"error": f"the events can't be read: {error}"}
        return {"events": [one.model_dump(mode="json") for one in found if one.seq <= self._published()]}


def _asked(envelope: Envelope) -> dict[str, Any] | Page:
    try:
        return Page.model_validate(envelope.body)
    except ValidationError as error:
        return {"error": f"the events can't be read: {error}"}
