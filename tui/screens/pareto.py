"""The Pareto screen: AP against what a network costs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import numpy as np
from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from lineage.wording import amount
from tui import pareto
from tui.candidates import Candidates
from tui.pareto import COSTS, Cost, Point
from tui.screens.run import RunScreen
from tui.state import State
from tui.widgets.grid import Cell, Column, Grid
from tui.widgets.plot import Canvas, Plot

COLUMNS = (Column(""), Column("Id"), Column("AP", is_number=True), Column("Cost", is_number=True), Column("Code"))


class ParetoScreen(RunScreen):
    """Every candidate of the search as a point; the front as a line; the cursor's candidate stands out in both."""

    NAME: ClassVar[str] = "Pareto"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "next_cost", "Other cost")]

    def __init__(self) -> None:
        super().__init__()
        self._candidates = Candidates()
        self._cost: Cost = "flops"
        self._points: list[Point] = []
        self._front: set[str] = set()

    def parts(self) -> Iterator[Widget]:
        with Horizontal():
            yield Plot(id="pareto-plot", classes="panel")
            yield Grid(COLUMNS, id="pareto-list", classes="panel")

    def on_mount(self) -> None:
        self.query_one("#pareto-list").focus()

    def show(self, state: State) -> None:
        if state.view.candidates is not self._candidates:
            self._candidates = state.view.candidates
            self._refill()

    def action_next_cost(self) -> None:
        self._cost = COSTS[(COSTS.index(self._cost) + 1) % len(COSTS)]
        self._refill()

    def on_grid_highlighted(self) -> None:
        self._redraw()

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        self.spnas.open_candidate(self._points[event.row].candidate_id)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The nearest point has the cursor."""
        canvas = self.query_one("#pareto-plot", Plot).canvas
        region = canvas.inside
        if self._points and region.contains_point(event.screen_offset):
            place = event.screen_offset - region.offset
            cells = np.array([canvas.get_pixel_from_coordinate(one.costs[0], one.ap) for one in self._points])
            distances = np.hypot((cells[:, 0] - place.x) / 2, cells[:, 1] - place.y)  # a cell is twice as high as wide
            self.query_one("#pareto-list", Grid).move_to(int(distances.argmin()))

    def _refill(self) -> None:
        """The front first, best AP first; then the others."""
        here = self._here()
        known = [one for one in pareto.points(self._candidates, (self._cost,)) if np.isfinite(one.costs[0])]
        front = pareto.front(known)
        self._front = {point.candidate_id for point in front}
        others = sorted((one for one in known if one.candidate_id not in self._front), key=lambda one: -one.ap)
        self._points = [*front, *others]
        grid = self.query_one("#pareto-list", Grid)
        grid.border_title = f"{len(front)} on the front, {len(others)} others"
        grid.show(len(self._points), self._cells, (*COLUMNS[:3], Column(self._cost, is_number=True), COLUMNS[4]))
        places = {point.candidate_id: number for number, point in enumerate(self._points)}
        if here in places:
            grid.move_to(places[here])
        self._redraw()

    def _here(self) -> str | None:
        row = self.query_one("#pareto-list", Grid).cursor_row
        return self._points[row].candidate_id if row < len(self._points) else None

    def _redraw(self) -> None:
        plot, here = self.query_one("#pareto-plot", Plot), self._here()
        plot.border_title = f"AP against {self._cost}"
        if not self._points:
            plot.border_title += ": not known of any candidate yet"
        plot.draw(partial(_draw, self._points, len(self._front), here))

    def _cells(self, row: int) -> tuple[Cell, ...]:
        point = self._points[row]
        is_best = point.candidate_id in self._front
        look = "strong" if is_best else "plain"
        return (
            Cell("*" if is_best else ""),
            Cell(point.candidate_id, look),
            Cell(f"{point.ap:.3f}", look),
            Cell(amount(self._cost, point.costs[0]), value=str(point.costs[0])),
            Cell(self._candidates.by_id[point.candidate_id].code),
        )


def _draw(points: list[Point], on_front: int, here: str | None, canvas: Canvas) -> None:
    if not points:
        return
    costs = np.array([point.costs[0] for point in points])
    aps = np.array([point.ap for point in points])
    margin = (float(costs.max() - costs.min()) or float(costs.max()) or 1.0) * 0.05
    canvas.set_xlimits(max(0.0, float(costs.min()) - margin), float(costs.max()) + margin)
    canvas.set_ylimits(0, max(0.05, float(aps.max()) * 1.1))
    canvas.points(costs[on_front:], aps[on_front:], "point")
    order = np.argsort(costs[:on_front])
    canvas.line(costs[:on_front][order], aps[:on_front][order], "best")
    canvas.points(costs[:on_front], aps[:on_front], "best", "●")
    for point in points:
        if point.candidate_id == here:
            canvas.points(np.array([point.costs[0]]), np.array([point.ap]), "chosen", "◆")
