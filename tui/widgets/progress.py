"""Phases with their progress, the sums of the run, and the latest reignition."""

from __future__ import annotations

from textual.content import Content

from lineage.wording import plural, reasons
from tui.forecast import fraction
from tui.phases import PhaseView, Progress, ReignitionView
from tui.state import State
from tui.view_models import SearchView
from tui.widgets.panel import Panel, bar

SIGNS: dict[Progress, str] = {"waiting": "○", "running": "▶", "done": "✓"}
MAX_BAR = 40


class ProgressPanel(Panel):
    """One line a pipeline step, then the run's sums."""

    BORDER_TITLE = "Progress"

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._view = SearchView()
        self._is_live = True

    def show(self, state: State) -> None:
        if state.view is not self._view or state.is_live != self._is_live:
            self._view, self._is_live = state.view, state.is_live
            self.refresh_lines()

    def lines(self, width: int) -> list[Content]:
        view = self._view
        name_width = max((len(phase.step) for phase in view.phases), default=0)
        lines = [_phase_line(view, phase, name_width, width, self._is_live) for phase in view.phases]
        lines.append(_sums_line(view))
        told = [*([_queue(view)] if self._is_live else []), *_limits(view)]
        lines += [Content(line) for line in told]
        if view.reignitions:
            lines.append(_reignition_line(view.reignitions[-1], len(view.reignitions)))
        return lines


def _phase_line(view: SearchView, phase: PhaseView, name_width: int, width: int, is_live: bool) -> Content:
    style = {"waiting": "dim", "running": "bold", "done": "$text-success"}[phase.state]
    cut_off = phase.state == "running" and not is_live
    sign, state = ("■", "cut off") if cut_off else (SIGNS[phase.state], phase.state)
    count = f"{phase.trained}/{phase.total or '?'} trained"
    if phase.abandoned:
        count += f", {phase.abandoned} abandoned"
    if phase.ruled_out:
        count += f", {phase.ruled_out} ruled out"
    if phase.controls:
        count += f", {plural(phase.controls, 'control')}"
    note = phase.reason if phase.state == "done" else state
    bar_width = max(8, min(MAX_BAR, width - name_width - 50))
    return Content.assemble(
        (f"{sign} {phase.step:<{name_width}}  ", style),
        *bar(fraction(view, phase), bar_width),
        f"  {count}  ",
        (note, "dim"),
    )


def _sums_line(view: SearchView) -> Content:
    leader = view.story.best
    best = "none yet" if leader is None else f"{leader.ap:.3f} {leader.candidate_id}"
    counts = f"   {view.proposed} proposed, {view.trained} trained, {view.abandoned} abandoned"
    if view.ruled_out:
        counts += f", {view.ruled_out} ruled out"
    if view.failed_attempts:
        counts += f", {view.failed_attempts} failed attempt{'s' if view.failed_attempts > 1 else ''}"
    return Content.assemble("best AP ", (best, "bold"), counts)


def _queue(view: SearchView) -> str:
    """Candidates that wait for a device; told where none does, too, for the panel would change its height all the time."""
    running = {job.subject_id for job in view.story.jobs.values()}
    waiting = [one for one in view.story.candidates if one not in running]
    return f"queue {len(waiting)}{': ' if waiting else ''}{' '.join(waiting)}"


def _limits(view: SearchView) -> list[str]:
    """What each step that has limits, or refused proposals, allows and refused."""
    lines = []
    for phase in view.phases:
        refused = view.story.refused.get(phase.step, {})
        if phase.limits or refused:
            allowed = ", ".join(f"{name} {value}" for name, value in phase.limits) or "none"
            lines.append(f"{phase.step} limits: {allowed}; refused {reasons(refused) or 'nothing'}")
    return lines


def _reignition_line(latest: ReignitionView, count: int) -> Content:
    outcome = {"running": "trains on classification", "done": "done", "abandoned": "abandoned"}[latest.state]
    accuracy = "" if latest.accuracy is None else f", accuracy {latest.accuracy:.3f}"
    successor = "" if latest.successor_id is None else f", growth goes on with {latest.successor_id}"
    return Content(
        f"reignition {count}: {latest.reignition_id} of {latest.candidate_id} {outcome}{accuracy}{successor}"
    )
