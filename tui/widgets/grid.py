"""A table that asks for no more rows than it shows: a hundred thousand cost what a screenful does.

Its cells are text and the name of a look. It must not know what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.plain import in_a_row

GAP = "  "
LOOKS = ("plain", "strong", "dim", "good", "bad", "mark", "accent")


class Cell(NamedTuple):
    """What a cell shows; `value` is what copying it gives, where that is more."""

    text: str
    look: str = "plain"
    value: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """`most` cells wide at most; wider text is cut."""

    title: str
    is_number: bool = False
    most: int | None = None


Row = Sequence[Cell]


class Grid(ScrollView, can_focus=True):
    """Rows under headings that stay; one cell has the cursor."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"grid--heading", "grid--cursor", *(f"grid--{look}" for look in LOOKS)}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "to(0)", "First row", show=False),
        Binding("end,G", "to(-1)", "Last row", show=False),
        Binding("left", "across(-1)", "Left", show=False),
        Binding("right", "across(1)", "Right", show=False),
        Binding("enter", "choose", "Open", show=False),
        Binding("c", "copy", "Copy cell", show=False),
    ]

    class Highlighted(Message):
        """The cursor is on another row."""

        def __init__(self, grid: Grid, row: int) -> None:
            super().__init__()
            self.grid, self.row = grid, row

        @property
        def control(self) -> Grid:
            return self.grid

    class Chosen(Highlighted):
        """Enter, or a click on the row that has the cursor."""

    def __init__(
        self,
        columns: Sequence[Column] = (),
        *,
        is_first_fixed: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._is_first_fixed = is_first_fixed
        self._columns = tuple(columns)
        self._widths = [cell_len(column.title) for column in self._columns]
        self._row: Callable[[int], Row] = lambda _: ()
        self.row_count = 0
        self.cursor_row = 0
        self.cursor_column = 0
        self.follows_end = False
        self._base = Style()

    def show(self, row_count: int, row: Callable[[int], Row], columns: Sequence[Column] | None = None) -> None:
        """Show so many rows; `row` gives one by its number from 0. Other `columns` begin anew."""
        if columns is not None and tuple(columns) != self._columns:
            self._columns = tuple(columns)
            self._widths = [cell_len(column.title) for column in self._columns]
            self.cursor_column = 0
        at_end = self.cursor_row >= self.row_count - 1
        self.row_count, self._row = row_count, row
        last = max(0, row_count - 1)
        self.cursor_row = last if self.follows_end and at_end else min(self.cursor_row, last)
        self._measure()
        if self.follows_end and at_end:
            self.call_after_refresh(self._bring_into_sight)
        self.refresh()

    def move_to(self, row: int) -> None:
        """Put the cursor on a row, and bring it into sight."""
        row = max(0, min(row, self.row_count - 1))
        if row != self.cursor_row:
            self.cursor_row = row
            self.post_message(self.Highlighted(self, row))
        self._bring_into_sight()
        self.refresh()

    def cell(self) -> Cell | None:
        """What is under the cursor."""
        row = self._row(self.cursor_row) if self.cursor_row < self.row_count else ()
        return row[self.cursor_column] if self.cursor_column < len(row) else None

    def render_lines(self, crop: Region) -> list[Strip]:
        self._base = self.rich_style  # found anew by every parent there is, which takes longer than a line
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        width = self.scrollable_content_region.width
        if y == 0:
            cells: Row = [Cell(column.title) for column in self._columns]
            strip = Strip(self._segments(cells, "grid--heading"))
        else:
            number = y - 1 + top
            if number >= self.row_count:
                return Strip.blank(width, self._base)
            strip = Strip(self._segments(self._row(number), None, number == self.cursor_row))
        if not self._is_first_fixed or not left:
            return strip.crop_extend(left, left + width, self._base)
        first = min(self._fixed, width)
        return Strip.join([strip.crop(0, first), strip.crop_extend(left + first, left + width, self._base)])

    def on_resize(self) -> None:
        self._measure()

    def on_click(self, event: events.Click) -> None:
        row = event.y - 1 + self.scroll_offset.y
        if event.y < 1 or row >= self.row_count:
            return
        self.cursor_column = self._column_at(event.x if event.x < self._fixed else event.x + self.scroll_offset.x)
        was_there = row == self.cursor_row
        self.move_to(row)
        if was_there and event.chain > 1:
            self.action_choose()

    def action_move(self, rows: int) -> None:
        self.move_to(self.cursor_row + rows)

    def action_page(self, pages: int) -> None:
        self.move_to(self.cursor_row + pages * max(1, self.scrollable_content_region.height - 2))

    def action_to(self, row: int) -> None:
        self.move_to(row if row >= 0 else self.row_count + row)

    def action_across(self, columns: int) -> None:
        self.cursor_column = max(0, min(self.cursor_column + columns, len(self._columns) - 1))
        self._bring_into_sight()
        self.refresh()

    def action_choose(self) -> None:
        if self.row_count:
            self.post_message(self.Chosen(self, self.cursor_row))

    def action_copy(self) -> None:
        cell = self.cell()
        if cell is not None:
            text = cell.text.strip() if cell.value is None else cell.value
            self.app.copy_to_clipboard(text)
            self.notify(text[:200] or "(empty)", title="Copied", markup=False)

    def _segments(self, row: Row, look: str | None, has_cursor: bool = False) -> list[Segment]:
        segments = []
        for number, (column, cell) in enumerate(zip(self._columns, row, strict=False)):
            shown = in_a_row(cell.text)
            if column.most is not None and cell_len(shown) > column.most:
                shown = set_cell_size(shown, column.most - 1) + "…"
            size = cell_len(shown)
            if size > self._widths[number]:
                self._widths[number] = size
                self.call_next(self._measure)
            space = " " * (self._widths[number] - size)
            text = space + shown if column.is_number else shown + space
            style = self._base + self.get_component_rich_style(look or f"grid--{cell.look}", partial=True)
            if has_cursor:
                style += self.get_component_rich_style("grid--cursor", partial=True)
                if number == self.cursor_column and self.has_focus:
                    style += self.get_component_rich_style("grid--accent", partial=True)
            segments += [Segment(text, style), Segment(GAP, style if has_cursor else self._base)]
        return segments

    def _measure(self) -> None:
        width = sum(self._widths) + len(GAP) * len(self._widths)
        size = Size(width, self.row_count + 1)
        if size != self.virtual_size:
            self.virtual_size = size

    def _bring_into_sight(self) -> None:
        """The headings cover the first line."""
        left = sum(self._widths[: self.cursor_column]) + len(GAP) * self.cursor_column
        width = self._widths[self.cursor_column] if self._widths else 1
        if self.cursor_column:  # beside what stays
            left, width = left - self._fixed, width + self._fixed
        self.scroll_to_region(Region(left, self.cursor_row, width, 2), animate=False, immediate=True, force=True)

    @property
    def _fixed(self) -> int:
        """Cells on the left that stay."""
        return self._widths[0] + len(GAP) if self._is_first_fixed and self._widths else 0

    def _column_at(self, x: int) -> int:
        right = 0
        for number, width in enumerate(self._widths):
            right += width + len(GAP)
            if x < right:
                return number
        return max(0, len(self._widths) - 1)
