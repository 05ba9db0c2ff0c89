"""Events as rows of the log, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pydantic

from lineage.errors import StoreError
from lineage.events import Recorded, from_json, to_json


def event_id(seq: int) -> str:
    """Id of the event with a sequence number: unique within a run, sorted as the log is."""
    return f"e-{seq:08d}"


def log_row(recorded: Recorded) -> dict[str, Any]:
    return {
        "seq": recorded.seq,
        "event_id": recorded.event_id,
        "ts": recorded.ts.astimezone(UTC).replace(tzinfo=None),
        "kind": recorded.event.kind,
        "version": recorded.event.version,
        "payload": to_json(recorded.event),
    }


def recorded_of(row: tuple[int, str, datetime, str]) -> Recorded:
    seq, identity, ts, payload = row
    try:
        event = from_json(payload)
    except pydantic.ValidationError as error:
        raise StoreError(f"event {identity} can't be read by this version of spnas-orch: {error}") from None
    return Recorded(seq=seq, event_id=identity, ts=ts.replace(tzinfo=UTC), event=event)
