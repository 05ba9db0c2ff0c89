"""AP of each candidate in the order they ended, the best so far, and where growth stalled or was reignited."""

from __future__ import annotations

import numpy as np

from tui.candidates import Candidate, Candidates
from tui.view_models import SearchView
from tui.widgets.plot import Canvas, Plot, Points


class Curve(Plot):
    """Of serial and parallel candidates; what was fully trained is on another scale."""

    BORDER_TITLE = "AP over candidates"

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._drawn: tuple[object, ...] = ()

    def show(self, view: SearchView) -> None:
        seen = (view.candidates.finished, view.ruled_out, view.reignitions)
        if all(one is other for one, other in zip(seen, self._drawn, strict=False)) and self._drawn:
            return
        self._drawn = seen
        self.draw(lambda canvas: _draw(canvas, view))


def _draw(canvas: Canvas, view: SearchView) -> None:
    numbers, aps = _aps(view.candidates)
    if numbers.size == 0:
        return
    canvas.set_xlimits(0, max(10.0, float(numbers[-1]) + 1))
    canvas.set_ylimits(0, max(0.05, float(aps.max()) * 1.1))
    canvas.points(numbers, aps, "point")
    canvas.line(numbers, np.maximum.accumulate(aps), "best")
    for one in view.reignitions:
        canvas.vertical(max(0.5, one.after + 0.5), "stall" if one.trigger == "stall" else "mark")


def _is_ranked(candidate: Candidate) -> bool:
    """Controls are there to be compared with; what was fully trained is on another scale."""
    return not candidate.is_control and candidate.phase != "fullytrain"


def _aps(candidates: Candidates) -> tuple[Points, Points]:
    """Number of outcome, from 1, and AP; of those within the limits."""
    numbers, aps = [], []
    for number in range(len(candidates.finished)):
        candidate = candidates.by_id[candidates.finished[number]]
        if candidate.ap is not None and candidate.state == "trained" and _is_ranked(candidate):
            numbers.append(number + 1)
            aps.append(candidate.ap)
    return np.array(numbers, dtype=float), np.array(aps, dtype=float)
