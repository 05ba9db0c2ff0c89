"""A run folder on this machine, as the terminal UI is given it (`tui.source.Source`).

What is not needed to open it is imported late: the screen is there sooner.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.architecture import LineageError
from lineage.events import Recorded
from lineage.snapshot import open_snapshot, stamp
from orchestrator.errors import InfrastructureError, OrchestratorError
from orchestrator.live import endpoint
from orchestrator.run_folder import RunFolder
from orchestrator.viewing_tables import Tables, entered, translated
from tui.source import Contact, News, SourceError

if TYPE_CHECKING:
    from orchestrator.live.client import Target

POLL_S = 0.5
PAGE = 5000
TAIL_BYTES = 2**20  # of a log, that are read


class LocalRun(Tables):
    """A run folder on this machine: past events from its store, live ones from its bus as soon as there is one."""

    def __init__(self, folder: RunFolder, name: str) -> None:
        super().__init__()
        self.name = name
        self._folder = folder
        self._last = 0

    async def news(self) -> AsyncGenerator[News]:
        seen, told, over = None, None, None
        try:
            while True:
                is_live, state = self._folder.process() is not None, stamp(self._folder.database)
                if state != seen:
                    seen = state
                    async for page in self._past():
                        yield page
                if is_live != told:
                    told = is_live
                    yield Contact("live" if is_live else "over")
                if is_live and (target := self._target()) not in (None, over):
                    from orchestrator.viewing_remote import heard

                    async with aclosing(heard(target, self._last, gone_s=0)) as found:  # the files are at hand
                        with suppress(InfrastructureError):
                            async for news in found:
                                if self._folder.process() is None:
                                    break
                                if isinstance(news, list):
                                    self._last = news[-1].seq
                                yield news
                            else:
                                over = target  # its process may stay, for a view that is open beside it
                    told = None
                await asyncio.sleep(POLL_S)
        except (LineageError, OrchestratorError) as error:
            raise SourceError(str(error)) from error

    async def _past(self) -> AsyncGenerator[list[Recorded]]:
        """The events that the store has after the last one."""
        with ExitStack() as kept:
            if self._last == 0:
                kept.enter_context(_without_collector())
            store = await entered(kept, open_snapshot(self._folder.database))
            events = store.read(after_seq=self._last, settled_epochs=False)  # they change nothing any more
            reading = asyncio.create_task(asyncio.to_thread(_page, events))
            try:
                while page := await reading:
                    reading = asyncio.create_task(asyncio.to_thread(_page, events))  # while this one is folded
                    self._last = page[-1].seq
                    yield page
            finally:
                await asyncio.wait({reading})

    def _target(self) -> Target | None:
        """Where a live run can be heard, once it has told."""
        offered = endpoint.read(self._folder.endpoint, self._folder.owner())
        if offered is None or offered.mqtt is None:
            return None
        from orchestrator.live import targets

        return targets.live(self._folder, self.name)

    async def database(self) -> Path:
        return self._folder.database

    def is_live(self) -> bool:
        return self._folder.owner() is not None

    def must_not_replace(self, file: Path) -> None:
        from orchestrator import delivery

        delivery.must_not_replace(file, self._folder)

    async def ask(self, request: dict[str, Any]) -> Recorded:
        from orchestrator.live import targets
        from orchestrator.viewing_remote import asked

        with translated():
            return await asked(await asyncio.to_thread(targets.live, self._folder, self.name), request)

    async def log(self, candidate_id: str, most_lines: int) -> list[str]:
        found: list[str] = []
        own = re.compile(rf"j-{re.escape(candidate_id)}(-\d+)?\.log")
        for file in sorted(one for one in self._folder.logs.glob(f"j-{candidate_id}*.log") if own.fullmatch(one.name)):
            found += [f"== {file}", *await asyncio.to_thread(_tail, file, most_lines)]
        if not found:
            raise SourceError(f"its trainings wrote no log in {self._folder.logs}")
        return found[-most_lines:]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Look for no rubbish among what is there at the end: it is kept."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _page(events: Iterator[Recorded]) -> list[Recorded]:
    return list(islice(events, PAGE))


def _tail(file: Path, most_lines: int) -> list[str]:
    try:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            return log.read().decode("utf-8", errors="replace").splitlines()[-most_lines:]
    except OSError as error:
        return [f"can't be read: {error.strerror}"]
