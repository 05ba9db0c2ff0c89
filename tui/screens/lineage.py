"""The lineage screen: which network came from which, and how; a path, or two side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from tui import lineage_rows, pareto
from tui.candidates import Candidate, Candidates
from tui.lineage_rows import TreeRow
from tui.screens.compare import Compare
from tui.screens.run import RunScreen
from tui.state import State
from tui.view_models import SearchView
from tui.widgets.filter import Filter
from tui.widgets.grid import Cell, Column, Grid

COLUMNS = (
    Column("Candidate", most=46),
    Column("AP", is_number=True),
    Column("Change", is_number=True),
    Column("Code against its parent's", most=60),
    Column("Morphisms", most=50),
    Column("Residual", is_number=True),
    Column("Inherited", is_number=True),
    Column("State"),
    Column("Whole code"),
)


class LineageScreen(RunScreen):
    """From the seed down; folded, filtered, or the path to one candidate alone."""

    NAME: ClassVar[str] = "Lineage"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "fold", "Fold"),
        Binding("minus", "fold_all", "Fold all", show=False),
        Binding("plus,equals_sign", "unfold_all", "Show all", show=False),
        Binding("s", "path", "Path"),
        Binding("m", "mark", "Mark"),
        Binding("escape", "end_filter", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._view = SearchView()
        self._rows: list[TreeRow] = []
        self._folded: set[str] = set()
        self._front: set[str] = set()
        self._path_of: str | None = None
        self._marked: str | None = None
        self._words = ""
        self._found: set[str] = set()  # what has the words

    def parts(self) -> Iterator[Widget]:
        yield Filter("id, code, morphism, phase or state")
        yield Static(id="lineage-note", markup=False)
        yield Grid(COLUMNS, is_first_fixed=True, id="tree")

    def on_mount(self) -> None:
        self.query_one("#tree").focus()

    def show(self, state: State) -> None:
        candidates, before = state.view.candidates, self._view.candidates
        if candidates.finished is not before.finished or state.view.ruled_out != self._view.ruled_out:
            weighed = pareto.points(candidates, pareto.objectives(state.view))
            self._front = {point.candidate_id for point in pareto.front(weighed)}
        self._view = state.view
        if candidates.order is not before.order or (self._words and candidates is not before):
            self._refill()
        elif candidates is not before:
            self.query_one("#tree").refresh()  # the same rows with other cells

    def action_filter(self) -> None:
        self.query_one(Filter).open()

    def action_end_filter(self) -> None:
        self.query_one(Filter).action_close()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._words = event.value
        if event.value:
            self._path_of = None
        self._refill()
        first = next((number for number, row in enumerate(self._rows) if row.candidate_id in self._found), None)
        if first is not None:
            self.query_one("#tree", Grid).move_to(first)

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        self.spnas.open_candidate(self._rows[event.row].candidate_id)

    def action_fold(self) -> None:
        here = self._here()
        if here is not None:
            self._folded ^= {here}
            self._refill(keep=here)

    def action_fold_all(self) -> None:
        """But for the seeds' own children."""
        candidates = self._view.candidates
        seeds = candidates.children_of(None)
        self._folded = {row.candidate_id for row in lineage_rows.tree(candidates) if row.has_children} - set(seeds)
        self._refill(keep=self._here())

    def action_unfold_all(self) -> None:
        self._folded.clear()
        self._refill(keep=self._here())

    def action_path(self) -> None:
        here = self._here()
        self._path_of = here if self._path_of is None else None
        self._refill(keep=here)

    def action_mark(self) -> None:
        here = self._here()
        if here is None:
            return
        if self._marked in (None, here):
            self._marked = None if self._marked == here else here
            self._refill(keep=here)
            return
        assert self._marked is not None
        self.app.push_screen(Compare(self._view.candidates, self._marked, here))

    def _here(self) -> str | None:
        row = self.query_one("#tree", Grid).cursor_row
        return self._rows[row].candidate_id if row < len(self._rows) else None

    def _refill(self, keep: str | None = None) -> None:
        """Make the rows anew, with the cursor on the same candidate."""
        grid, candidates = self.query_one("#tree", Grid), self._view.candidates
        keep = keep or self._here()
        self._rows = self._wanted(candidates)
        grid.show(len(self._rows), self._cells)
        numbers = {row.candidate_id: number for number, row in enumerate(self._rows)}
        if keep in numbers and numbers[keep] != grid.cursor_row:
            grid.move_to(numbers[keep])
        self.query_one("#lineage-note", Static).update(self._note())

    def _wanted(self, candidates: Candidates) -> list[TreeRow]:
        if self._path_of is not None:
            return [TreeRow(one, "", False) for one in lineage_rows.path(candidates, self._path_of)]
        self._found = set(lineage_rows.matching(candidates, self._words)) if self._words.strip() else set()
        if self._words.strip():
            return lineage_rows.tree(candidates, (), lineage_rows.with_ancestors(candidates, self._found))
        return lineage_rows.tree(candidates, self._folded)

    def _note(self) -> str:
        parts = [f"{len(self._view.candidates.by_id)} candidates"]
        if self._path_of is not None:
            parts.append(f"the path from the seed to {self._path_of}")
        elif self._words.strip():
            parts.append(f"{len(self._found)} have '{self._words.strip()}' (with their ancestors, dim)")
        elif self._folded:
            parts.append(f"{len(self._folded)} folded")
        if self._marked is not None:
            parts.append(f"{self._marked} is marked: m on another compares them")
        return ", ".join(parts)

    def _cells(self, number: int) -> tuple[Cell, ...]:
        row = self._rows[number]
        candidates = self._view.candidates
        candidate = candidates.by_id[row.candidate_id]
        parent = candidates.get(candidate.parent_id)
        sign = "*" if row.candidate_id in self._front else ""
        name = f"{row.guides}{row.candidate_id}{sign}" + (f" [+{row.hidden}]" if row.hidden else "")
        look = "mark" if row.candidate_id == self._marked else "strong" if sign else "plain"
        if self._found and row.candidate_id not in self._found:
            look = "dim"
        inherited, residual = candidate.share_inherited, candidate.residual
        return (
            Cell(name, look, row.candidate_id),
            Cell("" if candidate.ap is None else f"{candidate.ap:.3f}", "strong" if sign else "plain"),
            _gain(candidate, parent),
            Cell(lineage_rows.change(candidate, parent)),
            Cell(" ".join(candidate.morphisms)),
            Cell("" if residual is None else f"{residual:.2g}", value=str(residual)),
            Cell("" if inherited is None else f"{inherited:.0%}"),
            Cell(_state(candidate), "bad" if candidate.state in ("abandoned", "ruled out") else "dim"),
            Cell(candidate.code),
        )


def _gain(candidate: Candidate, parent: Candidate | None) -> Cell:
    if parent is None or candidate.ap is None or parent.ap is None:
        return Cell("")
    gain = candidate.ap - parent.ap
    return Cell(f"{gain:+.3f}", "good" if gain > 0 else "bad" if gain < 0 else "dim")


def _state(candidate: Candidate) -> str:
    if candidate.is_control:
        return f"control, {candidate.state}"
    return f"{candidate.state} ({candidate.reason})" if candidate.reason else candidate.state
