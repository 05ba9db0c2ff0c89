"""A broker's address, and a connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiomqtt

from orchestrator import broker_url

TIMEOUT_S = 10.0  # that a broker has for whatever it is told
LEAVE_S = 0.5  # that it has to see us leave
KEEPALIVE_S = 30  # a connection that is silent for so long and half as long again is dead to the broker


class Connection(aiomqtt.Client):
    """A client that leaves nothing behind: no socket of a connection that did not come about, no complaint of asyncio's that
    nobody asked how a connection ended, and no broker that takes it for lost though it said goodbye.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._is_given_up = False
        for future in (self._connected, self._disconnected):
            future.add_done_callback(_asked)

    def _client_connect(self) -> None:
        super()._client_connect()
        if self._is_given_up:  # this thread goes on when the task that waits for it is cancelled
            self._client.disconnect()

    async def __aenter__(self) -> Self:
        try:
            await super().__aenter__()
        except BaseException:
            self._is_given_up = True
            self._connected = asyncio.Future()  # aiomqtt can't do with one that is cancelled
            self._connected.add_done_callback(_asked)
            self._client.disconnect()
            raise
        self._disconnected.add_done_callback(_asked)  # it may be another one than before
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection = self._once_more()
        try:
            await super().__aexit__(kind, error, trace)
        finally:
            if connection is not None:
                await _hear_out(connection)

    def _once_more(self) -> socket.socket | None:
        """The connection under another descriptor, so that it stays when the client closes its own."""
        found = self._client.socket()
        with contextlib.suppress(OSError):  # it is closed already, or there are too many
            return None if found is None else socket.socket(fileno=os.dup(found.fileno()))
        return None


async def _hear_out(connection: socket.socket) -> None:
    """Read what still comes until the broker hangs up, too: closed with something unread, a connection is reset, and the
    broker need not read what was sent on it before.
    """
    connection.setblocking(False)
    with connection, contextlib.suppress(OSError, TimeoutError):
        connection.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(LEAVE_S):
            while await asyncio.get_running_loop().sock_recv(connection, 2**16):
                pass


def _asked(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


@dataclass(frozen=True, slots=True)
class Address:
    """A broker, and how to get in."""

    host: str
    port: int
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None

    def client(self, **more: Any) -> aiomqtt.Client:
        quiet = logging.getLogger("orchestrator.live.mqtt")
        quiet.setLevel(logging.CRITICAL)
        return Connection(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            tls_context=self.tls,
            logger=quiet,
            timeout=TIMEOUT_S,
            keepalive=KEEPALIVE_S,
            **more,
        )


def address_of(url: str, password: str | None, ca: Path | None) -> Address:
    """The broker at ``mqtt[s]://[user@]host[:port]``.

    Raises:
        OSError: the certificate can't be read, or is none.
        ValueError: it is no such URL.
    """
    parts = broker_url.parse(url)
    tls = ssl.create_default_context(cafile=ca) if parts.scheme == "mqtts" else None
    return Address(parts.host, parts.port, parts.username, password, tls)
