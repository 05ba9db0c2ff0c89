"""Where a live run can be asked and heard: ``endpoint.json`` in its folder, which its owner alone can read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

MAX_BYTES = 2**16


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Quack(_Part):
    """Address of the SQL server, and the token that it asks for."""

    uri: str
    token: str


class Mqtt(_Part):
    """Address of the broker; without a password where whoever listens has to know it."""

    url: str
    username: str | None = None
    password: str | None = None


class Endpoint(_Part):
    """What process `pid` offers; what is None is not offered (yet)."""

    pid: int
    quack: Quack | None = None
    mqtt: Mqtt | None = None
    key: str | None = None  # that requests are signed with


def write(path: Path, endpoint: Endpoint) -> None:
    """Put the file in place of the one before, whole. Raises OSError."""
    partial = path.with_suffix(".partial")
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(endpoint.model_dump_json(exclude_none=True, indent=2) + "\n")
    partial.replace(path)


def read(path: Path, pid: int | None) -> Endpoint | None:
    """What process `pid` wrote there; None: nothing, or it is what a process before it left."""
    try:
        with path.open("rb") as file:
            found = Endpoint.model_validate_json(file.read(MAX_BYTES))
    except (OSError, ValidationError):
        return None
    return found if found.pid == pid else None
