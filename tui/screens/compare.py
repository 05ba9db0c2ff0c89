"""Two candidates side by side."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui.candidates import Candidate, Candidates
from tui.facts import facts, stages
from tui.lineage_rows import path
from tui.widgets.grid import Cell, Column, Grid


class Compare(ModalScreen[None]):
    """What is known of both; what differs is marked."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,m", "dismiss", "Close")]

    def __init__(self, candidates: Candidates, one: str, other: str) -> None:
        super().__init__()
        self._columns = (Column(""), Column(one), Column(other))
        self._rows = rows(candidates, candidates.by_id[one], candidates.by_id[other])

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog wide") as dialog:
            dialog.border_title = "Side by side; what differs is marked (esc closes)"
            grid = Grid(self._columns)
            grid.show(len(self._rows), self._rows.__getitem__)
            yield grid


def rows(candidates: Candidates, one: Candidate, other: Candidate) -> list[tuple[Cell, ...]]:
    """Facts of both, then their stages, then the last ancestor they share."""
    left, right = facts(one), facts(other)
    found = [(name, left.get(name, ""), right.get(name, "")) for name in dict.fromkeys([*left, *right])]
    first, second = stages(one), stages(other)
    for number in range(max(len(first), len(second))):
        a = first[number] if number < len(first) else ""
        b = second[number] if number < len(second) else ""
        found.append((f"stage {number + 1}", a, b))
    lines: list[tuple[Cell, ...]] = [(Cell(name, "dim"), *_marked(a, b)) for name, a, b in found]
    behind = set(path(candidates, other.candidate_id))
    shared = [candidate for candidate in path(candidates, one.candidate_id) if candidate in behind]
    common = shared[-1] if shared else "none"
    lines.append((Cell("last ancestor both have", "dim"), Cell(common), Cell(common)))
    return lines


def _marked(a: str, b: str) -> tuple[Cell, Cell]:
    look = "plain" if a == b else "strong"
    return Cell(a, look), Cell(b, look)
