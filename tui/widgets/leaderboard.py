"""The best trained candidates as a table.

Drawn line by line: a DataTable renders every cell of a changed table through rich, which held the event loop, and with
it the search, for more than 100 ms a refresh on a large terminal; this takes about a millisecond.
"""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from lineage.story import Leader
from lineage.wording import quantity
from tui.view_models import SearchView

HEADINGS = ("#", "Id", "AP", "Params", "FLOPs", "Code", "Parent", "Morphisms", "Phase")
NUMBERS = ("#", "AP", "Params", "FLOPs")
GAP = "  "


class Leaderboard(ScrollView, can_focus=True):
    """Ranked by AP, then FLOPs; the headings stay in place while rows scroll."""

    BORDER_TITLE = "Leaderboard"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("up", "scroll_up", "Scroll", key_display="↑↓←→")]

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._leaders: tuple[Leader, ...] = ()
        self._table = _table(())

    def show(self, view: SearchView) -> None:
        if view.leaders == self._leaders:
            return
        self._leaders = view.leaders
        self._table = _table(view.leaders)
        self.virtual_size = Size(len(self._table[0]), len(self._table))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        row = y if y == 0 else y + top
        width = self.scrollable_content_region.width
        text = self._table[row] if row < len(self._table) else ""
        emphasis = Style(bold=row <= 1, underline=row == 0)
        return Strip([Segment(text[left : left + width].ljust(width), self.rich_style + emphasis)], width)


def _table(leaders: tuple[Leader, ...]) -> list[str]:
    """Headings and rows as lines of one width."""
    rows = [HEADINGS, *(_cells(rank, leader) for rank, leader in enumerate(leaders, 1))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        GAP.join(
            cell.rjust(width) if heading in NUMBERS else cell.ljust(width)
            for cell, width, heading in zip(row, widths, HEADINGS, strict=True)
        )
        for row in rows
    ]


def _cells(rank: int, leader: Leader) -> tuple[str, ...]:
    return (
        str(rank),
        leader.candidate_id,
        f"{leader.ap:.3f}",
        quantity(leader.params),
        quantity(leader.flops),
        leader.code,
        leader.parent_id or "-",
        " ".join(leader.morphisms) or "-",
        leader.phase,
    )
