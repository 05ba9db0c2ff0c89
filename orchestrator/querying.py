"""`sql`: one SELECT or several, each answered by a process of its own within limits (`orchestrator.answering`)."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lineage.errors import QueryError, StoreFull
from lineage.moment import last_at
from lineage.snapshot import snapshot_file
from lineage.statements import split
from lineage.store import EventStore
from orchestrator.answering import NO_ROOM, REFUSED, TOO_MUCH, Request
from orchestrator.display import stdout_console
from orchestrator.errors import InfrastructureError, UserError
from orchestrator.inspection import asked
from orchestrator.quantities import memory_bytes
from orchestrator.run_folder import find_run
from orchestrator.user_files import in_words

ANSWERING = (sys.executable, "-P", "-m", "orchestrator.answering")
LEAST_BYTES = 2**24
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
    return found


def sql(run: str, statement: str | None, at: str | None, how: Asking, output: Path | None) -> None:
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

        prompt(folder, moment, how)
        return
    statements = _given() if statement is None else [statement]
    if len(statements) > 1 and (output is not None or how.form == "parquet"):
        raise UserError(f"one file holds one answer, found {len(statements)} statements: ask them one by one")
    with snapshot_file(folder.database, moment) as database:
        title = "" if moment is None else f"as of {_last(database)}"
        for one in statements:
            with answered(database, one, how, title) as answer:
                hand_over(answer, output)


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


@contextmanager
def answered(database: Path, statement: str, how: Asking, title: str = "") -> Iterator[Path]:
    """A file with the answer of a statement that is asked of a snapshot.

    Raises:
        QueryError: it is no single SELECT, failed, or passed a limit.
        StoreFull: there is no room for the answer.
        InfrastructureError: the process that was to answer ended without a word.
    """
    with TemporaryDirectory(prefix="spnas-answer-") as folder:
        answer, console = Path(folder) / "answer", stdout_console()
        request = Request(
            database=str(database),
            statement=statement,
            form=how.form,
            answer=str(answer),
            seconds=how.seconds,
            memory_bytes=how.memory_bytes,
            title=title,
            width=console.width,
            is_terminal=console.is_terminal,
        )
        _judge(*_process(_encoded(request)), how, folder)
        yield answer


async def rows_of(database: Path, statement: str, how: Asking, most_rows: int) -> tuple[list[str], list[list[Any]]]:
    """Columns and the first rows of an answer. Cancelled, it ends the query. Raises as `answered`."""
    with TemporaryDirectory(prefix="spnas-answer-") as folder:
        answer = Path(folder) / "answer"
        request = Request(
            str(database), statement, "rows", str(answer), how.seconds, how.memory_bytes, most_rows=most_rows
        )
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
        _judge(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"), how, folder)
        found = json.loads(answer.read_text("utf-8"))
        return found["columns"], found["rows"]


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


def _judge(code: int, out: str, err: str, how: Asking, folder: str) -> None:
    match code:
        case 0:
            return
        case _ if code == REFUSED:
            raise QueryError(out)
        case _ if code == -signal.SIGALRM:
            raise QueryError(f"the query took longer than {how.seconds:g} s; --timeout SECONDS gives it more")
        case _ if code == TOO_MUCH or code in (-signal.SIGABRT, -signal.SIGKILL):
            allowed = f"{how.memory_bytes / 1e9:g} GB"
            raise QueryError(
                f"the query needs more memory than {allowed}, or its answer does; --memory SIZE gives it more"
            )
        case _ if code == NO_ROOM:
            raise StoreFull(f"there is no room for the answer in {folder}: make some, or name another place in TMPDIR")
    last = err.strip().splitlines()[-1:]
    raise InfrastructureError(f"the process that was to answer ended (exit code {code}): {' '.join(last)}")


def show(answer: Path) -> None:
    """Print an answer as it is, which may be binary."""
    sys.stdout.flush()
    with answer.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def hand_over(answer: Path, output: Path | None) -> None:
    """Write an answer to a file, or print it. Raises UserError."""
    if output is None:
        show(answer)
        return
    try:
        shutil.copyfile(answer, output)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"the answer can't be written to {shlex.quote(str(output))}: {reason}") from error
