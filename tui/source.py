"""What the app needs from outside: news of a run, answers in SQL, an ear for requests, logs. Others implement it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from lineage.events import Recorded


class SourceError(Exception):
    """What was asked of a run can't be had; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Contact:
    """How the run can be heard: `live`, as it happens; `away`, not now, and what is shown may be old; `over`, nobody
    drives it. `note` says more.
    """

    state: Literal["connecting", "live", "away", "over"] = "connecting"
    note: str = ""


@dataclass(frozen=True, slots=True)
class DeviceUse:
    """What a device does now: `busy` from 0 to 1, bytes of its memory, or of its worker's where it is a CPU core."""

    device: str
    busy: float | None = None
    memory_bytes: int | None = None
    memory_total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns and rows of an answer in SQL; `is_whole` is false where it has more rows than are shown."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Any]]
    is_whole: bool = True


News = Sequence[Recorded] | Contact | tuple[DeviceUse, ...]


class Source(Protocol):
    """A run, from this machine or another."""

    @property
    def name(self) -> str:
        """As the user types it."""

    def news(self) -> AsyncGenerator[News]:
        """Every event from the first on, in order, each once, and how it is heard; without end.

        Raises SourceError: nothing is known of the run.
        """

    async def query(self, statement: str, most_rows: int, /) -> Answer:
        """The answer of a SELECT. A cancelled one ends at once. Raises SourceError."""

    async def export(self, statement: str, file: str, /) -> None:
        """Write the whole answer of a SELECT as .csv, .json or .parquet. Raises SourceError."""

    def is_file(self, file: str, /) -> bool:
        """Whether `export` would replace one."""

    async def ask(self, request: dict[str, Any]) -> Recorded:
        """Ask the run for something: ``{"request": "pause"}``. The event that answers. Raises SourceError."""

    async def why(self, candidate_id: str, /) -> str:
        """Why a candidate is what it is, as text. Raises SourceError."""

    async def log(self, candidate_id: str, most_lines: int, /) -> list[str]:
        """The last lines that the trainings of a candidate wrote. Raises SourceError."""
