"""The search screen: phases, devices, the curve of the best AP, leaderboard and latest events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.containers import Horizontal
from textual.widget import Widget

from tui.screens.run import RunScreen
from tui.state import State
from tui.widgets.curve import Curve
from tui.widgets.devices import DevicePanel
from tui.widgets.event_log import EventLog
from tui.widgets.grid import Grid
from tui.widgets.leaderboard import Leaderboard
from tui.widgets.progress import ProgressPanel


class SearchScreen(RunScreen):
    """How the search goes."""

    NAME: ClassVar[str] = "Search"

    def parts(self) -> Iterator[Widget]:
        yield ProgressPanel(classes="panel")
        yield DevicePanel(classes="panel")
        with Horizontal(id="middle"):
            yield Curve(classes="panel")
            yield Leaderboard(classes="panel")
        yield EventLog(classes="panel")

    def on_mount(self) -> None:
        self.query_one(Leaderboard).focus()

    def show(self, state: State) -> None:
        self.query_one(ProgressPanel).show(state)
        self.query_one(Curve).show(state.view)
        self.query_one(Leaderboard).show_view(state.view)
        self.query_one(EventLog).show(state.view)

    def tick(self, state: State) -> None:
        super().tick(state)
        self.query_one(DevicePanel).show(state)

    def on_grid_chosen(self, event: Grid.Chosen) -> None:
        if isinstance(event.grid, Leaderboard):
            self.spnas.open_candidate(event.grid.leader(event.row).candidate_id)
