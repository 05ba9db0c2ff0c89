"""Executors: what carries out assignments and brings back reports."""

from __future__ import annotations

from typing import Protocol

from lineage.events import Event, JobAssigned
from orchestrator.search.state import SearchState


class Executor(Protocol):
    """Trains what is assigned to it. Reports are events as they will be recorded."""

    async def start(self) -> None:
        """Bring up the workers; each announces itself by a `WorkerStarted` among the reports."""

    def assign(self, state: SearchState, assigned: JobAssigned) -> None:
        """Start a job on its device, which is idle. Returns at once."""

    def delete(self, checkpoint: str) -> None:
        """Remove weights from the disk, if they are there."""

    def cancel(self, job_id: str) -> None:
        """End a job that runs, and report nothing of it; its device comes back with a `WorkerStarted`."""

    def forget(self, job_id: str) -> None:
        """Remove what is kept of a job in the middle: it is over."""

    async def reports(self) -> list[Event]:
        """Wait for at least one report; none once all is drained. Raises InfrastructureError when none can come any more."""

    def drain(self) -> None:
        """Let jobs end, or keep what they have at the end of their epoch; then the workers end."""

    async def close(self) -> None:
        """End all workers; nothing is reported afterwards."""
