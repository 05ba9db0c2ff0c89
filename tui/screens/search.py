"""The search screen: status, phases, devices, leaderboard and latest events of one run.

It hands a view to its widgets and works out what time it is for them. It must not know where views come from.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer

from tui.view_models import SearchView
from tui.widgets.devices import DevicePanel
from tui.widgets.event_log import EventLog
from tui.widgets.leaderboard import Leaderboard
from tui.widgets.progress import ProgressPanel
from tui.widgets.status import Banner, StatusBar


class SearchScreen(Screen[None]):
    """One run. `clock` gives the time in UTC; jobs of a simulated or ended run are timed by its events alone."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("tab", "app.focus_next", "Next panel", key_display="tab")]

    def __init__(self, run: str, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._run = run
        self._clock = clock
        self._view = SearchView()
        self._heard = clock()

    def compose(self) -> ComposeResult:
        yield StatusBar(self._run)
        yield Banner(self._run)
        yield ProgressPanel(classes="panel")
        yield DevicePanel(classes="panel")
        yield Leaderboard(classes="panel")
        yield EventLog(classes="panel")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(Leaderboard).focus()

    def show(self, view: SearchView) -> None:
        """Bring every widget up to `view`."""
        if view.last_seq != self._view.last_seq:
            self._heard = self._clock() if view.story.simulated or view.last_ts is None else view.last_ts
        self._view = view
        self.tick()
        self.query_one(Banner).show(view)
        self.query_one(ProgressPanel).show(view)
        self.query_one(Leaderboard).show(view)
        self.query_one(EventLog).show(view)

    def tick(self) -> None:
        """Bring what shows the time up to now, unless the widgets are going."""
        if not self.app.is_running:
            return
        view, now = self._view, self._clock()
        silence_s = (now - self._heard).total_seconds() if view.status in ("waiting", "running") else None
        self.query_one(StatusBar).show(view, silence_s)
        timed_by_events = view.story.simulated or view.status != "running"
        self.query_one(DevicePanel).show(view, (view.last_ts or now) if timed_by_events else now)
