"""The top of every screen: which run this is and how it does, the screens there are, and what to do once it has ended."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from lineage.wording import duration
from tui.forecast import seconds_left
from tui.state import State
from tui.view_models import Status

SIGNS: dict[Status, str] = {
    "waiting": "○",
    "running": "▶",
    "paused": "‖",
    "stopping": "■",
    "lost": "✗",
    "interrupted": "■",
    "finished": "✓",
    "failed": "✗",
}
LEAST = 10  # cells of the run's name, and of how it is heard
SCREENS = {"1": "Search", "2": "Lineage", "3": "Pareto", "4": "Candidate", "5": "SQL", "6": "Log"}


class StatusBar(Widget):
    """Run, status, time left, and on a live run the time since the last event, or that it can't be heard."""

    def __init__(self) -> None:
        super().__init__()
        self._state: State | None = None

    def show(self, state: State) -> None:
        self._state = state
        for status in SIGNS:
            self.set_class(state.status == status, f"-{status}")
        self.set_class(state.contact.state == "away", "-away")
        self.refresh()

    def render(self) -> Content:
        if self._state is None:
            return Content("")
        state, view = self._state, self._state.view
        simulated = " SIMULATED " if view.story.simulated else ""
        right = Content.styled(self._hearing(state), "bold reverse" if state.contact.state == "away" else "dim")
        status = Content.assemble((simulated, "reverse"), self._status(state))
        name = Content(f"{view.story.run_id or state.run} ")
        width = self.content_size.width - 1
        right = right.truncate(max(LEAST, width - status.cell_length - LEAST), ellipsis=True)
        room = max(LEAST, width - status.cell_length - right.cell_length)
        titled = Content.assemble(("spnas-orch ", "bold"), name)
        name = titled if titled.cell_length <= room else name.truncate(room, ellipsis=True)
        gap = " " * max(1, width + 1 - name.cell_length - status.cell_length - right.cell_length)
        return Content.assemble(name, status, gap, right)

    def _status(self, state: State) -> str:
        view = state.view
        text = f" {SIGNS[state.status]} {state.status}"
        if view.started and view.last_ts:
            length = duration((view.last_ts - view.started).total_seconds())
            text += f" for {length}" if state.status == "running" else f" after {length}"
        left = seconds_left(view, state.time) if state.is_live else None
        return text if left is None else f"{text}, about {duration(left)} left"

    def _hearing(self, state: State) -> str:
        if state.contact.state == "away":
            return " STALE: " + (state.contact.note or "the run can't be heard") + " "
        if state.contact.state == "connecting":
            return state.contact.note or "connecting"
        return "" if state.silence_s is None else f"last event {duration(state.silence_s)} ago"


class Tabs(Widget):
    """The screens and the keys that lead there; a click does, too."""

    def __init__(self, current: str) -> None:
        super().__init__()
        self._current = current

    def render(self) -> Content:
        parts: list[tuple[str, str]] = []
        for key, name in SCREENS.items():
            parts += [(f" {key} {name} ", "reverse bold" if name == self._current else ""), (" ", "")]
        return Content.assemble(*parts)

    async def on_click(self, event: events.Click) -> None:
        right = 0
        for name in SCREENS.values():
            right += len(name) + 5
            if event.x < right:
                await self.app.run_action(f"look_at({name.lower()!r})")
                return


class Banner(Static):
    """How the run ended, or why it stands still or can't be heard, and what to do next; hidden while it runs."""

    TOLD: ClassVar[tuple[Status, ...]] = ("paused", "stopping", "lost", "interrupted", "finished", "failed")

    def show(self, state: State) -> None:
        for status in self.TOLD:
            self.set_class(state.status == status, f"-{status}")
        is_away = state.contact.state == "away"
        self.set_class(is_away, "-away")
        self.set_class(state.status in self.TOLD or is_away, "-told")
        if is_away:
            self.update(Content(f"STALE: what is shown may be old; {state.contact.note or 'it is tried again'}"))
        elif state.status in self.TOLD:
            self.update(self._text(state))

    def _text(self, state: State) -> Content:
        view, status, sign = state.view, state.status, SIGNS[state.status]
        simulated = "simulated run " if view.story.simulated else ""
        reason = f" ({view.reason})" if view.reason not in ("", status) else ""
        match status:
            case "paused":
                return Content(f"{sign} {simulated}paused {view.reason}: what trains goes on to its end; p goes on")
            case "stopping":
                return Content(f"{sign} {simulated}stopping {view.reason}: trainings finish their epoch")
            case "lost":
                gone = "its process is gone without a word"
                return Content(f"{sign} {simulated}lost, {gone}: go on with spnas-orch resume {state.run}")
            case "interrupted":
                return Content(f"{sign} {simulated}interrupted{reason}: go on with spnas-orch resume {state.run}")
        leader = view.story.best
        best = f", best {leader.candidate_id} AP {leader.ap:.3f}" if leader is not None else ""
        return Content(f"{sign} {simulated}{status}{reason}{best}; q quits")
