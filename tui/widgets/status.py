"""The top of the screen: which run this is and how it does, and a banner once it has ended."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from lineage.wording import duration
from tui.view_models import SearchView, Status

SIGNS: dict[Status, str] = {"waiting": "○", "running": "▶", "interrupted": "■", "finished": "✓", "failed": "✗"}


class StatusBar(Widget):
    """Run, status, and on a live run the time since the last event."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run
        self._view = SearchView()
        self._silence_s: float | None = None

    def show(self, view: SearchView, silence_s: float | None) -> None:
        """`silence_s`: seconds since the last event; None: the run is over."""
        self._view, self._silence_s = view, silence_s
        self.refresh()

    def render(self) -> Content:
        view = self._view
        simulated = " SIMULATED " if view.story.simulated else ""
        name = view.story.run_id or self._run
        status = f" {SIGNS[view.status]} {view.status}"
        if view.started and view.last_ts:
            length = duration((view.last_ts - view.started).total_seconds())
            status += f" for {length}" if view.status == "running" else f" after {length}"
        left = Content.assemble(("spnas-orch ", "bold"), f"{name} ", (simulated, "reverse"), status)
        right = "" if self._silence_s is None else f"last event {duration(self._silence_s)} ago"
        gap = " " * max(1, self.content_size.width - left.cell_length - len(right))
        return Content.assemble(left, gap, (right, "dim"))


class Banner(Static):
    """How the run ended and what to do next; hidden while it runs."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def show(self, view: SearchView) -> None:
        for status in ("finished", "interrupted", "failed"):
            self.set_class(view.status == status, f"-{status}")
        if view.status in ("finished", "interrupted", "failed"):
            self.update(self._text(view))

    def _text(self, view: SearchView) -> Content:
        simulated = "simulated run " if view.story.simulated else ""
        reason = f" ({view.reason})" if view.reason else ""
        sign = SIGNS[view.status]
        if view.status == "interrupted":
            return Content(f"{sign} {simulated}interrupted{reason}: resume with spnas-orch resume {self._run}")
        leader = view.story.best
        best = f", best {leader.candidate_id} AP {leader.ap:.3f}" if leader is not None else ""
        return Content(f"{sign} {simulated}{view.status}{reason}{best}; q quits")
