"""The best trained candidates as a table."""

from __future__ import annotations

from lineage.story import Leader
from lineage.wording import quantity
from tui.view_models import SearchView
from tui.widgets.grid import Cell, Column, Grid

COLUMNS = (
    Column("#", is_number=True),
    Column("Id"),
    Column("AP", is_number=True),
    Column("Params", is_number=True),
    Column("FLOPs", is_number=True),
    Column("Code"),
    Column("Parent"),
    Column("Morphisms"),
    Column("Phase"),
)


class Leaderboard(Grid):
    """Ranked by AP, then FLOPs."""

    BORDER_TITLE = "Leaderboard"

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(COLUMNS, classes=classes)
        self._leaders: tuple[Leader, ...] = ()

    def show_view(self, view: SearchView) -> None:
        if view.leaders is not self._leaders:
            self._leaders = view.leaders
            self.show(len(view.leaders), self._cells)

    def leader(self, row: int) -> Leader:
        return self._leaders[row]

    def _cells(self, row: int) -> tuple[Cell, ...]:
        leader = self._leaders[row]
        return (
            Cell(str(row + 1)),
            Cell(leader.candidate_id, "strong" if row == 0 else "plain"),
            Cell(f"{leader.ap:.3f}", "strong" if row == 0 else "plain"),
            Cell(quantity(leader.params), value=str(leader.params)),
            Cell(quantity(leader.flops), value=str(leader.flops)),
            Cell(leader.code),
            Cell(leader.parent_id or "-"),
            Cell(" ".join(leader.morphisms) or "-"),
            Cell(leader.phase, "dim"),
        )
