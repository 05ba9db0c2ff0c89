"""A run that is heard by its broker, as the terminal UI is given it (`tui.source.Source`)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from lineage.events import Recorded
from orchestrator.errors import InfrastructureError
from orchestrator.live import client, targets
from orchestrator.live.client import Gone, Target
from orchestrator.live.messages import Status, Uses
from orchestrator.requests import user_name
from orchestrator.viewing import translated
from tui.source import Answer, Contact, DeviceUse, News, SourceError

RETRY_S = 2.0


class RemoteRun:
    """A run on a broker: its events and its ear. Tables and logs stay where it runs."""

    def __init__(self, target: Target, name: str) -> None:
        self.name = name
        self._target = target
        self._last = 0

    async def news(self) -> AsyncGenerator[News]:
        was_there = False
        while True:
            try:
                async with aclosing(heard(self._target, self._last)) as found:
                    async for news in found:
                        was_there = True
                        if isinstance(news, list):
                            self._last = news[-1].seq
                        yield news
                yield Contact("over")
            except InfrastructureError as error:
                if not was_there:
                    raise SourceError(str(error)) from error
                yield Contact("away", str(error))
            await asyncio.sleep(RETRY_S)

    async def ask(self, request: dict[str, Any]) -> Recorded:
        if self._target.key is None:
            raise SourceError(f"to ask it for something, put the key in its endpoint.json into ${targets.KEY}")
        with translated():
            return await asked(self._target, request)

    async def query(self, _statement: str, _most_rows: int, /) -> Answer:
        raise SourceError("its tables are on the machine where it runs: watch it there, or ask with spnas-orch sql")

    async def export(self, statement: str, _file: str, /) -> None:
        await self.query(statement, 0)

    async def why(self, candidate_id: str) -> str:
        raise SourceError(f"its log is on the machine where it runs: spnas-orch why RUN {candidate_id} there")

    async def log(self, _candidate_id: str, _most_lines: int, /) -> list[str]:
        raise SourceError("its logs are on the machine where it runs")


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
