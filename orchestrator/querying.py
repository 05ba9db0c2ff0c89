"""`sql`: one SELECT or several, each answered by a process of its own within limits (`orchestrator.answering`)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lineage.errors import QueryError, StoreFull
from lineage.moment import last_at
from lineage.scratch import scratch_folder
from lineage.snapshot import snapshot_file
from lineage.statements import split
from lineage.store import EventStore
from orchestrator.answering import NO_ROOM, REFUSED, TOO_MUCH, Request
from orchestrator.delivery import must_not_replace, show, write
from orchestrator.display import stdout_console
from orchestrator.errors import InfrastructureError, UserError
from orchestrator.inspection import asked
from orchestrator.quantities import memory_bytes
from orchestrator.run_folder import find_run
from orchestrator.turns import Turns
from orchestrator.user_files import in_words

ANSWERING = (sys.executable, "-P", "-m", "orchestrator.answering")
LEAST_BYTES, MOST_BYTES = 2**24, 2**50
LEAST_S, MOST_S = 0.001, 10**7
MAX_INPUT_BYTES = 2**20  # of statements on standard input


@dataclass(frozen=True, slots=True)
class Asking:
    """How statements are answered: in which form, and within which limits."""

    form: str
    seconds: float
    memory_bytes: int


def size(text: str) -> int:
    """Bytes of memory. Raises UserError."""
    try:
        found = memory_bytes(text) or 0
    except ValueError as error:
        raise UserError(f"--memory: {error}, found {text[:80]!r}") from None
    if found < LEAST_BYTES:
        raise UserError(f"--memory: DuckDB needs at least {in_words(LEAST_BYTES)} for itself, found {text[:80]!r}")
    if found > MOST_BYTES:
        raise UserError(f"--memory: expected {in_words(LEAST_BYTES)} to {MOST_BYTES >> 40} TiB, found {text[:80]!r}")
    return found


def duration(seconds: float) -> float:
    """How long a query may take. Raises UserError."""
    if not LEAST_S <= seconds <= MOST_S:
        raise UserError(f"--timeout: expected {LEAST_S:g} to {MOST_S} seconds, found {seconds:g}")
    return seconds


def sql(run: str, statement: str | None, at: str | None, how: Asking, output: Path | None, turns: Turns) -> None:
    """Answer a statement; without one, those on standard input, or on a terminal what somebody types.

    Raises:
        UserError: there is nothing to answer, or no place for the answer.
        QueryError: a statement is no single SELECT, failed, or passed a limit.
    """
    folder, moment = find_run(run), asked(at)
    if how.form == "parquet" and output is None and sys.stdout.isatty():
        raise UserError("parquet is not for people to read: name a file for it with --output FILE, or a pipe")
    if statement is None and sys.stdin.isatty() and output is not None:
        raise UserError("--output goes with a statement: give one as an argument, or by a pipe")
    if statement is None and sys.stdin.isatty() and sys.stdout.isatty():
        from orchestrator.sql_prompt import prompt

        prompt(folder, moment, how, turns)
        return
    statements = _given() if statement is None else [statement]
    if len(statements) > 1 and (output is not None or how.form == "parquet"):
        raise UserError(f"one file holds one answer, found {len(statements)} statements: ask them one by one")
    if output is not None:
        must_not_replace(output, folder)
    with ExitStack() as kept:
        database, title = None, ""
        for one in statements:
            turns.take()
            if database is None:
                database = kept.enter_context(snapshot_file(folder.database, moment))
                title = "" if moment is None else f"as of {_last(database)}"
            with answered(database, one, how, title) as answer:
                turns.end()  # whoever reads the answer may take as long as they like
                show(answer) if output is None else write(answer, output)


def _given() -> list[str]:
    """Statements on standard input. Raises UserError."""
    content = sys.stdin.buffer.read(MAX_INPUT_BYTES + 1)
    if len(content) > MAX_INPUT_BYTES:
        raise UserError(f"standard input has more than {in_words(MAX_INPUT_BYTES)} of SQL")
    try:
        statements = split(content.decode())
    except UnicodeDecodeError:
        raise UserError("standard input is no UTF-8: expected statements in SQL") from None
    if not statements:
        raise UserError("nothing to answer: give a SELECT as an argument or on standard input, or use a terminal")
    return statements


def _last(database: Path) -> str:
    with EventStore.open_read_only(database) as store:
        return str(last_at(store))


def _request(database: Path, statement: str, how: Asking, answer: Path) -> Request:
    return Request(
        database=str(database),
        statement=statement,
        form=how.form,
        answer=str(answer),
        seconds=how.seconds,
        memory_bytes=how.memory_bytes,
        owner=os.getpid(),
    )


@contextmanager
def answered(database: Path, statement: str, how: Asking, title: str = "") -> Iterator[Path]:
    """A file with the answer of a statement that is asked of a snapshot.

    Raises:
        QueryError: it is no single SELECT, failed, or passed a limit.
        StoreFull: there is no room for the answer.
        InfrastructureError: the process that was to answer ended without a word.
    """
    with scratch_folder() as folder:
        answer, console = folder / "answer", stdout_console()
        request = replace(
            _request(database, statement, how, answer),
            title=title,
            width=console.width,
            is_terminal=console.is_terminal,
        )
        _judge(*_process(_encoded(request)), how, answer)
        yield answer


@asynccontextmanager
async def answering(database: Path, statement: str, how: Asking, most_rows: int = 0) -> AsyncIterator[Path]:
    """As `answered`, for whoever may cancel it, which ends the query; `most_rows` of the form rows."""
    with scratch_folder() as folder:
        answer = folder / "answer"
        request = replace(_request(database, statement, how, answer), most_rows=most_rows)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *ANSWERING, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
        try:
            out, err = await process.communicate(_encoded(request))
        except BaseException:
            process.kill()
            await process.wait()
            raise
        assert process.returncode is not None
        _judge(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"), how, answer)
        yield answer


def _encoded(request: Request) -> bytes:
    try:
        return json.dumps(asdict(request), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise QueryError("the query failed: expected UTF-8") from None


def _process(asked_for: bytes) -> tuple[int, str, str]:
    """Exit code, output and errors of the process that answers. It has a session of its own, for Ctrl-C is for this one."""
    pipe = subprocess.PIPE
    with subprocess.Popen(ANSWERING, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            out, err = process.communicate(asked_for)
        except BaseException:
            process.kill()
            process.wait()
            raise
    return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def _judge(code: int, out: str, err: str, how: Asking, answer: Path) -> None:
    match code:
        case 0:
            return
        case _ if code == REFUSED:
            raise QueryError(out)
        case _ if code == -signal.SIGALRM:
            faster = "; if it is the table that takes long, --format csv is faster" if how.form == "table" else ""
            raise QueryError(
                f"the query took longer than {how.seconds:g} s; spnas-orch sql --timeout SECONDS gives it more{faster}"
            )
        case _ if code == TOO_MUCH or code in (-signal.SIGABRT, -signal.SIGKILL):
            allowed = f"{how.memory_bytes / 1e9:g} GB"
            raise QueryError(
                f"the query needs more memory than {allowed}, or its answer does; spnas-orch sql --memory SIZE gives it more"
            )
        case _ if code == NO_ROOM:
            raise StoreFull(
                f"there is no room for the answer in {answer.parent}: make some, or name another folder in TMPDIR"
            )
    last = err.strip().splitlines()[-1:]
    raise InfrastructureError(f"the process that was to answer ended (exit code {code}): {' '.join(last)}")
