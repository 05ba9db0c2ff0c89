"""The log screen: what happened, filtered by kind, candidate, device or words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from lineage.wording import duration
from tui.lines import LINES, Line
from tui.screens.run import RunScreen
from tui.state import State
from tui.view_models import SearchView
from tui.widgets.filter import Filter
from tui.widgets.grid import Cell, Column, Grid

COLUMNS = (
    Column("Seq", is_number=True),
    Column("Time", is_number=True),
    Column("Kind"),
    Column("Candidate"),
    Column("Device"),
    Column("What"),
)


class LogScreen(RunScreen):
    """The last lines told; it follows the end while the cursor is there."""

    NAME: ClassVar[str] = "Log"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "only_this_kind", "This kind"),
        Binding("escape", "end_filter", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._view = SearchView()
        self._lines: list[Line] = []
        self._told = 0
        self._words: tuple[str, ...] = ()

    def parts(self) -> Iterator[Widget]:
        yield Filter("words; kind:JobFailed candidate:s-0003 device:cuda:1 for exact ones")
        yield Static(id="log-note", markup=False)
        grid = Grid(COLUMNS, id="log-lines")
        grid.follows_end = True
        yield grid

    def on_mount(self) -> None:
        self.query_one("#log-lines").focus()

    def show(self, state: State) -> None:
        self._view = state.view
        if state.view.lines.told < self._told:
            self._told, self._lines = 0, []
        if state.view.lines.told != self._told:
            fresh = [line for line in state.view.lines.after(self._told) if matches(line, self._words)]
            self._told = state.view.lines.told
            self._lines = [*self._lines, *fresh][-LINES:]
            self._refill()

    def action_filter(self) -> None:
        self.query_one(Filter).open()

    def action_end_filter(self) -> None:
        self.query_one(Filter).action_close()

    def action_only_this_kind(self) -> None:
        row = self.query_one("#log-lines", Grid).cursor_row
        if row < len(self._lines):
            box = self.query_one(Filter)
            box.value = f"kind:{self._lines[row].kind}"
            box.display = True

    def on_input_changed(self, event: Input.Changed) -> None:
        self._words = tuple(event.value.split())
        self._lines = [line for line in self._view.lines.after(0) if matches(line, self._words)]
        self._refill()

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        subject_id = self._lines[event.row].subject_id
        if subject_id in self._view.candidates.by_id:
            self.spnas.open_candidate(subject_id)

    def _refill(self) -> None:
        self.query_one("#log-lines", Grid).show(len(self._lines), self._cells)
        earlier = self._told - LINES
        note = f"{len(self._lines)} of the last {min(self._told, LINES)} lines"
        if earlier > 0:
            note += f"; {earlier} earlier ones are in the table events (5)"
        self.query_one("#log-note", Static).update(note)

    def _cells(self, row: int) -> tuple[Cell, ...]:
        line = self._lines[row]
        return (
            Cell(str(line.seq), "dim"),
            Cell(duration(line.seconds), "dim"),
            Cell(line.kind, "bad" if line.kind in ("JobFailed", "CandidateAbandoned", "WorkerLost") else "plain"),
            Cell(line.subject_id),
            Cell(line.device),
            Cell(line.text),
        )


def matches(line: Line, words: tuple[str, ...]) -> bool:
    """Whether a line has every word: anywhere, or ``kind:``, ``candidate:``, ``device:`` where they belong."""
    return all(_has(line, word) for word in words)


def _has(line: Line, word: str) -> bool:
    name, _, value = word.partition(":")
    exact = {"kind": line.kind, "candidate": line.subject_id, "device": line.device}.get(name)
    if exact is not None and value:
        return exact.lower() == value.lower()
    return word.lower() in f"{line.text} {line.kind} {line.subject_id} {line.device}".lower()
