"""A broker's address, and a connection to it."""

from __future__ import annotations

import logging
import ssl
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt

TIMEOUT_S = 10.0  # that a broker has for whatever it is told


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
        return aiomqtt.Client(
            self.host,
            self.port,
            username=self.username,
            password=self.password,
            tls_context=self.tls,
            logger=quiet,
            timeout=TIMEOUT_S,
            keepalive=30,
            **more,
        )


def address_of(url: str, password: str | None, ca: Path | None) -> Address:
    """The broker at ``mqtt[s]://[user@]host[:port]``. Raises OSError where the certificate can't be read."""
    parts = urllib.parse.urlsplit(url)
    tls = ssl.create_default_context(cafile=ca) if parts.scheme == "mqtts" else None
    user = urllib.parse.unquote(parts.username) if parts.username else None
    return Address(parts.hostname or "localhost", parts.port or (8883 if tls else 1883), user, password, tls)
