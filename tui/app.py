"""The terminal UI: one screen that shows a search, live beside it or later from its run folder.

It only looks: quitting it ends nothing but itself. This module must not know the scheduler nor torch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from lineage.errors import StoreError
from tui.feed import Feed, QueueFeed, follow_run
from tui.screens.search import SearchScreen
from tui.view_models import SearchView, interrupted

REFRESH_S = 0.1
TICK_S = 1.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class SpnasApp(App[None]):
    """Shows the views of `feed`, at most ten a second; `run` is what the user types to name the run."""

    TITLE = "spnas-orch"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit view"),
        Binding("d", "theme('textual-dark')", "Dark"),
        Binding("l", "theme('textual-light')", "Light"),
    ]

    def __init__(self, feed: Feed, run: str, clock: Callable[[], datetime] = _utc_now) -> None:
        super().__init__()
        self.feed_error: StoreError | None = None
        self._feed = feed
        self._search = SearchScreen(run, clock)

    def get_default_screen(self) -> SearchScreen:
        return self._search

    def on_ready(self) -> None:
        """Start once every widget of the screen is there."""
        self.run_worker(self._follow(), exclusive=True)
        self.set_interval(TICK_S, self._search.tick)

    async def _follow(self) -> None:
        view = SearchView()
        try:
            async for view in self._feed:
                self._search.show(view)
                await asyncio.sleep(REFRESH_S)
        except StoreError as error:
            self.feed_error = error
            self.exit()
        self._search.show(interrupted(view))

    def action_theme(self, name: str) -> None:
        self.theme = name

    def action_help_quit(self) -> None:
        self.notify("q closes this view, and the search goes on; Ctrl-C after that stops it")


async def run_live(feed: QueueFeed, title: str) -> None:
    """Show the search that publishes to `feed` from this event loop, until the user quits the view.

    The view stays when the run has ended, and says so. `title` is the run as the user may name it to `resume`.
    Cancelling ends the view too, and gives the terminal back.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    factory = loop.get_task_factory()
    try:
        await SpnasApp(feed, title).run_async()
    finally:
        loop.set_task_factory(factory)  # from Python 3.12 on Textual leaves its own behind
    if task is not None and task.cancelling():
        raise asyncio.CancelledError  # Textual takes a cancellation for a wish to quit


def watch(path: Path, is_live: Callable[[], bool]) -> None:
    """Show the run folder `path` until the user quits; new events are looked for while `is_live()`.

    Raises:
        StoreError: the run's events can't be read.
    """
    app = SpnasApp(follow_run(path, is_live), str(path))
    app.run()
    if app.feed_error is not None:
        raise app.feed_error
