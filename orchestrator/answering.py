"""A process that answers one SELECT within limits which the system keeps: `python -m orchestrator.answering`.

DuckDB neither counts all the memory that a query takes, nor ends every query that it is asked to: so past its time this
process is ended (SIGALRM), and there is no memory for it beyond twice what DuckDB may take. Its input is a `Request` as one
JSON object, the answer is a file, and what it writes to its output is why there is none. It must not know what a run is.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import duckdb

from lineage.database import connect_for_one_query, translated
from lineage.errors import QueryError, StoreError
from lineage.statements import must_be_select
from orchestrator import forms
from orchestrator.live.beside import end_with_owner, session_gives_way
from orchestrator.turns import NICENESS

REFUSED = 3  # exit codes
TOO_MUCH = 4
NO_ROOM = 5
MAPPED = Path("/proc/self/statm")  # begins with the pages that this process has mapped; Linux alone has it


@dataclass(frozen=True, slots=True)
class Request:
    """`statement` is asked of the database file `database`; the answer goes to `answer`, in a folder that has nothing else.

    `width` is that of the terminal for a table, above which stands `title`; `is_terminal` lets it have styles. `owner` is
    the process that asks, without which there is nobody to answer. Form ``rows`` has `most_rows` at most.
    """

    database: str
    statement: str
    form: str
    answer: str
    seconds: float
    memory_bytes: int
    owner: int
    title: str = ""
    width: int = 80
    is_terminal: bool = False
    most_rows: int = sys.maxsize


def main() -> None:
    end_with_owner()
    request = Request(**json.loads(sys.stdin.buffer.read()))
    if os.getppid() != request.owner:  # it ended before this process could be told
        return
    session_gives_way(NICENESS)  # whoever asks gave way before
    limit(request.seconds, request.memory_bytes)
    try:
        answer(request)
    except (OSError, StoreError, MemoryError, RuntimeError) as error:
        sys.exit(verdict(error))


def limit(seconds: float, memory_bytes: int) -> None:
    """Bounds that this process can't pass: of time, of memory, of the length of the answer."""
    most = {resource.RLIMIT_FSIZE: 2 * memory_bytes, resource.RLIMIT_CORE: 0}
    if MAPPED.exists():
        has = int(MAPPED.read_text().split()[0]) * resource.getpagesize()
        most[resource.RLIMIT_AS] = has + 2 * memory_bytes
    for what, wanted in most.items():
        _, most_allowed = resource.getrlimit(what)
        allowed = wanted if most_allowed == resource.RLIM_INFINITY else min(wanted, most_allowed)
        resource.setrlimit(what, (allowed, allowed))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def verdict(error: Exception) -> int:
    """The exit code for what went wrong; where that is the statement's fault, the reason is written, too."""
    found, cause = str(error), error.__context__
    if "No space left on device" in found:
        return NO_ROOM
    is_memory = isinstance(error, MemoryError) or isinstance(cause, duckdb.OutOfMemoryException)
    if is_memory or "File too large" in found or "Could not allocate" in found:
        return TOO_MUCH
    if not isinstance(error, StoreError):
        raise error
    sys.stdout.buffer.write(found.encode())
    return REFUSED


def answer(request: Request) -> None:
    """Write the answer, whole.

    Raises:
        StoreError: the statement is no single SELECT, or can't be answered.
    """
    file = Path(request.answer)
    screen = forms.Screen(request.width, request.is_terminal, request.title, request.most_rows)
    with (
        translated("the query failed", QueryError),
        connect_for_one_query(Path(request.database), request.memory_bytes, file.parent) as connection,
    ):
        must_be_select(connection, request.statement)
        forms.write(connection.sql(request.statement), request.form, file, screen)


if __name__ == "__main__":
    main()
