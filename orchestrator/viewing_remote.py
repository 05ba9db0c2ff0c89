"""A run that is heard by its broker, as the terminal UI is given it (`tui.source.Source`).

What is heard is kept in a scratch folder, and made into tables when somebody first asks for them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import Any

from lineage.events import Recorded
from lineage.scratch import scratch_folder
from lineage.store import EventStore
from orchestrator import delivery
from orchestrator.errors import InfrastructureError, UserError
from orchestrator.live import client, targets
from orchestrator.live.client import Gone, Silence, Target
from orchestrator.live.messages import Status, Uses
from orchestrator.requests import user_name
from orchestrator.run_folder import RunFolder
from orchestrator.viewing_tables import Tables, translated
from tui.source import Contact, DeviceUse, News, SourceError

RETRY_S, OVER_S = 2.0, 5.0
PAGE = 2000
HEARD, TABLES = "heard.jsonl", "lineage.duckdb"


class RemoteRun(Tables):
    """A run on a broker: its events and its ear. Logs stay where it runs."""

    def __init__(self, target: Target, name: str) -> None:
        super().__init__()
        self.name = name
        self._target = target
        self._last = 0
        self._contact = Contact()
        self._folder: Path | None = None
        self._read_bytes = 0  # of what was heard, that the tables have
        self._copying: asyncio.Task[None] | None = None

    async def news(self) -> AsyncGenerator[News]:
        with scratch_folder() as folder, (folder / HEARD).open("ab", buffering=0) as log:
            self._folder = folder
            while True:
                try:
                    async with aclosing(heard(self._target, self._last)) as found:
                        async for news in found:
                            if isinstance(news, list):
                                self._last = news[-1].seq
                                log.write(b"".join(one.model_dump_json().encode() + b"\n" for one in news))
                            elif isinstance(news, Contact):
                                self._contact = news
                            yield news
                    self._contact = Contact("over")
                    yield self._contact
                except UserError as error:
                    raise SourceError(str(error)) from error
                except InfrastructureError as error:
                    if self._contact.state == "connecting":
                        raise SourceError(str(error)) from error
                    if self._contact.state != "over":  # its own broker goes when it is over
                        yield Contact("away", str(error))
                await asyncio.sleep(OVER_S if self._contact.state == "over" else RETRY_S)  # it may be resumed

    async def database(self) -> Path:
        if self._folder is None:
            raise SourceError("nothing was heard of it yet")
        if self._copying is None or self._copying.done():
            self._copying = asyncio.create_task(asyncio.to_thread(self._bring_up, self._folder))
        await asyncio.shield(self._copying)  # whoever asked may ask no more
        return self._folder / TABLES

    def _bring_up(self, folder: Path) -> None:
        """Add the events that were heard since to a store, which is made for the first of them."""
        copy = folder / TABLES
        opened = EventStore.open(copy) if copy.exists() else EventStore.create(copy)
        with opened as store, (folder / HEARD).open("rb") as log:
            log.seek(self._read_bytes)
            while lines := [line for line in islice(log, PAGE) if line.endswith(b"\n")]:
                events = map(Recorded.model_validate_json, lines)
                store.append_groups([([one.event], one.ts) for one in events])
                self._read_bytes += sum(map(len, lines))

    def is_live(self) -> bool:
        return self._contact.state == "live"

    def must_not_replace(self, file: Path) -> None:
        """It may run here after all, and another may lie here."""
        for folder in file.resolve().parents:
            if RunFolder(folder).database.is_file():
                delivery.must_not_replace(file, RunFolder(folder))

    async def ask(self, request: dict[str, Any]) -> Recorded:
        if self._target.key is None:
            raise SourceError(f"to ask it for something, put the key in its endpoint.json into ${targets.KEY}")
        with translated():
            return await asked(self._target, request)

    async def log(self, _candidate_id: str, _most_lines: int, /) -> list[str]:
        raise SourceError("its logs are on the machine where it runs")


async def heard(target: Target, after: int, gone_s: float | None = None) -> AsyncGenerator[News]:
    """Events, uses of devices, and how the run is heard whenever that changes. Raises as `client.heard`."""
    contact = Contact()
    async with aclosing(client.heard(target, after, gone_s)) as found:
        async for one in found:
            if isinstance(one, Recorded):
                yield [one]
            elif isinstance(one, Uses):
                yield tuple(DeviceUse(**use.model_dump()) for use in one.devices)
            before, contact = contact, _contact(contact, one)
            if contact != before:
                yield contact


def _contact(before: Contact, heard: client.Heard) -> Contact:
    match heard:
        case Status():
            return Contact("over") if heard.state == "lost" else Contact("live")
        case Gone():
            return Contact("away", f"the broker is gone ({heard.reason})")
        case Silence():
            return (
                before
                if before.state in ("connecting", "over")
                else Contact("away", f"nothing was heard for {heard.seconds:.0f} s")
            )
        case Uses(suspended=True):
            return Contact("away", "its process is suspended (Ctrl-Z, SIGSTOP): kill -CONT it, or fg")
        case Uses():
            return Contact("live") if before.state == "away" else before
    return before


async def asked(target: Target, request: dict[str, Any]) -> Recorded:
    answer = await client.ask(target, request, f"{user_name()}@{socket.gethostname()}")
    if "event" not in answer:
        raise SourceError(f"the run does not: {answer.get('error')}")
    return Recorded.model_validate(answer["event"])
