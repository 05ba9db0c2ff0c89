"""A moment of a run, as people name it: the number of an event, or a time. A time means the last event at or before it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lineage.errors import NoSuchMoment
from lineage.store import EventStore

At = int | datetime

_SEQ = re.compile(r"-?[0-9]{1,18}")
_AGO = re.compile(r"([0-9]{1,18}) *([smhd]) *ago")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Moment:
    """The last event of a past that is looked at, and when it was recorded (UTC)."""

    seq: int
    ts: datetime

    def __str__(self) -> str:
        return f"event {self.seq}, {_local(self.ts)}"


def parse(text: str, now: datetime) -> At:
    """``57``, ``2024-05-01T12:00+02:00``, ``2024-05-01 12:00`` and ``2024-05-01`` (local time), ``10m ago`` (before `now`).

    Raises:
        NoSuchMoment: `text` is none of these, or a time that is too far away to be told.
    """
    text = text.strip()
    if _SEQ.fullmatch(text):
        return int(text)
    ago = _AGO.fullmatch(text)
    try:
        named = now if ago else datetime.fromisoformat(text)
    except ValueError:
        raise NoSuchMoment(
            f"expected the number of an event, a time such as 2024-05-01T12:00 or 2024-05-01, or '10m ago' (s, m, h, d), "
            f"found {text[:80]!r}"
        ) from None
    try:
        return named - timedelta(**{_UNITS[ago[2]]: int(ago[1])}) if ago else named.astimezone(UTC)
    except (ValueError, OverflowError):
        where = "ahead" if named.year > now.year else "back"
        raise NoSuchMoment(f"{text!r} is too far {where}: no run has events of then") from None


def last_at(store: EventStore, at: At | None = None) -> Moment:
    """The event that `at` means; None: the last one.

    Raises:
        NoSuchMoment: the log does not reach so far, or begins later; the message says from where to where it goes. Or
            nothing has happened.
    """
    last = store.query("SELECT seq, ts FROM events ORDER BY seq DESC LIMIT 1").rows
    if not last:
        raise NoSuchMoment("nothing has happened in this run")
    if at is None:
        return _moment(last[0])
    if isinstance(at, int):
        rows = store.query("SELECT seq, ts FROM events WHERE seq = ?", [at]).rows
    else:
        until = at.astimezone(UTC).replace(tzinfo=None)
        rows = store.query("SELECT seq, ts FROM events WHERE ts <= ? ORDER BY seq DESC LIMIT 1", [until]).rows
    if not rows:
        asked = f"no event {at}" if isinstance(at, int) else f"nothing as early as {_local(at)}"
        raise NoSuchMoment(f"the run has {asked}: it goes from {last_at(store, 1)} to {_moment(last[0])}")
    return _moment(rows[0])


def _moment(row: tuple[int, datetime]) -> Moment:
    return Moment(row[0], row[1].replace(tzinfo=UTC))


def _local(ts: datetime) -> str:
    return ts.astimezone().isoformat(" ")
