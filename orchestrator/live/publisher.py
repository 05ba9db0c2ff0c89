"""Publishing a run's events to a broker, in order, each at least once, and hearing what is asked there.

Events come in as they are recorded. A broker that is slow, stuck or absent is waited for here: what is not yet acknowledged
is published once it answers again, out of memory or, where that was not enough, out of the store.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import aiomqtt
from pydantic import ValidationError

from lineage.errors import StoreError
from lineage.events import Recorded, RunContinued, RunFinished, RunPaused, RunResumed, RunStopped, StopRequested
from orchestrator.live.address import Address
from orchestrator.live.ending import end_if_cancelled
from orchestrator.live.history import History
from orchestrator.live.messages import OVER, State, Status, topic

BATCH = 20  # as many as paho has under way
MEMORY = 10_000  # events that are not yet acknowledged
PAGE_BYTES = 2**20
TIMEOUT_S = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0

Hear = Callable[["aiomqtt.Message"], None]


class Publisher:
    """Publishes one run below `prefix`; `hear` gets what comes to its requests.

    A broker gives up a connection for a new one of the same `identity`. `acknowledged` is told of each progress, `troubled`
    of what keeps the broker from being reached, once.
    """

    def __init__(
        self,
        address: Address,
        prefix: str,
        status: Status,
        history: History,
        hear: Hear,
        acknowledged: Callable[[int], None],
        troubled: Callable[[str], None],
        identity: str | None = None,
    ) -> None:
        self._address, self._prefix, self._history, self._hear = address, prefix, history, hear
        self._acknowledged, self._troubled, self._identity = acknowledged, troubled, identity
        self._status, self._told = status, Status(state="lost", run=status.run, session="")
        self._waiting: deque[Recorded] = deque(maxlen=MEMORY)
        self._head = status.seq
        self._changed = asyncio.Event()
        self._client: aiomqtt.Client | None = None
        self._state: State = status.state
        self._contradicted: set[str] = set()  # sessions

    @property
    def seq(self) -> int:
        """The last event that the broker has."""
        return self._status.seq

    @property
    def is_done(self) -> bool:
        """Whether the broker has all there is."""
        return self._status.seq >= self._head and self._told.state == self._state

    @property
    def behind(self) -> int:
        """How many events the broker has not yet."""
        return self._head - self._status.seq

    @property
    def is_connected(self) -> bool:
        return self._client is not None

    def publish(self, recorded: Recorded) -> None:
        """Take an event that is durable."""
        self._waiting.append(recorded)
        self._head = max(self._head, recorded.seq)
        self._state = _state_after(self._state, recorded)
        self._changed.set()

    def stand(self, state: State, head: int) -> None:
        """Take where a run stands whose events are all in the store."""
        self._state, self._head = state, max(self._head, head)
        self._changed.set()

    def lose(self) -> None:
        """The run ended without saying so."""
        if self._state not in OVER:
            self._state = "lost"
            self._changed.set()

    async def say(self, payload: str, *rest: str) -> None:
        """Publish what is no event, if the broker is there."""
        if self._client is not None:
            with contextlib.suppress(aiomqtt.MqttError):
                await self._client.publish(topic(self._prefix, self._status.run, *rest), payload, qos=1)

    async def run(self) -> None:
        """Publish for ever; cancel it to end."""
        pause_s, told = FIRST_PAUSE_S, ""
        while True:
            try:
                async with self._address.client(will=self._will(), identifier=self._identity) as client:
                    await client.subscribe(topic(self._prefix, self._status.run, "requests", "+"), qos=1)
                    end_if_cancelled()
                    pause_s, told, self._client = FIRST_PAUSE_S, "", client
                    await _together(self._listen(client), self._publish(client))
            except (aiomqtt.MqttError, OSError, StoreError) as error:
                if str(error) != told:
                    self._troubled(f"publishing to {self._address.host}:{self._address.port}: {error}")
                    told = str(error)
            finally:
                self._client = None
            self._told = self._told.model_copy(update={"state": "lost"})
            end_if_cancelled()
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            if str(message.topic) == self._topic("status"):
                self._correct(message.payload)
            else:
                self._hear(message)
            end_if_cancelled()

    async def _publish(self, client: aiomqtt.Client) -> None:
        listens = False
        while True:
            while batch := await self._next():
                await asyncio.gather(*(self._publish_one(client, one) for one in batch))
                self._status = self._status.model_copy(update={"seq": batch[-1].seq})
                self._acknowledged(self._status.seq)
                end_if_cancelled()
            self._status = self._status.model_copy(update={"state": self._state})
            if self._told.state != self._state:
                await client.publish(self._topic("status"), self._status.model_dump_json(), qos=1, retain=True)
                self._told = self._status
                if not listens:  # before, what stands there is what others said
                    await client.subscribe(self._topic("status"), qos=1)
                    listens = True
            self._changed.clear()
            end_if_cancelled()
            if self._status.seq >= self._head and self._told.state == self._state:
                await self._changed.wait()

    def _correct(self, stands: object) -> None:
        """See to it that our status stands there, and not what the broker says of a connection that it gave up late.

        A process that says something else lives, and may do the same: it is contradicted once.
        """
        try:
            found = Status.model_validate_json(stands if isinstance(stands, bytes) else b"")
        except ValidationError:
            found = None
        if found is not None and found.state != "lost":
            if found.session in {self._status.session, *self._contradicted}:
                return
            self._contradicted.add(found.session)
        if found != self._told:
            self._told = self._told.model_copy(update={"state": "lost"})
            self._changed.set()

    async def _publish_one(self, client: aiomqtt.Client, one: Recorded) -> None:
        await client.publish(self._topic("events", one.event.kind), one.model_dump_json(), qos=1, timeout=TIMEOUT_S)

    async def _next(self) -> list[Recorded]:
        """The events after the last one that the broker has."""
        after = self._status.seq
        while self._waiting and self._waiting[0].seq <= after:
            self._waiting.popleft()
        if self._waiting and self._waiting[0].seq == after + 1:
            return [self._waiting[number] for number in range(min(BATCH, len(self._waiting)))]
        if self._head <= after:
            return []
        return await asyncio.to_thread(self._history.after, after, BATCH, PAGE_BYTES)

    def _topic(self, *rest: str) -> str:
        return topic(self._prefix, self._status.run, *rest)

    def _will(self) -> aiomqtt.Will:
        lost = self._status.model_copy(update={"state": "lost"})
        return aiomqtt.Will(self._topic("status"), lost.model_dump_json(), qos=1, retain=True)


async def _together(*parts: Coroutine[Any, Any, None]) -> None:
    """Do this until one of them fails; a `TaskGroup` would leave it unclear whether it was cancelled (Python 3.11)."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


def _state_after(state: State, recorded: Recorded) -> State:
    match recorded.event:
        case RunPaused():
            return "paused"
        case RunContinued() | RunResumed():
            return "running"
        case StopRequested():
            return "stopping"
        case RunStopped():
            return "stopped"
        case RunFinished() as event:
            return event.outcome
    return state
