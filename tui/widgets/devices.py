"""Devices and what each of them trains."""

from __future__ import annotations

from datetime import datetime

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from lineage.events import JobKind
from lineage.story import Job
from lineage.wording import duration
from tui.view_models import SearchView
from tui.widgets.panel import Panel, bar

MAX_BAR = 30
KINDS: dict[JobKind, str] = {"fast_train": "fast", "reignite": "reignite", "full_train": "full"}


class DeviceLines(Panel):
    """One line a device."""

    DEFAULT_CSS = "DeviceLines { height: auto; }"

    def __init__(self) -> None:
        super().__init__()
        self._view = SearchView()
        self._now: datetime | None = None

    def show(self, view: SearchView, now: datetime) -> None:
        self._view, self._now = view, now
        self.refresh_lines()

    def lines(self, width: int) -> list[Content]:
        devices = self._view.devices
        name_width = max((len(device) for device, _ in devices), default=0)
        kind_width = max((len(KINDS[job.kind]) for _, job in devices if job), default=0)
        lines = []
        for device, job in devices:
            head = f"{device:<{name_width}}  "
            if job is None:
                lines.append(Content.assemble((head, "bold"), ("idle", "dim")))
            else:
                lines.append(Content.assemble((head, "bold"), *self._job(job, kind_width, width - name_width)))
        return lines or [Content.styled("no worker is running", "dim")]

    def _job(self, job: Job, kind_width: int, width: int) -> tuple[str | tuple[str, str], ...]:
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
        if self._now is not None:
            numbers += f"  {duration((self._now - job.started).total_seconds())}"
        fraction = job.epoch / job.epochs if job.epochs else 0.0
        bar_width = max(5, min(MAX_BAR, width - kind_width - 52))
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

    def show(self, view: SearchView, now: datetime) -> None:
        """`now` is the time that jobs are timed by."""
        self._lines.show(view, now)
