"""The candidate screen: everything that is known of one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
from textual import work
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widget import Widget
from textual.widgets import Static, TabbedContent, TabPane

from lineage.literals import literal
from lineage.story import Job
from tui.candidates import Candidate
from tui.facts import facts
from tui.screens.run import RunScreen
from tui.source import Answer, SourceError
from tui.state import State
from tui.widgets.grid import Cell, Column, Grid
from tui.widgets.network import Network
from tui.widgets.plot import Canvas, Plot, Points

MOST_EVENTS, MOST_LINES = 1000, 1000
AGAIN_S = 1.0  # between two looks at the tables for a training that goes on
PANES = ("network", "curves", "why", "events", "log")
EVENT_COLUMNS = (Column("Seq", is_number=True), Column("Time"), Column("Kind"), Column("What"))


class CandidateScreen(RunScreen):
    """One candidate: the chosen one, or the best so far."""

    NAME: ClassVar[str] = "Candidate"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left_square_bracket", "turn(-1)", "Before", key_display="["),
        Binding("right_square_bracket", "turn(1)", "Next", key_display="]"),
        Binding("u", "parent", "Parent"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shown: Candidate | None = None
        self._job: Job | None = None
        self._is_due = False

    def parts(self) -> Iterator[Widget]:
        yield Static(id="candidate-title", markup=False)
        with TabbedContent(initial="network"):
            with TabPane("Network", id="network"), Horizontal():
                yield Static(id="facts", markup=False)
                with VerticalScroll(can_focus=True):
                    yield Network()
            with TabPane("Curves", id="curves"):
                yield Plot(id="ap-plot", classes="panel")
                yield Plot(id="loss-plot", classes="panel")
            with TabPane("Why", id="why"), VerticalScroll():
                yield Static(id="why-text", markup=False)
            with TabPane("Events", id="events"):
                yield Grid(EVENT_COLUMNS, id="candidate-events")
            with TabPane("Log", id="log"):
                yield Grid((Column("Line"),), id="candidate-log")

    def show(self, state: State) -> None:
        best = state.view.story.best
        candidate = state.view.candidates.get(state.chosen or (best.candidate_id if best else None))
        job = next(
            (one for one in state.view.story.jobs.values() if candidate and one.subject_id == candidate.candidate_id),
            None,
        )
        if candidate is self._shown and candidate is not None:
            if job != self._job:
                self._job = job
                self._load_later()
            return
        if candidate is None or self._shown is None or candidate.candidate_id != self._shown.candidate_id:
            self._clear()
        self._shown, self._job = candidate, job
        if candidate is None:
            self.query_one("#candidate-title", Static).update("no candidate yet")
            return
        parent = state.view.candidates.get(candidate.parent_id)
        sign = "" if state.chosen else " (the best so far)"
        title = f"{candidate.candidate_id}{sign}  {candidate.code}"
        self.query_one("#candidate-title", Static).update(title)
        self.query_one("#facts", Static).update(
            "\n".join(f"{name:<11}{text}" for name, text in facts(candidate).items())
        )
        self.query_one(Network).show(candidate, parent)
        self._load()

    def _clear(self) -> None:
        """Show nothing of another one while this one is asked for."""
        self.query_one("#why-text", Static).update("asking ...")
        for name in ("ap", "loss"):
            self._plot(name, f"{name} by epoch: asking ...", ())
        for grid in ("#candidate-events", "#candidate-log"):
            self.query_one(grid, Grid).show(0, lambda _: ())

    def _plot(self, name: str, title: str, known: Sequence[tuple[float, float]]) -> None:
        plot = self.query_one(f"#{name}-plot", Plot)
        plot.border_title = title
        plot.draw(partial(_draw, np.array(known, dtype=float).reshape(-1, 2)))

    def on_mount(self) -> None:
        self.query_one("ContentTabs").focus()

    def on_screen_resume(self) -> None:
        super().on_screen_resume()
        self._load_later()

    def _load_later(self) -> None:
        """Ask anew, once for all that comes until then: its training goes on."""
        if not self._is_due:
            self._is_due = True
            self.set_timer(AGAIN_S, self._load)

    def on_tabbed_content_tab_activated(self) -> None:
        self._load()

    def action_turn(self, tabs: int) -> None:
        content = self.query_one(TabbedContent)
        content.active = PANES[(PANES.index(content.active) + tabs) % len(PANES)]

    def action_parent(self) -> None:
        """Look at where it came from."""
        if self._shown is not None and self._shown.parent_id in self.spnas.state.view.candidates.by_id:
            self.spnas.state = self.spnas.state._replace(chosen=self._shown.parent_id)
            self.show(self.spnas.state)

    def _load(self) -> None:
        """Ask for what the pane in sight shows, once somebody looks."""
        self._is_due = False
        if self._shown is not None and self.is_ready and self.is_current:
            pane = self.query_one(TabbedContent).active
            load = {"curves": self._curves, "why": self._why, "events": self._events, "log": self._log}.get(pane)
            if load is not None:
                load(self._shown)

    @work(exclusive=True, group="pane")
    async def _curves(self, candidate: Candidate) -> None:
        answer = await self._answer(
            "SELECT epoch, avg(ap), avg(loss) FROM epochs JOIN jobs USING (job_id, attempt) "
            f"WHERE candidate_id = {literal(candidate.candidate_id)} GROUP BY epoch ORDER BY epoch"
        )
        for column, name in ((1, "ap"), (2, "loss")):
            known = [] if answer is None else [(row[0], row[column]) for row in answer.rows if row[column] is not None]
            nothing = ": the tables can't be asked" if answer is None else ": no epoch has ended yet"
            self._plot(name, f"{name} by epoch" + ("" if known else nothing), known)

    @work(exclusive=True, group="pane")
    async def _why(self, candidate: Candidate) -> None:
        text = self.query_one("#why-text", Static)
        try:
            text.update(await self.spnas.source.why(candidate.candidate_id))
        except SourceError as error:
            text.update(str(error))

    @work(exclusive=True, group="pane")
    async def _events(self, candidate: Candidate) -> None:
        identity = literal(candidate.candidate_id)
        answer = await self._answer(
            "SELECT seq, strftime(ts, '%H:%M:%S'), kind, payload FROM events WHERE "
            f"position({literal(json.dumps(candidate.candidate_id))} IN payload::VARCHAR) > 0 OR (payload->>'job_id') IN "
            f"(SELECT job_id FROM jobs WHERE candidate_id = {identity}) "
            f"ORDER BY seq LIMIT {MOST_EVENTS}"
        )
        rows = [] if answer is None else [tuple(Cell(str(value)) for value in row) for row in answer.rows]
        self.query_one("#candidate-events", Grid).show(len(rows), rows.__getitem__)

    @work(exclusive=True, group="pane")
    async def _log(self, candidate: Candidate) -> None:
        try:
            lines = await self.spnas.source.log(candidate.candidate_id, MOST_LINES)
        except SourceError as error:
            lines = [str(error)]
        self.query_one("#candidate-log", Grid).show(len(lines), lambda number: (Cell(lines[number]),))

    async def _answer(self, statement: str) -> Answer | None:
        try:
            return await self.spnas.source.query(statement, MOST_EVENTS)
        except SourceError as error:
            self.app.notify(str(error), severity="warning", markup=False)
            return None


def _draw(points: Points, canvas: Canvas) -> None:
    if len(points) == 0:
        return
    canvas.set_xlimits(0.5, float(points[:, 0].max()) + 0.5)
    canvas.set_ylimits(0, float(points[:, 1].max()) * 1.1 or 1.0)
    canvas.line(points[:, 0], points[:, 1], "best")
    canvas.points(points[:, 0], points[:, 1], "chosen", "•")
