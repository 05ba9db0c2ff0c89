"""One run's events to a broker from a process that does nothing else, and ends with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from orchestrator.errors import InfrastructureError
from orchestrator.live.bus_setup import Setup
from orchestrator.live.server import Server, Way, open_way

PAUSE_S = 0.02


class Serving:
    """A server, for as long as it is needed and does its work."""

    def __init__(self, setup: Setup, way: Way) -> None:
        self.way = way
        self.server = Server(setup, way, self._hear)
        self.task = asyncio.create_task(self.server.run())
        self._trouble: list[str] = []

    @property
    def has_clients(self) -> bool:
        """Whether anybody is connected to the embedded broker."""
        return self.way.embedded is not None and self.way.embedded.clients > 0

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something. Raises InfrastructureError once the broker can't be reached."""
        while not is_so():
            if self._trouble:
                raise InfrastructureError(f"{self._trouble[0]}; see general.bus in the run's configuration")
            if self.task.done():
                await self.task  # raises what it ended with
            await asyncio.sleep(PAUSE_S)

    def _hear(self, said: dict[str, Any]) -> None:
        if "trouble" in said:
            self._trouble.append(said["trouble"])


@asynccontextmanager
async def serving(setup: Setup) -> AsyncIterator[Serving]:
    """Serve, until the block is left."""
    found = Serving(setup, await open_way(setup))
    try:
        yield found
    finally:
        found.task.cancel()
        await asyncio.wait({found.task})
