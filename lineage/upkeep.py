"""What keeps a run going or ends it, beside the search: events of forks, of requests, of the disk, and of checkpoints.

Read `lineage.events` first.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lineage.reports import EventValue


class RunForked(EventValue):
    """What was recorded up to here is the log of the run in folder `source` up to its event `at_seq`, but for the run's id.

    From here on, this run goes its own way.
    """

    kind: Literal["RunForked"] = "RunForked"
    source: str
    at_seq: int = Field(ge=1)
    by: str


class StopRequested(EventValue):
    """Somebody asked the run to stop: trainings finish their epoch, which is kept, and nothing new is decided."""

    kind: Literal["StopRequested"] = "StopRequested"
    by: str


class WorkerBlocked(EventValue):
    """A worker has weights to keep and no room on the disk; it waits with them until there is."""

    kind: Literal["WorkerBlocked"] = "WorkerBlocked"
    device: str
    reason: str


class WorkerUnblocked(EventValue):
    """A worker that waited for room on the disk found it and kept what it had."""

    kind: Literal["WorkerUnblocked"] = "WorkerUnblocked"
    device: str


class RecordingDelayed(EventValue):
    """What was recorded just before had to wait for so many seconds, because there was no room on the disk."""

    kind: Literal["RecordingDelayed"] = "RecordingDelayed"
    reason: str
    seconds: float


class CheckpointDeleted(EventValue):
    """The weights of a candidate or reignition go, to keep to `general.keep_checkpoints` or `general.disk_quota`; or a fork
    did not find them in the run that it comes from.

    `subject_id` is trained again, from the same seed, should they be needed after all.
    """

    kind: Literal["CheckpointDeleted"] = "CheckpointDeleted"
    checkpoint: str
    subject_id: str
