"""The other end of the bus: asking a live run for something, and following it, from this machine or another."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from pydantic import ValidationError

from lineage.events import Recorded
from orchestrator.errors import InfrastructureError, UserError
from orchestrator.live.address import Address
from orchestrator.live.ending import end_if_cancelled
from orchestrator.live.messages import OVER, Envelope, Status, Uses, signature, topic
from orchestrator.live.question import Question

ANSWER_S = 10.0  # that a run has to answer
RETURN_S = 30.0  # that a run which was lost has to come back
PAUSE_S = 2.0  # before a broker is tried again
GONE_S = 60.0  # that one which goes away has to come back
REFUSED = (4, 5, 134, 135)  # what brokers answer to a wrong name or password, by version of MQTT
MOST_LIVE = 10_000  # events that are held while those before them are missing


@dataclass(frozen=True, slots=True)
class Gone:
    """The broker went away; it is tried again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing was heard for `seconds`, though a live run says every few seconds what its devices do."""

    seconds: float


Heard = Recorded | Status | Uses | Gone | Silence


@dataclass(frozen=True, slots=True)
class Target:
    """A run on a broker; `key` is needed to ask for something, and `password_from` is where the password stands."""

    address: Address
    prefix: str
    run: str
    key: str | None = None
    password_from: str = ""

    def topic(self, *rest: str) -> str:
        return topic(self.prefix, self.run, *rest)


async def ask(target: Target, body: dict[str, Any], by: str) -> dict[str, Any]:
    """What a live run answers to a request: ``{"event": ...}`` or ``{"error": ...}``.

    Raises:
        UserError: the broker does not let us in.
        InfrastructureError: the broker can't be reached, or nobody answers.
    """
    session, is_asked = None, False
    try:
        async with asyncio.timeout(2 * ANSWER_S), target.address.client() as client:
            session = _Session(client, target)
            await session.begin()
            async with asyncio.timeout(ANSWER_S):
                while session.status is None or session.status.state == "lost":
                    await session.hear()
            is_asked = True
            identity = await session.request(body, by)
            async with asyncio.timeout(ANSWER_S):
                while (answer := await session.hear()) is None or answer.get("id") != identity:
                    pass
            return answer
    except (TimeoutError, aiomqtt.MqttError, OSError) as error:
        if is_asked:
            raise InfrastructureError(
                f"run {target.run} did not answer on {_at(target)} ({_reason(error)}); it may still do what it was asked "
                "for: its table requests says what came of it"
            ) from error
        if isinstance(error, TimeoutError) and session is not None:
            known = "knows no such run" if session.status is None else "has lost it"
            raise InfrastructureError(
                f"run {target.run} was asked for nothing: the broker on {_at(target)} {known}; see its name, and "
                "that it is live"
            ) from error
        raise _unreached(target, error) from error


async def follow(target: Target, after: int) -> AsyncGenerator[Recorded]:
    """Every event after a sequence number, in order, each once; ends with the run. Tries a broker again that goes away.

    Raises:
        UserError: the broker does not let us in.
        InfrastructureError: there is no such run on the broker, its past can't be had, or it or the broker was lost and did
            not return.
    """
    async for one in heard(target, after):
        if isinstance(one, Recorded):
            yield one
        elif isinstance(one, Gone):
            sys.stderr.write(
                f"note: the broker on {_at(target)} is gone ({one.reason}); it is tried again for {GONE_S:.0f} s\n"
            )


async def heard(target: Target, after: int, gone_s: float | None = None) -> AsyncGenerator[Heard]:
    """As `follow`; also where the run stands, what its devices do, that it is silent, and that the broker is gone, which is
    tried again for `gone_s` (None: a minute). Raises as `follow`.
    """
    gone_s = GONE_S if gone_s is None else gone_s
    last, gone_at, has_begun = after, None, False
    while True:
        try:
            async with target.address.client() as client:
                session = _Session(client, target)
                await session.begin("events/+", "devices")
                gone_at, has_begun = None, True
                async for one in _followed(session, last):
                    last = one.seq if isinstance(one, Recorded) else last
                    yield one
                return
        except (aiomqtt.MqttError, OSError) as error:
            end_if_cancelled()
            now = time.monotonic()
            if not has_begun or _is_refusal(error):
                raise _unreached(target, error) from error
            is_new, gone_at = gone_at is None, now if gone_at is None else gone_at
            if now - gone_at >= gone_s:
                raise InfrastructureError(
                    f"the broker on {_at(target)} did not come back within {gone_s:.0f} s ({_reason(error)}); you have "
                    f"the events up to {last}: go on with --after {last}"
                ) from error
            if is_new:
                yield Gone(_reason(error))
            await asyncio.sleep(PAUSE_S)


async def _followed(session: _Session, last: int) -> AsyncGenerator[Recorded | Status | Uses | Silence]:
    """Live events, and pages of those that are missing before them; status and uses of devices as they change; silence."""
    question, lost_at = Question(ANSWER_S), None
    await session.ask_for_events(last)
    while True:
        head = session.head
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await session.hear()
        except TimeoutError:
            answer = None
            yield Silence(ANSWER_S)
        found = session.take(answer, last)
        for one in found:
            last = one.seq
            yield one
        if (news := session.news) is not None:
            session.news = None
            yield news
        status = session.status
        if status is None or status.state != "lost":
            lost_at = None
        elif lost_at is None or found or session.head > head:  # one that is heard is there, whatever the broker says
            lost_at = time.monotonic()
        if answer is not None:
            question.answered()
        if found if answer is not None else session.head > last and question.is_due:
            question.asked()
            await session.ask_for_events(last)
        if status is not None and status.state in OVER and status.state != "lost" and last >= session.head:
            return
        session.must_go_on(last, question, lost_at)


class _Session:
    """One connection."""

    def __init__(self, client: aiomqtt.Client, target: Target) -> None:
        self._client, self._target = client, target
        self._name = secrets.token_hex(8)
        self._live: dict[int, Recorded] = {}
        self.status: Status | None = None
        self.news: Status | Uses | None = None
        self.head = 0

    async def begin(self, *more: str) -> None:
        for what in ("status", f"replies/{self._name}", *more):
            await self._client.subscribe(self._target.topic(what), qos=1)

    async def request(self, body: dict[str, Any], by: str) -> str:
        """Send a request, signed if there is a key; its id."""
        session = "" if self.status is None else self.status.session
        envelope = Envelope(id=secrets.token_hex(8), by=by, body=body, session=session)
        if self._target.key is not None:
            signed = signature(self._target.key, self._target.run, envelope)
            envelope = envelope.model_copy(update={"signature": signed})
        await self._client.publish(self._target.topic("requests", self._name), envelope.model_dump_json(), qos=1)
        return envelope.id

    async def ask_for_events(self, after: int) -> None:
        await self.request({"request": "events", "after": after}, "watch")

    async def hear(self) -> dict[str, Any] | None:
        """The next message; an answer, if it is one. Events and status are taken note of."""
        message = await anext(aiter(self._client.messages))
        payload = message.payload if isinstance(message.payload, bytes) else b""
        what = str(message.topic).removeprefix(self._target.topic() + "/").split("/")[0]
        try:
            if what == "status":
                self.status = self.news = Status.model_validate_json(payload)
                self.head = max(self.head, self.status.seq)
            elif what == "events":
                recorded = Recorded.model_validate_json(payload)
                self._live[recorded.seq] = recorded
                self.head = max(self.head, recorded.seq)
            elif what == "devices":
                self.news = Uses.model_validate_json(payload)
            elif what == "replies":
                answer = json.loads(payload)
                return answer if isinstance(answer, dict) else None
        except (ValidationError, ValueError):
            sys.stderr.write(f"note: what came on {message.topic} is no message of this version\n")
        return None

    def take(self, answer: dict[str, Any] | None, last: int) -> list[Recorded]:
        """What is known of the events that follow the last one."""
        if answer is not None and "error" in answer:
            raise InfrastructureError(f"run {self._target.run} does not tell its events: {answer['error']}")
        if len(self._live) > MOST_LIVE:  # they come once more, with those before them
            self._live.clear()
        for one in (answer or {}).get("events", []):
            recorded = Recorded.model_validate(one)
            self._live[recorded.seq] = recorded
        found = []
        while last + 1 in self._live:
            last += 1
            found.append(self._live.pop(last))
        for seq in [seq for seq in self._live if seq <= last]:
            del self._live[seq]
        return found

    def must_go_on(self, last: int, question: Question, lost_at: float | None) -> None:
        """Raise InfrastructureError where waiting has no end."""
        place = f"run {self._target.run} on {_at(self._target)}"
        if self.status is None and question.is_overdue:
            raise InfrastructureError(f"there is no {place}: see its name, and that the run has this broker")
        if lost_at is not None and time.monotonic() - lost_at > RETURN_S:
            raise InfrastructureError(f"{place} was lost at event {self.head} and did not come back")
        if self.status is not None and self.status.state in OVER and question.is_overdue:
            raise InfrastructureError(
                f"{place} is over ({self.status.state}), and nobody tells the events after {last}: they are in its folder"
            )


def _unreached(target: Target, error: BaseException) -> InfrastructureError | UserError:
    if _is_refusal(error):
        user = target.address.username
        name = f"{user!r}" if user is not None else "anyone without a name (mqtt://NAME@...)"
        return UserError(
            f"the broker on {_at(target)} does not let {name} in ({error}); the password is from {target.password_from}"
        )
    return InfrastructureError(f"the broker on {_at(target)} can't be reached: {_reason(error)}")


def _is_refusal(error: BaseException) -> bool:
    """Whether a broker wants another name or password."""
    code = getattr(error, "rc", None)
    return isinstance(error, MqttConnectError) and getattr(code, "value", code) in REFUSED


def _reason(error: BaseException) -> str:
    return "it does not answer" if isinstance(error, TimeoutError) or "timed out" in str(error) else str(error)


def _at(target: Target) -> str:
    return f"{target.address.host}:{target.address.port}"
