"""Devices and what each of them trains."""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from lineage.events import JobKind
from lineage.story import Job
from lineage.wording import duration, quantity
from tui.source import DeviceUse
from tui.state import State
from tui.widgets.panel import Panel, bar

MAX_BAR = 30
USE_WIDTH = 17
KINDS: dict[JobKind, str] = {"fast_train": "fast", "reignite": "reignite", "full_train": "full"}


class DeviceLines(Panel):
    """One line a device."""

    DEFAULT_CSS = "DeviceLines { height: auto; }"

    def __init__(self) -> None:
        super().__init__()
        self._state: State | None = None

    def show(self, state: State) -> None:
        self._state = state
        self.refresh_lines()

    def lines(self, width: int) -> list[Content]:
        state = self._state
        devices = () if state is None else state.view.devices
        name_width = max((len(device) for device, _ in devices), default=0)
        kind_width = max((len(KINDS[job.kind]) for _, job in devices if job), default=0)
        lines = []
        for device, job in devices:
            assert state is not None
            use = _use(state.uses.get(device))
            head = f"{device:<{name_width}}  {use:<{USE_WIDTH}}" if state.uses else f"{device:<{name_width}}  "
            if job is None:
                doing: tuple[str | tuple[str, str], ...] = (("idle", "dim"),)
            else:
                doing = self._job(job, kind_width, width - len(head), state.time)
            waits = state.view.blocked.get(device)
            blocked = (("  waits: " + waits, "$text-warning"),) if waits else ()
            lines.append(Content.assemble((head, "bold"), *doing, *blocked))
        if lines and state is not None and not state.is_live:
            lines.insert(0, Content.styled("as they were when the run was last heard of", "dim"))
        return lines or [Content.styled("no worker is running", "dim")]

    def _job(self, job: Job, kind_width: int, width: int, now: datetime) -> tuple[str | tuple[str, str], ...]:
        measure = "accuracy" if job.kind == "reignite" else "AP"
        numbers = f"{job.epoch}/{job.epochs or '?'}"
        if job.repeats > 1:
            numbers += f"  seed {job.repeat}/{job.repeats}"
        if job.attempt > 1:
            numbers += f"  attempt {job.attempt}"
        if job.loss is not None:
            numbers += f"  loss {job.loss:.3f}"
        if job.ap is not None:
            numbers += f"  {measure} {job.ap:.3f}"
        numbers += f"  {duration((now - job.started).total_seconds())}"
        fraction = job.epoch / job.epochs if job.epochs else 0.0
        bar_width = max(5, min(MAX_BAR, width - kind_width - 48))
        return (
            f"{job.subject_id:<6}  {KINDS[job.kind]:<{kind_width}}  ",
            *bar(fraction, bar_width),
            f"  epoch {numbers}",
        )


class DevicePanel(VerticalScroll):
    """The device lines, scrolled where there are many."""

    BORDER_TITLE = "Devices"

    def __init__(self, *, classes: str | None = None) -> None:
        super().__init__(classes=classes)
        self._lines = DeviceLines()

    def compose(self) -> ComposeResult:
        yield self._lines

    def show(self, state: State) -> None:
        self._lines.show(state)


def _use(use: DeviceUse | None) -> str:
    """``87 % 3.2G/80G``, as far as it is known."""
    if use is None:
        return ""
    busy = "" if use.busy is None else f"{use.busy:4.0%}"
    memory = "" if use.memory_bytes is None else f" {quantity(use.memory_bytes)}"
    total = "" if use.memory_total_bytes is None else f"/{quantity(use.memory_total_bytes)}"
    return f"{busy}{memory}{total}"
