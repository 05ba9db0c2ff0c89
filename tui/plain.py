"""Text of whoever wrote it, on a terminal that takes some of it for orders: control characters go."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

CONTROLS = dict.fromkeys((*range(32), *range(127, 160)))
_SPACES = dict.fromkeys(CONTROLS, " ")


def in_a_row(text: str) -> str:
    """A text with spaces in place of control characters."""
    return text if text.isprintable() else text.translate(_SPACES)


class Plain(LineFilter):
    """The last look at what any widget shows. Segments without a style, which other filters can't do with, get one."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [
            segment
            if segment.style is not None and segment.text.isprintable()
            else Segment(segment.text.translate(CONTROLS), segment.style or Style.null(), segment.control)
            for segment in segments
        ]
