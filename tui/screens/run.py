"""What every screen of a run has: the bar on top, the names of the screens, the keys below."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from tui.state import State
from tui.widgets.status import Banner, StatusBar, Tabs

if TYPE_CHECKING:
    from tui.app import SpnasApp


class RunScreen(Screen[None]):
    """One look at a run. A screen is told the state when it is seen, and whenever it changes then."""

    NAME: ClassVar[str]
    AUTO_FOCUS = ""  # each screen says what has the keys first, before any is pressed
    is_ready = False

    def compose(self) -> ComposeResult:
        yield StatusBar()
        yield Tabs(self.NAME)
        yield Banner()
        yield from self.parts()
        yield Footer(show_command_palette=False)

    @abstractmethod
    def parts(self) -> Iterator[Widget]:
        """What is between the bars."""

    @property
    def spnas(self) -> SpnasApp:
        return cast("SpnasApp", self.app)

    def on_mount(self) -> None:
        self.is_ready = True
        self._look()

    def on_screen_resume(self) -> None:
        if self.is_ready:
            self._look()

    def _look(self) -> None:
        self.show(self.spnas.state)
        self.tick(self.spnas.state)

    def show(self, state: State) -> None:
        """Bring every part up to the state."""

    def tick(self, state: State) -> None:
        """Bring what shows the time up to now."""
        self.query_one(StatusBar).show(state)
        self.query_one(Banner).show(state)
