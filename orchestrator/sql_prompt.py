"""The prompt of `sql`: lines with history and completion until a semicolon; each statement sees the run as it is then."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completion, WordCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from lineage.architecture import LineageError
from lineage.moment import At, last_at
from lineage.snapshot import snapshot_file, stamp
from lineage.statements import is_complete, split
from lineage.store import EventStore
from orchestrator.delivery import show
from orchestrator.display import stdout_console, table
from orchestrator.errors import OrchestratorError
from orchestrator.querying import Asking, answered
from orchestrator.run_folder import RunFolder
from orchestrator.turns import Turns

HELP = """\
A SELECT in DuckDB's SQL, over as many lines as you like, ends with a semicolon.
.tables   tables, views and macros, and their columns
.help     this
Tab completes names and words of SQL, the arrow keys go through what was asked before.
Ctrl-C gives up a line, or a query that runs; Ctrl-D leaves."""

NAMES = """
SELECT table_name AS name, string_agg(column_name, ' ' ORDER BY column_index) AS columns
FROM duckdb_columns() WHERE NOT internal GROUP BY ALL
UNION ALL
SELECT DISTINCT function_name || '(' || array_to_string(parameters, ', ') || ')', '(a table macro)'
FROM duckdb_functions() WHERE NOT internal AND function_type = 'table_macro'
ORDER BY ALL
"""
KEYWORDS = "SELECT upper(keyword_name) FROM duckdb_keywords() ORDER BY ALL"


class Look:
    """A copy of a run's store, taken anew whenever the run has changed; as of a moment, if one was asked for."""

    def __init__(self, database: Path, at: At | None, kept: contextlib.ExitStack) -> None:
        self._database, self._at, self._kept = database, at, kept
        self._seen: object = None
        self._copy = database

    def copy(self) -> Path:
        """Raises as `snapshot_file`."""
        found = stamp(self._database)
        if found != self._seen:
            self._kept.close()
            self._seen = None
            self._copy = self._kept.enter_context(snapshot_file(self._database, self._at))
            self._seen = found
        return self._copy


def prompt(folder: RunFolder, at: At | None, how: Asking, turns: Turns) -> None:
    """Ask for statements and answer them until Ctrl-D."""
    with contextlib.ExitStack() as kept:
        look = Look(folder.database, at, kept)
        with EventStore.open_read_only(look.copy()) as store:
            names = store.query(NAMES).rows
            words = [word for (word,) in store.query(KEYWORDS).rows]
            last = last_at(store)
        seen = f"as of {last}" if at is not None else f"{last.seq} events so far"
        print_line(f"run {folder.name}, {seen}; a statement ends with a semicolon; .help helps, Ctrl-D leaves")
        session: PromptSession[str] = PromptSession(
            message=f"{folder.name}{'' if at is None else f' at {last.seq}'}> ",
            prompt_continuation="... ",
            multiline=Condition(lambda: goes_on(get_app().current_buffer.text)),
            completer=_Completer([*dict.fromkeys(_words(names)), *words], ignore_case=True),
            history=history(),
        )
        for text in _typed(session):
            try:
                _answer(text, look, how, names, turns)
            except KeyboardInterrupt:
                print_line("given up")
            except (LineageError, OrchestratorError) as error:
                print_line(f"error: {error}")
            finally:
                turns.end()


class _Completer(WordCompleter):
    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Of a word that is begun; of none, where somebody asks for that."""
        if complete_event.completion_requested or document.get_word_before_cursor():
            yield from super().get_completions(document, complete_event)


def goes_on(text: str) -> bool:
    """Whether Enter begins another line, and does not end the input."""
    return bool(text.strip()) and not text.lstrip().startswith(".") and not is_complete(text)


def _typed(session: PromptSession[str]) -> Iterator[str]:
    while True:
        try:
            yield session.prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return


def _words(names: list[tuple[str, str]]) -> Iterator[str]:
    for name, columns in names:
        yield name.partition("(")[0]
        yield from () if "(" in name else columns.split()


def _answer(text: str, look: Look, how: Asking, names: list[tuple[str, str]], turns: Turns) -> None:
    match text.strip():
        case ".tables":
            stdout_console().print(table("", ("name", "columns"), names))
        case ".help":
            print_line(HELP)
        case command if command.startswith("."):
            print_line(f"error: there is no command {command.split()[0]}, but .tables and .help")
        case _:
            for statement in split(text):
                turns.take()
                with answered(look.copy(), statement, how) as answer:
                    turns.end()
                    show(answer)


def print_line(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class _History(FileHistory):
    def store_string(self, string: str) -> None:
        with contextlib.suppress(OSError):  # a full disk is no reason to ask nothing
            super().store_string(string)


def history() -> History:
    """What was asked before, in the user's state folder, for nobody else to read; where it can't be, of this session."""
    state = os.environ.get("XDG_STATE_HOME", "")
    try:
        folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
        file = folder / "spnas-orch" / "sql_history"
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
        file.chmod(0o600)
    except (OSError, RuntimeError):
        return InMemoryHistory()
    return _History(file)
