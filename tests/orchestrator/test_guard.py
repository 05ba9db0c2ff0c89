"""What clients of a live run may ask: every attack is refused, the owner goes on writing, and what is meant to work does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from attacks import ALLOWED, ATTACKS, BY_TABLE, SECRET_QUERY, VARYING
from histories import proposed
from served import LOG, Client, Server, store_of, texts, wait_for

from lineage.replica import Replica
from orchestrator.live import guard
from orchestrator.live.sql_server import load_extensions


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with Server(store_of(folder / "lineage.duckdb"), folder / "sql.log") as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Client:
    return server.client()


@pytest.mark.parametrize("statement", ATTACKS, ids=lambda text: repr(text[:70]))
def test_an_attack_is_refused_and_the_owner_goes_on_writing(server: Server, client: Client, statement: str) -> None:
    with pytest.raises(duckdb.InvalidInputException, match=r"refused: |Authorization failed|Type with name"):
        client.ask(statement)
    server.tell(proposed(f"s-{server.last_seq}"))
    assert server.process.poll() is None


@pytest.mark.parametrize("statement", BY_TABLE)
def test_an_attack_by_way_of_an_attached_table_is_refused(server: Server, statement: str) -> None:
    with pytest.raises(duckdb.Error):
        server.client().connection.execute(statement)
    server.tell(proposed(f"s-{server.last_seq}"))
    assert server.process.poll() is None


def test_after_all_of_it_the_tables_are_as_the_owner_wrote_them(server: Server, client: Client) -> None:
    wait_for(lambda: client.last_seq() == server.last_seq)
    assert client.ask("SELECT run_id FROM run") == [("digits",)]
    assert client.ask("SELECT count(*), max(seq) FROM events") == [(server.last_seq, server.last_seq)]
    assert client.ask("SELECT count(*) FROM candidates") == [(3 + server.last_seq - len(LOG),)]
    assert client.ask("FROM refusals") == []
    ((names,),) = client.ask("SELECT list(table_name) FROM duckdb_tables() WHERE table_name = 'x'")
    assert names is None


@pytest.fixture(scope="module")
def unguarded(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """The same tables, for whoever may do everything."""
    replica = Replica()
    replica.take(store_of(tmp_path_factory.mktemp("unguarded") / "lineage.duckdb"))
    return replica.connection


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of a server whose tables nobody adds to."""
    folder = tmp_path_factory.mktemp("calm")
    with Server(store_of(folder / "lineage.duckdb"), folder / "sql.log") as server:
        yield server.client()


@pytest.mark.parametrize("statement", ALLOWED)
def test_what_reads_the_tables_is_answered_as_without_a_guard(
    calm: Client, unguarded: duckdb.DuckDBPyConnection, statement: str
) -> None:
    found, expected = calm.ask(statement), unguarded.execute(statement).fetchall()
    if statement in VARYING:
        assert found
    else:
        assert sorted(map(repr, found)) == sorted(map(repr, expected))


def test_attached_tables_and_views_can_be_browsed_like_any_others(client: Client) -> None:
    ask = client.connection.execute
    assert ("s-2", 0.3) in ask("SELECT candidate_id, ap FROM live.candidates WHERE ap > 0.2 ORDER BY ap").fetchall()
    assert ask("SELECT candidate_id FROM live.leaderboard LIMIT 1").fetchall() == [("s-2",)]
    assert ask("SELECT column_name FROM (DESCRIBE live.run) LIMIT 1").fetchall() == [("run_id",)]
    assert ("run_id", "digits") in ask("SELECT column_name, min FROM (SUMMARIZE live.run)").fetchall()
    ask("USE live")
    try:
        assert ask("SELECT count(*) FROM inheritance").fetchall() == [(2,)]
    finally:
        ask("USE memory")


def test_a_refused_name_is_told_whatever_it_is_made_of(client: Client) -> None:
    with pytest.raises(duckdb.InvalidInputException, match="refused: o'; delete from events -- is not known here"):
        client.ask("""SELECT "o'; delete from events --"(1)""")


def test_no_view_and_no_catalog_tells_a_client_of_the_token_or_of_what_others_ask(
    server: Server, client: Client
) -> None:
    other = server.client()
    other.ask(SECRET_QUERY)
    seen = set()
    everything = client.ask("SELECT schema_name || '.' || view_name FROM duckdb_views()")
    functions = "FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro')"
    everything += client.ask(f"SELECT DISTINCT function_name || '()' {functions}")
    for (name,) in everything:
        try:
            found = texts(client.ask(f"FROM {name}"))
        except duckdb.Error:
            continue
        assert "another client" not in found, name
        assert server.address.token not in found, name
        seen.add(name)
    assert seen >= {"main.duckdb_columns", "main.leaderboard", "information_schema.tables", "duckdb_tables()"}


def test_the_token_is_in_no_process_list_and_no_log(server: Server) -> None:
    about = Path("/proc") / str(server.process.pid)
    assert server.address.token.encode() not in (about / "cmdline").read_bytes() + (about / "environ").read_bytes()
    assert server.address.token not in server.log.read_text()


@pytest.fixture(scope="module")
def closed() -> duckdb.DuckDBPyConnection:
    """A closed database in this process, to which the guard's own function can be put."""
    replica = Replica()
    load_extensions(replica.connection)
    guard.close(replica.connection, lambda: True)
    return replica.connection


def lets_through(connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
    ((answer,),) = connection.execute(f"SELECT {guard.GUARD}('session', $it)", {"it": statement}).fetchall()
    return answer == statement


def names(connection: duckdb.DuckDBPyConnection, condition: str) -> list[str]:
    rows = connection.execute(f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE {condition}").fetchall()
    return [name for (name,) in rows]


def test_of_all_table_functions_only_those_listed_are_let_through(closed: duckdb.DuckDBPyConnection) -> None:
    for name in names(closed, "function_type IN ('table', 'pragma', 'table_macro')"):
        is_listed = name in (*guard.TABLE_FUNCTIONS, "ancestors", "descendants")
        assert lets_through(closed, f'FROM "{name}"()') == is_listed, name
        assert not lets_through(closed, f"CALL {name}()")


def test_no_volatile_function_is_let_through_but_those_listed(closed: duckdb.DuckDBPyConnection) -> None:
    for name in names(closed, "stability = 'VOLATILE' OR function_name LIKE 'quack%'"):
        assert lets_through(closed, f'SELECT "{name}"()') == (name in guard.HARMLESS), name


def test_a_macro_that_is_let_through_does_nothing_that_is_not(closed: duckdb.DuckDBPyConnection) -> None:
    macros = "SELECT function_name, macro_definition FROM duckdb_functions() WHERE function_type = 'macro'"
    allowed = [
        (name, definition)
        for name, definition in closed.execute(macros).fetchall()
        if lets_through(closed, f"SELECT {name}()")
    ]
    assert len(allowed) > 50
    assert [name for name, definition in allowed if not lets_through(closed, f"SELECT {definition}")] == []


def test_the_configuration_is_locked_but_for_the_memory_that_growing_tables_need(
    closed: duckdb.DuckDBPyConnection,
) -> None:
    changeable = []
    for (name,) in closed.execute("SELECT name FROM duckdb_settings()").fetchall():
        try:
            closed.execute(f"RESET GLOBAL {name}")
        except duckdb.Error:
            continue
        changeable.append(name)
    assert set(changeable) <= {"memory_limit", "max_memory"}
    guard.limit_memory(closed, 3 * 10**8)
    assert closed.execute("SELECT current_setting('memory_limit')").fetchall() == [("286.1 MiB",)]
