"""Events as lines of a log. A line is put into words when somebody looks at it: most are never seen. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from immutables import Map

from lineage.events import Recorded
from lineage.narration import has_line, narrate
from lineage.story import Job, Story

LINES = 2000


class Line(NamedTuple):
    """An event that followed `before`, in a run that began at `started`."""

    recorded: Recorded
    before: Story
    started: datetime

    @property
    def seq(self) -> int:
        return self.recorded.seq

    @property
    def kind(self) -> str:
        return self.recorded.event.kind

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return (self.recorded.ts - self.started).total_seconds()

    @property
    def text(self) -> str:
        return narrate(self.before, self.recorded) or self.kind

    @property
    def subject_id(self) -> str:
        """The candidate or reignition it tells of; empty where there is none."""
        event, job = self.recorded.event, self._job
        if job is not None:
            return job.subject_id
        for name in ("subject_id", "candidate_id", "reignition_id"):
            if found := getattr(event, name, None):
                return str(found)
        return ""

    @property
    def device(self) -> str:
        job = self._job
        return getattr(self.recorded.event, "device", "") if job is None else job.device

    @property
    def _job(self) -> Job | None:
        return self.before.jobs.get(getattr(self.recorded.event, "job_id", ""))


class Lines(NamedTuple):
    """The last `LINES` lines; they are numbered from 1 to `told`."""

    kept: Map[int, Line] = Map()
    told: int = 0

    def after(self, number: int) -> list[Line]:
        """Those told after so many; as far as they are still there."""
        return [self.kept[one] for one in range(max(number, self.told - LINES, 0) + 1, self.told + 1)]


def tell(lines: Lines, before: Story, recorded: Recorded, started: datetime) -> Lines:
    """The lines after one more event, which may have none."""
    if not has_line(before, recorded.event):
        return lines
    told = lines.told + 1
    kept = lines.kept.set(told, Line(recorded, before, started))
    return Lines(kept.delete(told - LINES) if told > LINES else kept, told)
