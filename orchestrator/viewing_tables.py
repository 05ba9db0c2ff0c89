"""What the terminal UI asks of a run's tables (`tui.source.Source`), wherever the database with them is."""

from __future__ import annotations

import asyncio
import json
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from lineage.architecture import LineageError
from lineage.snapshot import snapshot_file
from lineage.store import EventStore
from orchestrator.errors import OrchestratorError
from tui.source import Answer, SourceError

QUERY_S, QUERY_BYTES = 600.0, 10**9
FORMS = ("csv", "json", "parquet")
T = TypeVar("T")


class Tables(ABC):
    """Answers from a database, as it is when somebody asks. What that takes is imported then."""

    def __init__(self) -> None:
        self._taking = asyncio.Lock()

    @abstractmethod
    async def database(self) -> Path:
        """The database, with all that was heard so far."""

    @abstractmethod
    def is_live(self) -> bool:
        """Whether a process drives the run."""

    @abstractmethod
    def must_not_replace(self, file: Path, /) -> None:
        """Raise UserError if a file is the run's own."""

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[Path]:
        """A copy of the database that nobody writes."""
        with translated(), ExitStack() as kept:
            async with self._taking:  # whoever comes next may have to add to it
                copy = await entered(kept, snapshot_file(await self.database()))
            yield copy

    async def query(self, statement: str, most_rows: int, /) -> Answer:
        from orchestrator import querying

        how = querying.Asking("rows", QUERY_S, QUERY_BYTES)
        async with self._snapshot() as copy, querying.answering(copy, statement, how, most_rows + 1) as answer:
            found = json.loads(answer.read_text("utf-8"))
        return Answer(tuple(found["columns"]), found["rows"][:most_rows], len(found["rows"]) <= most_rows)

    async def export(self, statement: str, file: str, /) -> None:
        from orchestrator import delivery, querying

        output = _path(file)
        form = output.suffix.removeprefix(".")
        if form not in FORMS:
            raise SourceError(f"{file}: expected a name that ends with {', '.join(f'.{one}' for one in FORMS)}")
        with translated():
            if output.exists() and not output.is_file():
                raise SourceError(f"{file} is no file that can be replaced")
            self.must_not_replace(output)
        how = querying.Asking(form, QUERY_S, QUERY_BYTES)
        async with self._snapshot() as copy, querying.answering(copy, statement, how) as answer:
            await asyncio.to_thread(delivery.write, answer, output)

    def is_file(self, file: str, /) -> bool:
        return _path(file).is_file()

    async def why(self, candidate_id: str, /) -> str:
        async with self._snapshot() as copy:
            return await asyncio.to_thread(_why, copy, candidate_id, self.is_live())


def _path(file: str) -> Path:
    return Path(os.path.expanduser(file))  # noqa: PTH111 - which leaves the names of unknown users as they are


async def entered(kept: ExitStack, context: AbstractContextManager[T]) -> T:
    """Enter a context in a thread; whoever is cancelled meanwhile leaves it in order."""
    entering = asyncio.ensure_future(asyncio.to_thread(kept.enter_context, context))
    try:
        return await asyncio.shield(entering)
    except asyncio.CancelledError:
        await asyncio.wait({entering})
        raise


def _why(copy: Path, candidate_id: str, is_live: bool) -> str:
    from lineage.explanation import explain
    from orchestrator.why import account

    with EventStore.open_read_only(copy) as store:
        return "\n".join(account(explain(store, candidate_id, is_live)))


@contextmanager
def translated() -> Iterator[None]:
    """Errors of ours become those of the UI."""
    try:
        yield
    except (LineageError, OrchestratorError, OSError) as error:
        raise SourceError(str(error)) from error
