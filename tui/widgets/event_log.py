"""The latest events, a line each; the log screen has those before, too."""

from __future__ import annotations

import textwrap

from textual.content import Content
from textual.widget import Widget

from lineage.wording import duration
from tui.lines import Line, Lines
from tui.view_models import SearchView

TIME_WIDTH = 7


class EventLog(Widget):
    """Time since the run began, and what happened: the last lines there is room for, and of the last one its beginning."""

    BORDER_TITLE = "Events"

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._lines = Lines()

    def show(self, view: SearchView) -> None:
        if view.lines is not self._lines:
            self._lines = view.lines
            self.refresh()

    def render(self) -> Content:
        width, height = self.content_size
        rows: list[Content] = []
        for line in reversed(self._lines.after(self._lines.told - height)):
            wrapped = _wrapped(line, width)
            if rows and len(rows) + len(wrapped) > height:
                break
            rows[:0] = wrapped[:height]
        return Content("\n").join(rows)


def _wrapped(line: Line, width: int) -> list[Content]:
    first, *more = textwrap.wrap(line.text, max(10, width - TIME_WIDTH)) or [""]
    time = f"{duration(line.seconds):>{TIME_WIDTH - 1}} "
    return [Content.assemble((time, "dim"), first), *(Content(f"{' ' * TIME_WIDTH}{row}") for row in more)]
