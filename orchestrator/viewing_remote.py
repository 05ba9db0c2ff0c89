"""A run that is heard by its broker, as the terminal UI is given it (`tui.source.Source`).

Its tables are made here from its events, which the broker is asked for once more when somebody first asks.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

from lineage.events import Recorded
from lineage.scratch import scratch_folder
from lineage.store import EventStore
from orchestrator.errors import InfrastructureError, UserError
from orchestrator.live import client, targets
from orchestrator.live.client import Gone, Target
from orchestrator.live.messages import Status, Uses
from orchestrator.requests import user_name
from orchestrator.viewing_tables import Tables, translated
from tui.source import Contact, DeviceUse, News, SourceError

RETRY_S = 2.0
PAGE = 2000


class RemoteRun(Tables):
    """A run on a broker: its events and its ear. Logs stay where it runs."""

    def __init__(self, target: Target, name: str) -> None:
        super().__init__()
        self.name = name
        self._target = target
        self._last = 0
        self._is_live = False
        self._kept = ExitStack()
        self._copy: Path | None = None
        self._copied = 0
        self._copying: asyncio.Task[None] | None = None

    async def news(self) -> AsyncGenerator[News]:
        was_there = False
        with self._kept:
            while True:
                try:
                    async with aclosing(heard(self._target, self._last)) as found:
                        async for news in found:
                            was_there = True
                            if isinstance(news, list):
                                self._last = news[-1].seq
                            elif isinstance(news, Contact):
                                self._is_live = news.state == "live"
                            yield news
                    yield Contact("over")
                except UserError as error:
                    raise SourceError(str(error)) from error
                except InfrastructureError as error:
                    if not was_there:
                        raise SourceError(str(error)) from error
                    yield Contact("away", str(error))
                await asyncio.sleep(RETRY_S)

    async def database(self) -> Path:
        if self._copy is None:
            self._copy = self._kept.enter_context(scratch_folder()) / "lineage.duckdb"
        if self._copying is None or self._copying.done():
            self._copying = asyncio.create_task(self._bring_up(self._copy, self._last))
        await asyncio.shield(self._copying)  # whoever asked may ask no more
        return self._copy

    async def _bring_up(self, copy: Path, last: int) -> None:
        """Add the events that are not there yet, up to one."""
        page: list[Recorded] = []
        async with aclosing(client.heard(self._target, self._copied)) as found:
            while self._copied < last:
                one = await anext(found, None)
                if one is None or isinstance(one, Gone):
                    raise InfrastructureError("the run's events can't be had: the broker is gone")
                if isinstance(one, Recorded):
                    page.append(one)
                    if len(page) == PAGE or one.seq >= last:
                        await asyncio.to_thread(_append, copy, page)
                        self._copied, page = one.seq, []

    def is_live(self) -> bool:
        return self._is_live

    def must_not_replace(self, _file: Path, /) -> None:
        """No file here is the run's."""

    async def ask(self, request: dict[str, Any]) -> Recorded:
        if self._target.key is None:
            raise SourceError(f"to ask it for something, put the key in its endpoint.json into ${targets.KEY}")
        with translated():
            return await asked(self._target, request)

    async def log(self, _candidate_id: str, _most_lines: int, /) -> list[str]:
        raise SourceError("its logs are on the machine where it runs")


def _append(copy: Path, events: list[Recorded]) -> None:
    """Add events to a store, which is made for the first of them."""
    with EventStore.open(copy) if copy.exists() else EventStore.create(copy) as store:
        store.append_groups([([one.event], one.ts) for one in events])


async def heard(target: Target, after: int) -> AsyncGenerator[News]:
    async with aclosing(client.heard(target, after)) as found:
        async for one in found:
            match one:
                case Recorded():
                    yield [one]
                case Status():
                    yield Contact("over") if one.state == "lost" else Contact("live")
                case Uses():
                    yield tuple(DeviceUse(**use.model_dump()) for use in one.devices)
                case Gone():
                    yield Contact("away", f"the broker is gone ({one.reason})")


async def asked(target: Target, request: dict[str, Any]) -> Recorded:
    answer = await client.ask(target, request, f"{user_name()}@{socket.gethostname()}")
    if "event" not in answer:
        raise SourceError(f"the run does not: {answer.get('error')}")
    return Recorded.model_validate(answer["event"])
