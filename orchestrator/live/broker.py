"""The embedded broker: amqtt, on this machine's own address, for whoever has the password in ``endpoint.json``.

Two names are let in: the run itself, which says what it likes, and its owner, who may listen to everything and say what goes
to ``requests``. Passwords are random and long, so they are compared as they are: a hash that is slow on purpose would stop
the broker for the time of each.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

RUN, OWNER = "run", "owner"
HOST = "127.0.0.1"
MAX_CONNECTIONS = 200
GRACE_S = 3.0  # that clients have to take the last messages
QUIET_S = 0.5  # in which a client would ask for more
LOOK_S = 0.02


class Doorkeeper(BaseAuthPlugin):
    """Lets in who has one of the passwords."""

    @dataclass
    class Config:
        passwords: dict[str, str] = field(default_factory=dict)

    async def authenticate(self, *, session: Session) -> bool | None:
        known: dict[str, str] = self.config.passwords
        expected, given = known.get(session.username or ""), session.password or ""
        return expected is not None and hmac.compare_digest(expected.encode(), given.encode())


class Rules(BaseTopicPlugin):
    """The owner says nothing but requests."""

    @dataclass
    class Config:
        requests: str = ""  # a regular expression

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        if session is not None and session.username == RUN:
            return True
        return action != Action.PUBLISH or re.fullmatch(self.config.requests, topic or "") is not None


class _Subscriptions(dict[str, Any]):
    """By filter. amqtt goes through them while clients come and go: it would give a message up then, or hear no more of
    the client that it lets in meanwhile.
    """

    def __iter__(self) -> Iterator[str]:
        return iter(list(super().__iter__()))

    def items(self) -> Any:
        return [(topic, list(clients)) for topic, clients in super().items()]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A broker that lives as long as this process."""

    broker: Broker
    port: int

    @property
    def clients(self) -> int:
        """How many listen beside the run itself. To amqtt, one that it did not let in is connected, too."""
        listening = {session.client_id for clients in self.broker.subscriptions.values() for session, _ in clients}
        return sum(
            one.transitions.state == "connected" and one.username != RUN and one.client_id in listening
            for one in self._sessions
        )

    async def serve_out(self) -> None:
        """Wait until the clients have left, or have had what there is for them and ask for nothing more; not for long."""
        now = asyncio.get_running_loop().time
        ends_at = now() + GRACE_S
        quiet_since, before = now(), self._sent
        while self.clients and now() < ends_at:
            if self._is_busy or self._sent != before:
                quiet_since, before = now(), self._sent
            elif now() - quiet_since > QUIET_S:
                return
            await asyncio.sleep(LOOK_S)

    @property
    def _sessions(self) -> list[Session]:
        return [session for session, _ in self.broker.sessions.values()]

    @property
    def _sent(self) -> list[int]:
        """A number for each client that changes with each message to it."""
        return [session._packet_id for session in self._sessions]

    @property
    def _is_busy(self) -> bool:
        """Whether something is on its way through."""
        return (
            not self.broker._broadcast_queue.empty()
            or not all(task.done() for task in self.broker._tasks_queue)
            or any(session.inflight_out or not session.delivered_message_queue.empty() for session in self._sessions)
        )


async def start(run_password: str, owner_password: str, requests: str) -> Embedded:
    """Start a broker; below the topic `requests` its owner may publish."""
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # a client that hangs makes it say so by the thousand
    logging.getLogger("transitions").setLevel(logging.CRITICAL)
    name = __name__
    config: dict[str, Any] = {
        "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:0", "max_connections": MAX_CONNECTIONS}},
        "plugins": {
            f"{name}.Doorkeeper": {"passwords": {RUN: run_password, OWNER: owner_password}},
            f"{name}.Rules": {"requests": f"{re.escape(requests)}/[^/]+"},
        },
    }
    broker = Broker(config)
    broker._subscriptions = _Subscriptions()
    await broker.start()
    port: int = broker._servers["default"].instance.sockets[0].getsockname()[1]
    return Embedded(broker, port)
