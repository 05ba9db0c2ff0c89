"""The event store keeps what it acknowledged, in order, and says what is wrong when it can't."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest
from histories import INTERRUPTIONS, NOON, assigned, epoch, failed, proposed, run_started, tables
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage.errors import QueryError, StoreError, StoreExists, StoreLocked, StoreNotFound, StoreTooNew
from lineage.events import Event
from lineage.store import EventStore

ODD_TEXT = "O'Brien; \"quoted\" \\ \x00 \n ü 漢 -- '); DROP TABLE events"


def test_events_are_read_back_in_order_with_their_numbers_and_times(store: EventStore) -> None:
    later = NOON + timedelta(microseconds=1)
    recorded = store.append([run_started(), failed("j-1")], NOON) + store.append(INTERRUPTIONS, later)
    assert list(store.read()) == recorded
    assert [one.seq for one in recorded] == list(range(1, len(recorded) + 1))
    assert len({one.event_id for one in recorded}) == len(recorded)
    assert [one.ts for one in recorded] == [NOON] * 2 + [later] * len(INTERRUPTIONS)


def test_reading_can_start_anywhere_and_keep_to_some_kinds(store: EventStore) -> None:
    recorded = store.append([run_started(), *INTERRUPTIONS, *INTERRUPTIONS], NOON)
    assert list(store.read(after_seq=recorded[-3].seq)) == recorded[-2:]
    assert [one.event.kind for one in store.read(kinds=["RunResumed", "RunStopped"])] == [
        "RunStopped",
        "RunResumed",
    ] * 2
    assert list(store.read(after_seq=99)) == []


def test_a_long_log_is_read_whole(store: EventStore) -> None:
    store.append([epoch("j-1", number) for number in range(1, 2502)], NOON)
    assert [one.event.epoch for one in store.read()] == list(range(1, 2502))  # type: ignore[union-attr]


def test_times_of_any_zone_are_kept_as_the_same_moment(store: EventStore) -> None:
    store.append([run_started()], datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))))
    assert next(store.read()).ts == NOON
    assert store.query("SELECT ts FROM events").rows == [(datetime(2024, 5, 1, 12),)]


def test_a_time_without_a_zone_is_refused(store: EventStore) -> None:
    with pytest.raises(ValueError, match="timezone-aware"):
        store.append([run_started()], datetime(2024, 5, 1))


def test_text_of_any_kind_is_kept(store: EventStore) -> None:
    store.append([run_started(), proposed("s-0"), assigned("j-1", "s-0"), failed("j-1"), *INTERRUPTIONS], NOON)
    odd = failed("j-2").model_copy(update={"message": ODD_TEXT})
    for many in (1, 10):
        jobs = [f"j-{many}-{number}" for number in range(many)]
        store.append([assigned(job, "s-0") for job in jobs], NOON)
        store.append([odd.model_copy(update={"job_id": job}) for job in jobs], NOON)
        rows = store.query("SELECT message FROM jobs WHERE job_id LIKE ? || '-%'", [f"j-{many}"]).rows
        assert rows == [(ODD_TEXT,)] * many


def test_the_log_is_plain_sql(store: EventStore) -> None:
    store.append([run_started(run_id="tiny", seed=7)], NOON)
    columns = ("seq", "event_id", "ts", "kind", "version", "payload")
    assert store.query("FROM events").columns == columns
    assert store.query("SELECT seq, kind, version, payload->>'run_id', (payload->'seed')::INT FROM events").rows == [
        (1, "RunStarted", 1, "tiny", 7)
    ]


def test_an_append_that_the_database_refuses_leaves_no_trace_and_the_next_one_works(store: EventStore) -> None:
    store.append([run_started()], NOON)
    before = tables(store)
    with pytest.raises(StoreError, match="2 events can't be stored"):
        store.append([proposed("s-0"), proposed("s-1", params=2**70)], NOON)
    assert tables(store) == before
    assert [one.seq for one in store.append([proposed("s-0")], NOON)] == [2]
    assert store.query("SELECT candidate_id FROM candidates").rows == [("s-0",)]


def test_groups_of_events_are_stored_together_or_not_at_all(store: EventStore) -> None:
    recorded = store.append_groups([([run_started()], NOON), ([], NOON), (INTERRUPTIONS[:2], NOON)])
    assert [[one.seq for one in group] for group in recorded] == [[1], [], [2, 3]]
    with pytest.raises(StoreError):
        store.append_groups([([proposed("s-0")], NOON), ([proposed("s-1", params=2**70)], NOON)])
    assert len(list(store.read())) == 3


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.sampled_from(INTERRUPTIONS), max_size=7), max_size=4))
def test_a_reopened_store_goes_on_where_it_stopped(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Event]]
) -> None:
    path = tmp_path_factory.mktemp("run") / "lineage.duckdb"
    EventStore.create(path).close()
    for batch in batches:
        with EventStore.open(path) as store:
            store.append(batch, NOON)
    with EventStore.open_read_only(path) as store:
        assert [one.event for one in store.read()] == [event for batch in batches for event in batch]
        assert [one.seq for one in store.read()] == list(range(1, 1 + sum(map(len, batches))))


def test_a_new_store_never_replaces_a_file(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("data")
    with pytest.raises(StoreExists, match="exists already"):
        EventStore.create(tmp_path / "precious.txt")
    assert (tmp_path / "precious.txt").read_text() == "data"


@pytest.mark.parametrize("opening", [EventStore.open, EventStore.open_read_only])
def test_what_is_no_store_is_not_opened(tmp_path: Path, opening: Callable[[Path], EventStore]) -> None:
    with pytest.raises(StoreNotFound):
        opening(tmp_path / "missing.duckdb")
    with pytest.raises(StoreNotFound):
        opening(tmp_path)
    (tmp_path / "text").write_text("no database " * 1000)
    with pytest.raises(StoreError, match="not a valid DuckDB database"):
        opening(tmp_path / "text")
    duckdb.connect(tmp_path / "other.duckdb").execute("CREATE TABLE mine (a INT)").close()
    with pytest.raises(StoreError, match=r"event store.*schema_version"):
        opening(tmp_path / "other.duckdb")
    with duckdb.connect(tmp_path / "other.duckdb") as other:
        assert other.execute("SHOW TABLES").fetchall() == [("mine",)]


def test_a_store_that_cannot_be_made_says_where(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        EventStore.create(tmp_path / "nowhere" / "lineage.duckdb")


@pytest.mark.parametrize("opening", [EventStore.open, EventStore.open_read_only])
def test_a_process_opens_a_store_for_writing_once(store: EventStore, opening: Callable[[Path], EventStore]) -> None:
    with pytest.raises(StoreLocked, match="in this process"):
        opening(store.path)
    store.append([run_started()], NOON)


def test_a_closed_store_can_be_opened_again_and_appends_nothing(store: EventStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="not open for writing"):
        store.append([run_started()], NOON)
    with EventStore.open(store.path) as again:
        again.append([run_started()], NOON)


def test_a_read_only_store_appends_nothing(store: EventStore) -> None:
    store.close()
    with EventStore.open_read_only(store.path) as reader:
        for write in (lambda: reader.append([run_started()], NOON), reader.rebuild):
            with pytest.raises(StoreError, match="not open for writing"):
                write()


def test_a_store_of_a_later_version_is_refused_with_the_version_it_needs(store: EventStore) -> None:
    store.close()
    with duckdb.connect(store.path) as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, '0999_future.sql', '7.8.9')")
    for opening in (EventStore.open, EventStore.open_read_only):
        with pytest.raises(StoreTooNew, match=r"999.*spnas-orch 7\.8\.9 or later"):
            opening(store.path)


def test_a_store_of_an_earlier_version_is_brought_up_to_date_and_its_tables_filled(store: EventStore) -> None:
    store.append([run_started(), proposed("s-0"), proposed("s-1", "s-0")], NOON)
    store.close()
    with duckdb.connect(store.path) as connection:
        for kind, name in connection.execute("SELECT table_type, table_name FROM information_schema.tables").fetchall():
            if name not in ("events", "schema_version"):
                connection.execute(f"DROP {kind.replace('BASE ', '')} {name}")
        connection.execute("DROP MACRO TABLE ancestors; DROP MACRO TABLE descendants")
        connection.execute("DELETE FROM schema_version WHERE version > 1")
    with pytest.raises(StoreError, match="lacks schema version 2"):
        EventStore.open_read_only(store.path)
    with EventStore.open(store.path) as migrated:
        assert migrated.query("SELECT candidate_id FROM ancestors('s-1')").rows == [("s-0",)]
        assert migrated.append([proposed("s-2")], NOON)[0].seq == 4


def test_an_event_of_an_unknown_version_is_named(store: EventStore) -> None:
    store.append([run_started()], NOON)
    store.close()
    with duckdb.connect(store.path) as connection:
        connection.execute("""UPDATE events SET payload = '{"kind": "MoonLanded"}'""")
    with EventStore.open_read_only(store.path) as reader, pytest.raises(StoreError, match="e-00000001"):
        list(reader.read())


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a, 'x' AS b",
        "WITH t AS (SELECT 1 AS a, 'x' AS b) SELECT * FROM t -- comment",
        "VALUES (1, 'x');",
        "SELECT ? AS a, ? AS b",
    ],
)
def test_a_query_gives_columns_and_rows(store: EventStore, sql: str) -> None:
    result = store.query(sql, [1, "x"] if "?" in sql else [])
    assert len(result.columns) == 2
    assert result.rows == [(1, "x")]


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("", "one SELECT, found 0"),
        ("-- nothing", "one SELECT, found 0"),
        ("SELECT 1; SELECT 2", "one SELECT, found 2"),
        ("SELECT 1; DELETE FROM events", "one SELECT, found 2"),
        ("DELETE FROM events", "only SELECT is allowed, found DELETE"),
        ("WITH x AS (SELECT 1) INSERT INTO events SELECT * FROM x", "only SELECT is allowed, found INSERT"),
        ("DROP TABLE events", "only SELECT is allowed, found DROP"),
        ("ATTACH '/tmp/other.duckdb'", "only SELECT is allowed, found ATTACH"),
        ("COPY events TO '/tmp/events.csv'", "only SELECT is allowed, found COPY"),
        ("EXPLAIN ANALYZE DELETE FROM events", "only SELECT is allowed, found EXPLAIN"),
        ("SET threads = 8", "only SELECT is allowed, found SET"),
        ("PRAGMA table_info('events')", "only SELECT is allowed"),
        ("CHECKPOINT", "only SELECT is allowed"),
        ("SELEC 1", 'syntax error at or near "SELEC"'),
        ("SELECT * FROM candidate", 'Did you mean "candidates"'),
        ("SELECT 'x'::INT", "Could not convert string"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
        ("SELECT * FROM '/etc/passwd'", "disabled by configuration|does not exist"),
        ("FROM glob('/etc/*')", "disabled by configuration"),
        ("FROM read_csv('https://example.com/x.csv')", "disabled by configuration"),
        ("SELECT ?", "parameter"),
    ],
)
def test_a_query_that_is_no_select_or_is_wrong_is_refused_with_the_reason(
    store: EventStore, sql: str, why: str
) -> None:
    store.append([run_started()], NOON)
    with pytest.raises(QueryError, match=why):
        store.query(sql)
    assert store.query("SELECT count(*) FROM events").rows == [(1,)]


def test_a_query_sees_no_variable_of_this_program(store: EventStore) -> None:
    with pytest.raises(QueryError, match="Table with name sql does not exist"):
        store.query("FROM sql")
