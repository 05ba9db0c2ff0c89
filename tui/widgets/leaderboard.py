"""The best trained candidates as a table."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from lineage.narration import quantity
from tui.view_models import Leader, SearchView

COLUMNS = ("#", "Id", "AP", "Params", "FLOPs", "Code", "Parent", "Morphisms", "Phase")


class Leaderboard(DataTable[Text]):
    """Ranked by AP, then FLOPs; the cursor stays on its candidate when ranks change."""

    BORDER_TITLE = "Leaderboard"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("up", "cursor_up", "Scroll", key_display="↑↓←→")]

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(cursor_type="row", zebra_stripes=True, classes=classes)
        self._leaders: tuple[Leader, ...] = ()

    def on_mount(self) -> None:
        self.add_columns(*COLUMNS)

    def show(self, view: SearchView) -> None:
        if view.leaders == self._leaders:
            return
        selected = self._leaders[self.cursor_row].candidate_id if self.cursor_row and self._leaders else None
        self._leaders = view.leaders
        left = self.scroll_x
        self.clear()
        for rank, leader in enumerate(view.leaders, 1):
            self.add_row(*_cells(rank, leader), key=leader.candidate_id)
        if selected is not None and selected in self.rows:
            self.move_cursor(row=self.get_row_index(selected), animate=False)
        self.scroll_to(x=left, animate=False)


def _cells(rank: int, leader: Leader) -> list[Text]:
    style = "bold" if rank == 1 else ""
    numbers = (str(rank), leader.candidate_id, f"{leader.ap:.3f}", quantity(leader.params), quantity(leader.flops))
    words = (leader.code, leader.parent_id or "-", " ".join(leader.morphisms) or "-", leader.phase)
    return [
        *(Text(text, style=style, justify="right", no_wrap=True) for text in numbers),
        *(Text(text, style=style, no_wrap=True) for text in words),
    ]
