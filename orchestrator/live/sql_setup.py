"""What the search and the process that answers SQL beside it say to each other."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel


class Address(BaseModel):
    """Where the server is asked on this machine, and the token that it asks for."""

    port: int
    token: str

    @property
    def uri(self) -> str:
        return f"quack:localhost:{self.port}"


class Setup(BaseModel):
    """What is served, for how many seconds a query may run, how many bytes queries may have, which share of all cores
    answers may take; and where, if that can be."""

    database: Path
    query_s: float
    memory_bytes: int
    share: float = 0.02
    wanted: Address | None = None
