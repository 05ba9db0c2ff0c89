"""What the terminal UI asks of a run's tables (`tui.source.Source`), wherever the database with them is."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lineage.architecture import LineageError
from lineage.snapshot import open_snapshot, snapshot_file
from orchestrator.errors import OrchestratorError
from tui.source import Answer, SourceError

QUERY_S, QUERY_BYTES = 600.0, 10**9
FORMS = ("csv", "json", "parquet")


class Tables(ABC):
    """Answers from a database, as it is when somebody asks. What that takes is imported then."""

    @abstractmethod
    async def database(self) -> Path:
        """The database, with all that was heard so far."""

    @abstractmethod
    def is_live(self) -> bool:
        """Whether a process drives the run."""

    @abstractmethod
    def must_not_replace(self, file: Path, /) -> None:
        """Raise UserError if a file is the run's own."""

    async def query(self, statement: str, most_rows: int, /) -> Answer:
        from orchestrator import querying

        how = querying.Asking("rows", QUERY_S, QUERY_BYTES)
        with translated(), ExitStack() as kept:
            copy = await asyncio.to_thread(kept.enter_context, snapshot_file(await self.database()))
            columns, rows = await querying.rows_of(copy, statement, how, most_rows + 1)
        return Answer(tuple(columns), rows[:most_rows], len(rows) <= most_rows)

    async def export(self, statement: str, file: str, /) -> None:
        form = Path(file).suffix.removeprefix(".")
        if form not in FORMS:
            raise SourceError(f"{file}: expected a name that ends with {', '.join(f'.{one}' for one in FORMS)}")
        with translated():
            await asyncio.to_thread(self._export, await self.database(), statement, form, Path(file).expanduser())

    def _export(self, database: Path, statement: str, form: str, file: Path) -> None:
        from orchestrator import delivery, querying

        how = querying.Asking(form, QUERY_S, QUERY_BYTES)
        self.must_not_replace(file)
        with snapshot_file(database) as copy, querying.answered(copy, statement, how) as answer:
            delivery.write(answer, file)

    async def why(self, candidate_id: str, /) -> str:
        with translated():
            return await asyncio.to_thread(self._why, await self.database(), candidate_id)

    def _why(self, database: Path, candidate_id: str) -> str:
        from lineage.explanation import explain
        from orchestrator.why import account

        with open_snapshot(database) as store:
            return "\n".join(account(explain(store, candidate_id, self.is_live())))


@contextmanager
def translated() -> Iterator[None]:
    """Errors of ours become those of the UI."""
    try:
        yield
    except (LineageError, OrchestratorError) as error:
        raise SourceError(str(error)) from error
