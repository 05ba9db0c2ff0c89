"""A broker's URL, ``mqtt[s]://[user@]host[:port][/...]``, taken apart. Pure; no message repeats a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

FORM = "expected mqtt://[user@]host[:port] or mqtts://..."
PORTS = {"mqtt": 1883, "mqtts": 8883}


class HoldsPassword(ValueError):
    """There is a password in a URL."""


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Where a broker is; `path` is what comes behind, without slashes at its ends, and `more` whether anything else does."""

    scheme: str
    host: str
    port: int
    username: str | None
    path: str
    more: bool


def is_url(run: str) -> bool:
    """Whether a run is named by its broker, and not by its folder."""
    return "://" in run


def parse(url: str) -> BrokerUrl:
    """The parts of a URL. Raises ValueError, whose text goes on with "it"."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its text may hold the password
        raise ValueError("is no URL") from None
    if parts.password is not None:
        raise HoldsPassword("holds a password")
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError("is no broker")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("has a port that is no number or out of range: 1 to 65535")
    if not _can_be_looked_up(parts.hostname):
        raise ValueError("names a host that can't be one")
    user = unquote(parts.username) if parts.username else None
    more = bool(parts.query or parts.fragment)
    return BrokerUrl(parts.scheme, parts.hostname, port or PORTS[parts.scheme], user, parts.path.strip("/"), more)


def _can_be_looked_up(host: str) -> bool:
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return host.isprintable() and " " not in host


def without_password(text: str) -> str:
    """A text that may hold a URL, to be shown."""
    return re.sub(r"(://[^/\s:@]*:)\S*@", r"\1...@", text)
