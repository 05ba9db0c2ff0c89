"""The latest events, a line each."""

from __future__ import annotations

import textwrap
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Resize
from textual.widgets import RichLog

from lineage.wording import duration
from tui.lines import Line
from tui.view_models import SearchView

TIME_WIDTH = 7
MOST = 100  # lines that are written at once: of a flood nobody reads more
KEPT = 1000


class EventLog(RichLog):
    """Time since the run began, and what happened; it follows the end unless scrolled up."""

    BORDER_TITLE = "Events"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("up", "scroll_up", "Scroll", key_display="↑↓")]

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(max_lines=KEPT, wrap=True, min_width=20, auto_scroll=False, classes=classes)
        self._view = SearchView()
        self._written = 0
        self._wrapped_for = 0

    def on_mount(self) -> None:
        self.anchor()

    def show(self, view: SearchView) -> None:
        self._view = view
        width = max(self.min_width, self.scrollable_content_region.width)
        for line in view.lines.after(max(self._written, view.lines.told - MOST)):
            self.write(_wrapped(line, width), width=width)
        self._written = view.lines.told

    def on_resize(self, event: Resize) -> None:
        """Wrap all lines anew when the width is another."""
        if event.size.width != self._wrapped_for:
            self._wrapped_for = event.size.width
            self.clear()
            self._written = 0
            self.show(self._view)


def _wrapped(line: Line, width: int) -> Text:
    rows = textwrap.wrap(line.text, width - TIME_WIDTH) or [""]
    return Text.assemble((f"{duration(line.seconds):>{TIME_WIDTH - 1}} ", "dim"), f"\n{' ' * TIME_WIDTH}".join(rows))
