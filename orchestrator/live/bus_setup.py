"""What a bus server is told as it begins. Apart from it, so that whoever starts one imports no broker."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel


class Setup(BaseModel):
    """What is published where. Without a `url` the broker is embedded."""

    database: Path
    published: Path | None = None  # how far, to which broker: written here for the next process
    run: str
    key: str
    client_id: str | None = None  # the same for each connection of a run
    after: int = 0  # for a broker that lives no longer than this process
    prefix: str = "spnas"
    url: str | None = None
    password: str | None = None
    ca: Path | None = None
