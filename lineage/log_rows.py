"""Events as rows of the log, and back; whether log and tables are all there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pydantic
from pydantic import TypeAdapter

from lineage import wal
from lineage.errors import StoreDamaged, StoreError, StoreIncomplete
from lineage.events import MAX_PAYLOAD_BYTES, Recorded, from_json, to_json, too_long
from lineage.rows import KEYS
from lineage.tables import column_types

AS_JSON = (
    """'[' || string_agg(concat('{"seq":', seq, ',"event_id":', to_json(event_id), ',"ts":"', """
    """strftime(ts, '%Y-%m-%dT%H:%M:%S.%fZ'), '","event":', payload, '}'), ',' ORDER BY seq) || ']'"""
)
"""Rows of the log as one text, for `page_of`."""

_PAGE: TypeAdapter[list[Recorded]] = TypeAdapter(list[Recorded])


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


def page_of(rows: str | None, longest: int | None) -> list[Recorded]:
    """Many events in a third less time than one by one; `longest` is the length of the longest payload.

    Raises:
        pydantic.ValidationError: one of them can't be read.
    """
    if longest is not None and longest > MAX_PAYLOAD_BYTES:
        raise too_long(longest)
    return [] if rows is None else _PAGE.validate_json(rows)


def must_be_whole(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Refuse a log with a hole or an event twice, which DuckDB makes of a file and a write-ahead log that don't match; and
    a store without one of its tables.
    """
    places = "SELECT seq, row_number() OVER (ORDER BY seq) AS place FROM events"
    wrong = f"SELECT seq, place FROM ({places}) WHERE seq <> place ORDER BY place, seq LIMIT 1"
    for found, place in connection.execute(wrong).fetchall():
        raise StoreDamaged(f"{path}: the log has event {found} where event {place} belongs; {wal.RESTORE}")
    if missing := KEYS.keys() - column_types(connection).keys():
        raise StoreIncomplete(
            f"{path} has no table {', '.join(sorted(missing))}: make the tables anew from the log with spnas-orch rebuild"
        )
