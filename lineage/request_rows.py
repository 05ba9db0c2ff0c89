"""What requests of people change in the tables: see `lineage.projections`. Pure."""

from __future__ import annotations

import json
from datetime import datetime

from lineage import events as ev
from lineage.rows import Address, Rows, Values, new

Asked = (
    ev.StopRequested
    | ev.ReignitionRequested
    | ev.RunPaused
    | ev.RunContinued
    | ev.JobCancelled
    | ev.SettingChanged
    | ev.RequestRefused
)

STATUS = {"StopRequested": "stopping", "RunPaused": "paused", "RunContinued": "running"}


def asked(rows: Rows, event: Asked, seq: int, now: datetime) -> dict[Address, Values]:
    """The request itself, and the status of the run."""
    refused = event.reason if isinstance(event, ev.RequestRefused) else None
    changes = new("requests", seq=seq, request=typed(event), who=event.by, refused=refused, requested_at=now)
    if event.kind in STATUS:
        changes |= {at: {**run, "status": STATUS[event.kind]} for at, run in rows.items() if at[0] == "run"}
    return changes


def typed(event: Asked) -> str:
    """A request as a person types it."""
    match event:
        case ev.RequestRefused():
            return event.request
        case ev.JobCancelled():
            return f"cancel {event.job_id}"
        case ev.SettingChanged():
            return f"set {event.key}={json.dumps(event.value)}"
    names = {"StopRequested": "stop", "ReignitionRequested": "reignite", "RunPaused": "pause"}
    return names.get(event.kind, "continue")
