"""What is said on the bus: topics, requests and their signatures. Pure.

Below ``<prefix>/<run>/``: ``events/<Kind>`` carry every event once it is durable; ``status`` is retained, and the broker's
word of a run that is gone is ``lost``; ``devices`` says now and then what the devices do; requests go to
``requests/<client>``, answers come on ``replies/<client>``. A request
that changes something is signed with the key in the run's ``endpoint.json``, over the session that the status names and an
id that is taken once: a broker that lets everyone in, or a listener that says again what it heard, changes nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import urllib.parse
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_REQUEST_BYTES = 2**16
MAX_PAGE = 500  # events in an answer
MAX_PAGE_BYTES = 2**18

State = Literal["running", "paused", "stopping", "stopped", "completed", "failed", "lost"]
OVER = ("stopped", "completed", "failed", "lost")


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Status(_Message):
    """Where a run stands, and up to which event it is published."""

    state: State
    run: str
    session: str
    seq: int = 0


class Use(_Message):
    """What a device slot does now: `busy` from 0 to 1, bytes of its memory, or of its worker's where it is a CPU core."""

    device: str
    busy: float | None = None
    memory_bytes: int | None = None
    memory_total_bytes: int | None = None


class Uses(_Message):
    """What the devices do now; said every few seconds, kept by nobody. `suspended`: the search's process is stopped by a
    signal, as by Ctrl-Z, and does nothing until it is continued.
    """

    devices: tuple[Use, ...]
    suspended: bool = False


class Envelope(_Message):
    """A request: `body` is one of `orchestrator.search.control`, or ``{"request": "events", "after": SEQ}``."""

    id: str = Field(min_length=8, max_length=64)
    by: str = Field(min_length=1, max_length=200)
    body: dict[str, Any]
    session: str = ""
    signature: str = ""


class Page(_Message):
    """A question for the events after one."""

    request: Literal["events"] = "events"
    after: int = Field(ge=0)


def topic(prefix: str, run: str, *rest: str) -> str:
    """A run's topic; characters of its name that mean something in a topic are escaped."""
    return "/".join([prefix, urllib.parse.quote(run, safe=" !'()*,-.:;=@[]_~"), *rest])


def signature(key: str, run: str, envelope: Envelope) -> str:
    """What whoever has the key writes under a request."""
    signed = [run, envelope.session, envelope.id, envelope.by, envelope.body]
    return hmac.new(key.encode(), json.dumps(signed, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def is_signed(key: str, run: str, session: str, envelope: Envelope) -> bool:
    return envelope.session == session and hmac.compare_digest(
        signature(key, run, envelope).encode(), envelope.signature.encode()
    )
