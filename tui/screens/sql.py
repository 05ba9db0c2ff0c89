"""The SQL screen: statements, answered while the run goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Static, TextArea
from textual.worker import Worker

from tui.queries import NAMES, Kept, completions
from tui.screens.ask import Ask
from tui.screens.confirm import Choice, Confirm
from tui.screens.run import RunScreen
from tui.source import Answer, SourceError
from tui.widgets.grid import Cell, Column, Grid

MOST_ROWS = 10_000
FIRST = "SELECT candidate_id, arch, ap, flops, params FROM leaderboard LIMIT 20"


class Editor(TextArea):
    """Completes `names` with tab."""

    names: tuple[str, ...] = ()

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,f5", "screen.run", "Run", key_display="^j"),
        Binding("ctrl+up", "screen.earlier", "Earlier", show=False),
        Binding("ctrl+down", "screen.later", "Later", show=False),
    ]

    def on_key(self, event: object) -> None:
        if getattr(event, "key", "") == "tab" and self._complete():
            event.prevent_default()  # type: ignore[attr-defined]
            event.stop()  # type: ignore[attr-defined]

    def _complete(self) -> bool:
        """Complete the name before the cursor as far as it is certain; false where there is none."""
        row, column = self.cursor_location
        found, start = completions(self.document.get_line(row)[:column], self.names)
        if not found:
            return False
        common = _common(found)
        self.replace(common, (row, start), (row, column))
        if len(found) > 1:
            self.app.notify("  ".join(found[:12]), timeout=4)
        return True


class SqlScreen(RunScreen):
    """A statement above, its answer below."""

    NAME: ClassVar[str] = "SQL"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+j,f5", "run", "Run", key_display="^j"),
        Binding("escape", "stop_query", "Stop"),
        Binding("ctrl+s", "keep", "Keep"),
        Binding("ctrl+o", "open_kept", "Kept", show=False),
        Binding("ctrl+e", "export", "Export", priority=True),  # the editor has it for the end of a line
    ]

    def __init__(self) -> None:
        super().__init__()
        self.clock: Callable[[], float] = time.monotonic
        self._kept = Kept()
        self._place = 0
        self._asked = ""
        self._number = 0
        self._worker: Worker[None] | None = None

    def parts(self) -> Iterator[Widget]:
        yield Editor(FIRST, language="sql", show_line_numbers=False, soft_wrap=True, id="statement")
        yield Static("ctrl+j asks, tab completes a name, esc leaves the editor", id="sql-note", markup=False)
        yield Grid(id="answer")

    def on_mount(self) -> None:
        self.query_one(Editor).focus()
        self._learn_names()

    @work(group="names")
    async def _learn_names(self) -> None:
        with suppress(SourceError):
            answer = await self.spnas.source.query(NAMES, MOST_ROWS)
            self.query_one(Editor).names = tuple(str(row[0]) for row in answer.rows)

    def action_run(self) -> None:
        statement = self.query_one(Editor).text.strip().rstrip(";")
        if statement:
            self._kept.remember(statement)
            self._place = 0
            self._worker = self.run_worker(partial(self._answer, statement), exclusive=True, group="query")

    async def _answer(self, statement: str) -> None:
        note = self.query_one("#sql-note", Static)
        began = self.clock()
        note.update("asking ... (esc cancels)")
        number = self._number = self._number + 1
        try:
            answer = await self.spnas.source.query(statement, MOST_ROWS)
        except SourceError as error:
            note.update(str(error))
            return
        except asyncio.CancelledError:
            if number == self._number:  # nothing else was asked since
                note.update("cancelled")
            raise
        self._asked = statement
        took = self.clock() - began
        more = "" if answer.is_whole else f", the first {MOST_ROWS}: ctrl+e writes all to a file"
        note.update(f"{len(answer.rows)} rows in {took:.2f} s{more}")
        self._show(answer)

    def _show(self, answer: Answer) -> None:
        numbers = [
            any(isinstance(row[n], int | float) for row in answer.rows[:100]) for n in range(len(answer.columns))
        ]
        columns = [Column(name, is_number) for name, is_number in zip(answer.columns, numbers, strict=True)]
        grid = self.query_one("#answer", Grid)
        grid.show(0, lambda _: (), ())
        grid.show(len(answer.rows), lambda row: tuple(_cell(value) for value in answer.rows[row]), columns)
        grid.move_to(0)

    def action_stop_query(self) -> None:
        if self._worker is not None and self._worker.is_running:
            self._worker.cancel()
        else:
            self.query_one("#answer").focus()

    def action_earlier(self) -> None:
        self._turn(1)

    def action_later(self) -> None:
        self._turn(-1)

    def _turn(self, steps: int) -> None:
        statements = self._kept.history()
        self._place = max(0, min(self._place + steps, len(statements)))
        self.query_one(Editor).text = statements[-self._place] if self._place else ""

    def action_keep(self) -> None:
        statement = self.query_one(Editor).text.strip()

        def named(name: str | None) -> None:
            if name:
                try:
                    self._kept.save(name, statement)
                except OSError as error:
                    self.notify(f"it can't be kept: {error}", severity="error", markup=False)
                else:
                    self.notify(f"kept as {name!r}", markup=False)

        if statement:
            self.app.push_screen(Ask("Keep the statement as", ""), named)

    def action_open_kept(self) -> None:
        saved = self._kept.saved()

        def chosen(name: str | None) -> None:
            if name is not None:
                self.query_one(Editor).text = saved[name]

        options = {name: f"{name}: {' '.join(statement.split())[:60]}" for name, statement in saved.items()}
        self.app.push_screen(Choice("Which statement?", "", options), chosen)

    def action_export(self) -> None:
        def write(file: str) -> None:
            self._worker = self.run_worker(partial(self._export, self._asked, file), exclusive=True, group="query")

        def named(file: str | None) -> None:
            if file and self.spnas.source.is_file(file):
                text = f"{file} is there already, and what is in it would be lost."
                self.app.push_screen(Confirm("Replace it?", text), lambda is_meant: write(file) if is_meant else None)
            elif file:
                write(file)

        if self._asked:
            self.app.push_screen(Ask("Write the whole answer to (.csv, .json, .parquet)", "answer.csv"), named)
        else:
            self.notify("run a statement first", severity="warning")

    async def _export(self, statement: str, file: str) -> None:
        note = self.query_one("#sql-note", Static)
        number = self._number = self._number + 1
        note.update(f"writing {file} ... (esc cancels)")
        try:
            await self.spnas.source.export(statement, file)
        except SourceError as error:
            note.update(str(error))
        except asyncio.CancelledError:
            if number == self._number:
                note.update("cancelled: nothing is written")
            raise
        else:
            note.update(f"written to {file}")


def _cell(value: object) -> Cell:
    if value is None:
        return Cell("NULL", "dim", "")
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return Cell(" ".join(text.split()), value=str(value))


def _common(words: list[str]) -> str:
    shortest = min(words, key=len)
    for number, letter in enumerate(shortest):
        if any(word[number] != letter for word in words):
            return shortest[:number]
    return shortest
