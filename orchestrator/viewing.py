"""What the terminal UI is given of a run (`tui.source.Source`): its folder on this machine, or its broker elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from lineage.architecture import LineageError
from lineage.events import Recorded
from lineage.explanation import explain
from lineage.snapshot import open_snapshot, snapshot_file, stamp
from orchestrator import delivery, querying
from orchestrator.errors import InfrastructureError, OrchestratorError
from orchestrator.live import client, endpoint, targets
from orchestrator.live.client import Gone, Target
from orchestrator.live.messages import Status, Uses
from orchestrator.requests import user_name
from orchestrator.run_folder import RunFolder
from orchestrator.why import account
from tui.source import Answer, Contact, DeviceUse, News, SourceError

POLL_S = 0.5
RETRY_S = 2.0
PAGE = 2000
ASKING = querying.Asking("rows", seconds=600.0, memory_bytes=10**9)


class LocalRun:
    """A run folder on this machine: past events from its store, live ones from its bus as soon as there is one."""

    def __init__(self, folder: RunFolder, name: str) -> None:
        self.name = name
        self._folder = folder
        self._last = 0

    async def news(self) -> AsyncGenerator[News]:
        seen, told = None, None
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
                if is_live and (target := self._target()) is not None:
                    async with aclosing(_heard(target, self._last)) as heard:
                        async for news in heard:
                            if isinstance(news, list):
                                self._last = news[-1].seq
                            yield news
                    seen = told = None
                await asyncio.sleep(POLL_S)
        except LineageError as error:
            raise SourceError(str(error)) from error

    async def _past(self) -> AsyncGenerator[list[Recorded]]:
        """The events that the store has after the last one."""
        with ExitStack() as kept:
            store = await asyncio.to_thread(kept.enter_context, open_snapshot(self._folder.database))
            events = store.read(after_seq=self._last)
            while page := await asyncio.to_thread(lambda: list(islice(events, PAGE))):
                self._last = page[-1].seq
                yield page

    def _target(self) -> Target | None:
        """Where a live run can be heard, once it has told."""
        offered = endpoint.read(self._folder.endpoint, self._folder.owner())
        return None if offered is None or offered.mqtt is None else targets.live(self._folder, self.name)

    async def query(self, statement: str, most_rows: int) -> Answer:
        with _told():
            with snapshot_file(self._folder.database) as copy:
                columns, rows = await querying.rows_of(copy, statement, ASKING, most_rows + 1)
            return Answer(tuple(columns), rows[:most_rows], len(rows) <= most_rows)

    async def export(self, statement: str, file: str) -> None:
        form = Path(file).suffix.removeprefix(".")
        if form not in ("csv", "json", "parquet"):
            raise SourceError(f"{file}: expected a name that ends with .csv, .json or .parquet")
        with _told():
            await asyncio.to_thread(self._export, statement, form, Path(file).expanduser())

    def _export(self, statement: str, form: str, file: Path) -> None:
        how = querying.Asking(form, ASKING.seconds, ASKING.memory_bytes)
        delivery.must_not_replace(file, self._folder)
        with snapshot_file(self._folder.database) as copy, querying.answered(copy, statement, how) as answer:
            delivery.write(answer, file)

    async def ask(self, request: dict[str, Any]) -> Recorded:
        with _told():
            return await _asked(await asyncio.to_thread(targets.live, self._folder, self.name), request)

    async def why(self, candidate_id: str) -> str:
        with _told():
            return await asyncio.to_thread(self._why, candidate_id)

    def _why(self, candidate_id: str) -> str:
        with open_snapshot(self._folder.database) as store:
            return "\n".join(account(explain(store, candidate_id, self._folder.owner() is not None)))

    async def log(self, candidate_id: str, most_lines: int) -> list[str]:
        found: list[str] = []
        for file in sorted(self._folder.logs.glob(f"j-{candidate_id}*.log")):
            found += [f"== {file}", *_tail(file, most_lines)]
        if not found:
            raise SourceError(f"its trainings wrote no log in {self._folder.logs}")
        return found[-most_lines:]


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
                async with aclosing(_heard(self._target, self._last)) as heard:
                    async for news in heard:
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
        with _told():
            return await _asked(self._target, request)

    async def query(self, _statement: str, _most_rows: int, /) -> Answer:
        raise SourceError("its tables are on the machine where it runs: watch it there, or ask with spnas-orch sql")

    async def export(self, statement: str, _file: str, /) -> None:
        await self.query(statement, 0)

    async def why(self, candidate_id: str) -> str:
        raise SourceError(f"its log is on the machine where it runs: spnas-orch why RUN {candidate_id} there")

    async def log(self, _candidate_id: str, _most_lines: int, /) -> list[str]:
        raise SourceError("its logs are on the machine where it runs")


async def _heard(target: Target, after: int) -> AsyncGenerator[News]:
    async with aclosing(client.heard(target, after)) as heard:
        async for one in heard:
            match one:
                case Recorded():
                    yield [one]
                case Status():
                    yield Contact("over") if one.state == "lost" else Contact("live")
                case Uses():
                    yield tuple(DeviceUse(**use.model_dump()) for use in one.devices)
                case Gone():
                    yield Contact("away", f"the broker is gone ({one.reason})")


async def _asked(target: Target, request: dict[str, Any]) -> Recorded:
    answer = await client.ask(target, request, f"{user_name()}@{socket.gethostname()}")
    if "event" not in answer:
        raise SourceError(f"the run does not: {answer.get('error')}")
    return Recorded.model_validate(answer["event"])


@contextmanager
def _told() -> Iterator[None]:
    """Errors of ours become those of the UI."""
    try:
        yield
    except (LineageError, OrchestratorError) as error:
        raise SourceError(str(error)) from error


def _tail(file: Path, most_lines: int) -> list[str]:
    try:
        return file.read_text("utf-8", errors="replace").splitlines()[-most_lines:]
    except OSError as error:
        return [f"can't be read: {error.strerror}"]
