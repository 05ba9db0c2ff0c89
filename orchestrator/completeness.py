"""Signs that a run's log is older than the rest of its folder: events that were recorded are no longer there.

A database file without its write-ahead log opens as an older state of itself, and nothing in it says so. What lies
beside it may. These are signs, not proofs; where only the database file was copied, there are none.
"""

from __future__ import annotations

from datetime import UTC, datetime

from lineage.store import EventStore
from lineage.wal import wal_of
from orchestrator.run_folder import RunFolder

_LAST = "SELECT kind, ts FROM events ORDER BY seq DESC LIMIT 1"
_KNOWN = "SELECT payload->>'checkpoint' FROM events WHERE payload->>'checkpoint' IS NOT NULL"


def missing_events(folder: RunFolder, store: EventStore) -> str | None:
    """Why events of a run, of which `store` holds the log, seem to be missing; None: nothing speaks for it."""
    if folder.owner() is not None:
        return None
    log = wal_of(folder.database)
    ((last, ts),) = store.query(_LAST).rows
    if folder.was_killed() and not log.exists() and last not in ("RunStopped", "RunFinished"):
        return (
            f"its process was killed or had no room on the disk, but there is no {log.name}, where its last events lie: "
            f"if {log} was moved or left out of a copy, put it back before the run goes on"
        )
    known = {checkpoint for (checkpoint,) in store.query(_KNOWN).rows}
    since = ts.replace(tzinfo=UTC)
    newer = [
        file
        for file in folder.checkpoints.glob("[!.]*.safetensors")
        if file.stem not in known and datetime.fromtimestamp(file.stat().st_mtime, UTC) > since
    ]
    ((slots,),) = store.query("SELECT coalesce(max(slots), 0) FROM run").rows
    if len(newer) > slots:  # a process that is killed may leave one a slot that it had no time to record
        return (
            f"{len(newer)} checkpoints are newer than the log and not in it: {log.name} may be missing, or "
            f"{folder.database.name} comes from an older copy; put back the newer one, if there is any"
        )
    return None
