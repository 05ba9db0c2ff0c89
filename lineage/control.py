"""What people ask of a live run, and what came of it: every request is one of these events, or a StopRequested or
ReignitionRequested. `by` is who asked, in their own words. Read `lineage.events` first.
"""

from __future__ import annotations

from typing import Any, Literal

from lineage.reports import EventValue, JobFailed


class RunPaused(EventValue):
    """No training begins from now on; those that run go on to their end. A resumption, too, ends the pause."""

    kind: Literal["RunPaused"] = "RunPaused"
    by: str


class RunContinued(EventValue):
    """Trainings begin again after a pause."""

    kind: Literal["RunContinued"] = "RunContinued"
    by: str


class JobCancelled(EventValue):
    """A training was ended for good, and what it was done for is given up. Its worker is replaced."""

    kind: Literal["JobCancelled"] = "JobCancelled"
    job_id: str
    attempt: int
    by: str

    @property
    def failure(self) -> JobFailed:
        """What it is to the job."""
        message = f"cancelled by {self.by}"
        return JobFailed(job_id=self.job_id, attempt=self.attempt, fault="cancelled", message=message)


class SettingChanged(EventValue):
    """A key of the configuration has another value from now on; `key` is dotted, as in ``--set``."""

    kind: Literal["SettingChanged"] = "SettingChanged"
    key: str
    value: Any
    before: Any = None
    by: str


class RequestRefused(EventValue):
    """Somebody asked for what can't be done, and why. `request` is what was asked, as it is typed."""

    kind: Literal["RequestRefused"] = "RequestRefused"
    request: str
    reason: str
    by: str
