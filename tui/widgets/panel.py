"""A panel of text lines that are built anew for the width there is, and the bar they may hold."""

from __future__ import annotations

from abc import abstractmethod

from textual.content import Content
from textual.widget import Widget

Part = tuple[str, str]


def bar(fraction: float, width: int) -> tuple[Part, Part]:
    """A bar of `width` cells, filled by `fraction` (0 to 1), as two styled parts; the shape alone tells them apart."""
    filled = max(0, min(width, round(fraction * width)))
    return ("█" * filled, "$primary"), ("░" * (width - filled), "dim")


class Panel(Widget):
    """Text lines under a title."""

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._line_count = 0

    @abstractmethod
    def lines(self, width: int) -> list[Content]:
        """The lines to show in `width` cells; longer ones are cut."""

    def render(self) -> Content:
        width = self.content_size.width
        return Content("\n").join(line.truncate(width, ellipsis=True) for line in self.lines(width))

    def refresh_lines(self) -> None:
        """Show the lines as they are now; the layout is made anew only when their number changed."""
        count = len(self.lines(self.content_size.width))
        self.refresh(layout=count != self._line_count)
        self._line_count = count
