"""A plot in the colours of the theme: what is drawn, again for each size and theme."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.geometry import Region
from textual_plot import HiResMode, PlotWidget
from textual_plot.axis_formatter import NumericAxisFormatter

from lineage.wording import quantity

if TYPE_CHECKING:
    from numpy.typing import NDArray

Points: TypeAlias = "NDArray[np.float64]"
AGAIN_S = 0.5


class _Quantities(NumericAxisFormatter):
    """Ticks in three digits and a suffix, as many as stand apart in the cells that `width` gives."""

    def __init__(self, width: Callable[[], int]) -> None:
        super().__init__()
        self._width = width

    def get_ticks(self, min_: float, max_: float, max_ticks: int = 8) -> list[float]:
        ticks = list(super().get_ticks(min_, max_, max_ticks))
        widest = max(map(len, self.get_labels_for_ticks(ticks)), default=0)
        most = max(1, self._width() // (widest + 2))
        return ticks[:: math.ceil(len(ticks) / most) or 1]

    def get_labels_for_ticks(self, ticks: object) -> list[str]:
        return [quantity(float(tick)) for tick in ticks]  # type: ignore[attr-defined]


class Canvas(PlotWidget, inherit_bindings=False, can_focus=False):
    """What is drawn on; limits must be set before anything is."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"plot--{name}" for name in ("best", "point", "stall", "mark", "chosen")}
    MARGINS = (0, 1, 6)  # above, below, left of it, in cells

    def __init__(self) -> None:
        super().__init__(allow_pan_and_zoom=False)

    def on_mount(self) -> None:
        self.margin_top, self.margin_bottom, self.margin_left = self.MARGINS
        self.set_x_formatter(_Quantities(lambda: self.inside.width))

    @property
    def inside(self) -> Region:
        """Where on the screen points are, without axes."""
        return self.query_one("#plot").region

    def look(self, name: str) -> str:
        return str(self.get_component_rich_style(f"plot--{name}", partial=True))

    def line(self, x: Points, y: Points, name: str) -> None:
        bends = np.ones(len(y), dtype=bool)
        bends[1:-1] = (y[1:-1] != y[:-2]) | (y[1:-1] != y[2:])
        x, y = x[bends], y[bends]
        self.plot(x, y, line_style=self.look(name), hires_mode=HiResMode.BRAILLE)

    def points(self, x: Points, y: Points, name: str, marker: str | None = None) -> None:
        """Points, each cell's once; as dots of a cell without a `marker`."""
        if marker is None:
            x, y = self._apart(x, y)
            self.scatter(x, y, marker_style=self.look(name), hires_mode=HiResMode.BRAILLE)
        else:
            self.scatter(x, y, marker=marker, marker_style=self.look(name))

    def _apart(self, x: Points, y: Points) -> tuple[Points, Points]:
        """One of the points that fall on the same dot: of ten thousand few do not."""
        across = np.floor((x - self._x_min) / (self._x_max - self._x_min or 1.0) * 2 * self.inside.width)
        up = np.floor((y - self._y_min) / (self._y_max - self._y_min or 1.0) * 4 * self.inside.height)
        _, first = np.unique(np.stack([across, up]), axis=1, return_index=True)
        return x[first], y[first]

    def vertical(self, x: float, name: str) -> None:
        self.add_v_line(x, line_style=self.look(name))


class Plot(Vertical):
    """A canvas, drawn by a function whenever it is to look different; in a flood of news twice a second."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._draw: Callable[[Canvas], None] = lambda _: None
        self._drawn_at = 0.0
        self._is_due = False
        self.canvas = Canvas()

    def compose(self) -> ComposeResult:
        yield self.canvas

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.call_after_refresh(self.redraw))

    def draw(self, draw: Callable[[Canvas], None]) -> None:
        self._draw = draw
        wait_s = self._drawn_at + AGAIN_S - monotonic()
        if wait_s <= 0:
            self.redraw()
        elif not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(wait_s, self.call_later, self.redraw)  # a Timer loses short waits

    def redraw(self) -> None:
        self._is_due, self._drawn_at = False, monotonic()
        self.canvas.clear()
        self._draw(self.canvas)

    def on_resize(self) -> None:
        self.call_after_refresh(self.redraw)
