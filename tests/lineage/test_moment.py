"""A moment of a run is named by an event's number or by a time; the tables of then are those of the log up to there."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from histories import NOON, histories, run_started, tables
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import events as ev
from lineage.errors import NoSuchMoment
from lineage.moment import Moment, last_at, parse
from lineage.snapshot import open_snapshot
from lineage.store import EventStore


@pytest.fixture
def in_paris(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def hourly(store: EventStore) -> EventStore:
    """Three events, at twelve, one and two."""
    for hours, event in enumerate([run_started(), ev.RunStopped(reason="interrupted"), ev.RunResumed()]):
        store.append([event], NOON + timedelta(hours=hours))
    return store


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("57", 57),
        ("-3", -3),
        ("2024-05-01T12:00:00+00:00", NOON),
        ("2024-05-01T12:00Z", NOON),
        (" 2024-05-01 14:00 ", NOON),
        ("2024-05-01", NOON.replace(hour=0) - timedelta(hours=2)),
        ("10m ago", NOON - timedelta(minutes=10)),
        ("2 d ago", NOON - timedelta(days=2)),
    ],
)
@pytest.mark.usefixtures("in_paris")
def test_a_moment_is_an_event_or_a_time_and_without_a_zone_a_local_one(text: str, meant: int | datetime) -> None:
    assert parse(text, NOON) == meant


@pytest.mark.parametrize("text", ["", "yesterday", "1.5", "2024-13-01", "٣", f"{'9' * 19}d ago"])
def test_what_is_no_moment_is_told(text: str) -> None:
    with pytest.raises(NoSuchMoment, match="expected the number of an event, a time such as"):
        parse(text, NOON)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("0001-01-01", "back"),
        ("0001-01-01T00:00+23:59", "back"),
        ("1000000d ago", "back"),
        (f"{'9' * 18}d ago", "back"),
        ("9999-12-31T23:59-12:00", "ahead"),
    ],
)
@pytest.mark.usefixtures("in_paris")
def test_a_time_that_is_too_far_away_is_told_as_that(text: str, where: str) -> None:
    with pytest.raises(NoSuchMoment, match=f"'{re.escape(text)}' is too far {where}: no run has events of then"):
        parse(text, NOON)


def test_a_time_means_the_last_event_at_or_before_it(hourly: EventStore) -> None:
    for minutes, seq in ((0, 1), (59, 1), (60, 2), (61, 2), (120, 3), (10_000_000, 3)):
        assert last_at(hourly, NOON + timedelta(minutes=minutes)).seq == seq
    assert last_at(hourly, 2) == Moment(2, NOON + timedelta(hours=1))
    assert last_at(hourly) == last_at(hourly, 3)


@pytest.mark.parametrize(
    "at", [0, -1, 4, 10**18 - 1, NOON - timedelta(microseconds=1), datetime.min.replace(tzinfo=UTC)]
)
@pytest.mark.usefixtures("in_paris")
def test_beyond_the_log_the_message_says_how_far_it_goes(hourly: EventStore, at: int | datetime) -> None:
    known = "it goes from event 1, 2024-05-01 14:00:00.02:00 to event 3, 2024-05-01 16:00:00.02:00$"
    with pytest.raises(NoSuchMoment, match=known):
        last_at(hourly, at)


@pytest.mark.parametrize("at", [None, 0, 1, NOON])
def test_a_run_in_which_nothing_happened_has_no_moments(store: EventStore, at: int | datetime | None) -> None:
    with pytest.raises(NoSuchMoment, match="nothing has happened in this run"):
        last_at(store, at)


@settings(max_examples=15, deadline=None)
@given(histories(), st.data())
def test_the_tables_of_then_are_those_of_the_events_up_to_then_alone(
    tmp_path_factory: pytest.TempPathFactory, history: list[ev.Event], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("then")
    groups = [([event], NOON + timedelta(minutes=number)) for number, event in enumerate(history, 1)]
    with EventStore.create(folder / "whole.duckdb") as store:
        store.append_groups(groups)
    seq = data.draw(st.integers(1, len(history)))
    with EventStore.create(folder / "then.duckdb") as store:
        store.append_groups(groups[:seq])
        log = list(map(repr, store.read()))  # as text, so that NaN equals NaN
        expected = tables(store)
    by_time = data.draw(st.booleans())
    with open_snapshot(folder / "whole.duckdb", groups[seq - 1][1] if by_time else seq) as store:
        assert list(map(repr, store.read())) == log
        assert tables(store) == expected


def test_looking_at_the_past_changes_nothing_and_may_be_refused(hourly: EventStore) -> None:
    hourly.close()
    before = hourly.path.read_bytes()
    with open_snapshot(hourly.path, 1) as store:
        assert store.query("SELECT status FROM run").rows == [("running",)]
    with pytest.raises(NoSuchMoment), open_snapshot(hourly.path, 4):
        pass
    assert [hourly.path] == list(hourly.path.parent.iterdir())
    assert hourly.path.read_bytes() == before


def test_a_moment_is_shown_so_that_it_can_be_asked_for(hourly: EventStore, tmp_path: Path) -> None:
    store = hourly
    (recorded,) = store.append([ev.RunResumed()], NOON + timedelta(hours=3, microseconds=17))
    shown = str(last_at(store)).removeprefix("event 4, ")
    assert last_at(store, parse(shown, NOON)).seq == recorded.seq
