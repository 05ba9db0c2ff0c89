"""The terminal UI: six looks at one run, live or later, from this machine or another.

It only looks and asks: closing or killing it ends nothing but itself. This module must not know the scheduler nor torch.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import ClassVar

import textual
from immutables import Map
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.filter import LineFilter
from textual.screen import Screen

from lineage.events import Recorded
from tui.control import Control
from tui.keys import KeysInTurn
from tui.plain import Plain
from tui.screens.candidate import CandidateScreen
from tui.screens.help import HelpScreen
from tui.screens.lineage import LineageScreen
from tui.screens.log import LogScreen
from tui.screens.pareto import ParetoScreen
from tui.screens.run import RunScreen
from tui.screens.search import SearchScreen
from tui.screens.sql import SqlScreen
from tui.source import Contact, News, Source, SourceError
from tui.state import State
from tui.themes import DARK, LIGHT
from tui.view_models import fold

REFRESH_S = 0.02
TICK_S = 1.0
CATCH_UP_S = 2.0
SLICE = 500  # events between which the screen may do other things


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SpnasApp(KeysInTurn):
    """Shows a run as `source` tells it; `clock` gives the time in UTC."""

    TITLE = "spnas-orch"
    CSS_PATH = "app.tcss"
    DEFAULT_MODE = "search"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[None]]]] = {
        "search": SearchScreen,
        "lineage": LineageScreen,
        "pareto": ParetoScreen,
        "candidate": CandidateScreen,
        "sql": SqlScreen,
        "log": LogScreen,
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"look_at('{mode}')", mode, show=False) for number, mode in enumerate(MODES, 1)),
        Binding("p", "pause", "Pause"),
        Binding("r", "reignite", "Reignite"),
        Binding("x", "cancel", "Cancel"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("t", "change_theme", "Theme", show=False),
        Binding("question_mark", "help", "Help", key_display="?"),
        Binding("q", "quit", "Quit"),
    ]

    def __init__(self, source: Source, clock: Callable[[], datetime] = _utc_now) -> None:
        super().__init__()
        self.source = source
        self.failure: SourceError | None = None
        self.state = State(source.name, clock())
        self._clock = clock
        self._shown = self.state
        self._shown_at = monotonic()
        self._is_due = False
        self._control = Control(self)
        self._plain = Plain()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = DARK.name

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [self._plain, *super().get_line_filters()]

    def _fatal_error(self) -> None:
        """As Textual's, without the values of variables: there are secrets among them."""
        from rich.traceback import Traceback

        self._exit_renderables.append(Traceback(width=None, suppress=[textual]))
        self._close_messages_no_wait()

    def on_ready(self) -> None:
        """Start once every widget of the screen is there."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit, None, 128 + signal.SIGTERM)
        self._follow()
        self.set_interval(TICK_S, self._tick)

    @textual.work(exclusive=True, group="news")
    async def _follow(self) -> None:
        try:
            async for news in self.source.news():
                await self._take(news)
        except SourceError as error:
            self.failure = error
            self.exit()

    async def _take(self, news: News) -> None:
        if isinstance(news, Contact):
            self.state = self.state._replace(contact=news)
            self._refresh()
        elif isinstance(news, tuple):
            self.state = self.state._replace(uses=Map({use.device: use for use in news}))
            self._soon()
        else:
            await self._fold(news)

    async def _fold(self, events: Sequence[Recorded]) -> None:
        for start in range(0, len(events), SLICE):
            view = fold(self.state.view, *events[start : start + SLICE])
            self.state = self.state._replace(view=view, heard=self._heard(view.last_ts, view.story.simulated))
            self._soon()
            await asyncio.sleep(0)

    def _heard(self, last: datetime | None, simulated: bool) -> datetime:
        now = self._clock()
        return now if simulated or last is None else min(last, now)

    def _soon(self) -> None:
        """Show what is new at once, or when the picture before was seen for long enough."""
        if not self._is_due and not self._is_catching_up:
            self._is_due = True
            wait_s = self._shown_at + REFRESH_S - monotonic()
            asyncio.get_running_loop().call_later(wait_s, self.call_later, self._refresh)  # a Timer loses short waits

    def _refresh(self) -> None:
        """Show what is new, on the screen that is seen; seldom while the past is read, which takes longer so."""
        self._is_due = False
        if self.state is self._shown or self._is_catching_up or (screen := self._seen()) is None:
            return
        self._shown_at = monotonic()
        self.state = self._shown = self.state._replace(now=self._clock())
        screen.show(self.state)
        screen.tick(self.state)

    def _tick(self) -> None:
        if self.state is not self._shown:
            self._refresh()
        elif self.state.is_live and not self._is_catching_up and (screen := self._seen()) is not None:
            self.state = self._shown = self.state._replace(now=self._clock())
            screen.tick(self.state)

    @property
    def _is_catching_up(self) -> bool:
        """Whether the past is read, and what is known of it was shown not long ago."""
        return self.state.contact.state == "connecting" and monotonic() - self._shown_at < CATCH_UP_S

    def _seen(self) -> RunScreen | None:
        """The screen that is to be brought up to date: none while a question stands before it, or at the end."""
        screen = self.screen if self.is_running else None
        return screen if isinstance(screen, RunScreen) and screen.is_ready else None

    def open_candidate(self, candidate_id: str) -> None:
        """Show everything known of one."""
        self.state = self.state._replace(chosen=candidate_id)
        self.switch_mode("candidate")

    async def action_look_at(self, mode: str) -> None:
        await self.switch_mode(mode)

    def action_pause(self) -> None:
        self._control.pause_or_go_on()

    def action_reignite(self) -> None:
        self._control.reignite()

    def action_cancel(self) -> None:
        self._control.cancel()

    def action_stop_run(self) -> None:
        self._control.stop()

    def action_filter(self) -> None:
        """Let somebody type what to look for, on a screen that has something to filter."""
        self.screen.action_filter()  # type: ignore[attr-defined]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "filter":
            return hasattr(self.screen, "action_filter")
        return super().check_action(action, parameters)

    def action_help(self) -> None:
        self.push_screen(HelpScreen())

    def action_change_theme(self) -> None:
        self.theme = LIGHT.name if self.theme == DARK.name else DARK.name

    def action_help_quit(self) -> None:
        self.notify("q closes this view, and the search goes on; spnas-orch stop ends it")

    def get_system_commands(self, _: Screen[object], /) -> Iterable[SystemCommand]:
        for mode in self.MODES:
            yield SystemCommand(f"Show {mode}", f"The {mode} screen", lambda mode=mode: self.switch_mode(mode))
        yield SystemCommand("Pause or continue", "Begin no training, or go on", self.action_pause)
        yield SystemCommand("Reignite now", "Retrain the best backbone on classification", self.action_reignite)
        yield SystemCommand("Cancel a job", "End a training for good", self.action_cancel)
        yield SystemCommand("Stop the run", "Trainings finish their epoch; it can be resumed", self.action_stop_run)
        yield SystemCommand("Dark or light", "Change the theme", self.action_change_theme)
        yield SystemCommand("Keys", "What can be pressed", self.action_help)
        yield SystemCommand("Quit the view", "The search goes on", self.action_quit)
