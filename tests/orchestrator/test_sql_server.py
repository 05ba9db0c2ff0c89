"""The process that answers SQL: its limits, its address, and its end. Real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import pytest
from histories import NOON, proposed
from served import LOG, Server, store_of, wait_for

from lineage import events as ev
from lineage.errors import StoreError
from lineage.events import Recorded
from lineage.replica import Replica
from orchestrator.live import limits, sql_server
from orchestrator.live.sql_setup import Setup

ENDLESS = "WITH RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a) SELECT count(*) FROM a"
GREEDY = "SELECT length(repeat('x', 2000000000))"  # DuckDB counts none of it
SORTING = "SELECT * FROM range(100000000) ORDER BY hash(range)"  # DuckDB counts all of it


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return store_of(tmp_path / "lineage.duckdb")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "sql.log"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that is not brought down."""
    folder = tmp_path_factory.mktemp("served")
    with Server(store_of(folder / "lineage.duckdb"), folder / "sql.log", memory_bytes=10**8) as server:
        yield server


def test_what_is_told_is_in_the_tables_at_once_and_only_once(database: Path, log: Path) -> None:
    with Server(database, log, last_seq=len(LOG) - 2) as server:
        server.tell(*LOG[-2:], proposed("s-9"))  # the first two are in the store, too
        client = server.client()
        wait_for(lambda: client.last_seq() == len(LOG) + 1)
        assert client.ask("SELECT count(*) FROM candidates WHERE candidate_id = 's-9'") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "query_s", "reason"),
    [(ENDLESS, 0.5, "a query took more than 0.5 s"), (GREEDY, 300, "queries took more than 100000000 bytes")],
)
def test_a_query_beyond_its_limits_ends_with_the_server_which_says_why(
    database: Path, log: Path, statement: str, query_s: float, reason: str
) -> None:
    with Server(database, log, query_s=query_s, memory_bytes=10**8) as server:
        with pytest.raises(duckdb.Error):
            server.client().ask(statement)
        assert server.process.wait(30) == limits.TOO_MUCH
    assert reason in log.read_text()


def test_a_query_that_duckdb_itself_stops_fails_alone(server: Server) -> None:
    client = server.client()
    with pytest.raises(duckdb.Error, match=r"offload|Out of Memory"):
        client.ask(SORTING)
    assert client.last_seq() == server.last_seq


def test_a_server_that_takes_anothers_place_is_found_where_that_one_was(database: Path, log: Path) -> None:
    with Server(database, log) as server:
        client = server.client()
        assert client.last_seq() == len(LOG)
        server.process.kill()
        server.process.wait(10)
        with Server(database, log, wanted=server.address) as following:
            assert following.address == server.address
            client.connection.execute("DETACH live")
            client.attach(following.address.uri, following.address.token)
            assert client.last_seq() == len(LOG)


def test_where_somebody_else_has_the_port_it_is_another_one_with_another_token(database: Path, log: Path) -> None:
    with Server(database, log) as server, Server(database, log, wanted=server.address) as other:
        assert other.address.port != server.address.port
        assert other.address.token != server.address.token
        with pytest.raises(duckdb.Error, match="Authentication failed"):
            other.client(token=server.address.token)


def test_nobody_comes_in_with_another_token(server: Server) -> None:
    for token in ("x", "0" * 32, server.address.token[:-1], server.address.token.upper(), "x" * 10**6, "'' or true --"):
        with pytest.raises(duckdb.Error, match="Authentication failed"):
            server.client(token)
    with pytest.raises(duckdb.Error, match="token"):
        server.client("")
    assert server.client().last_seq() == server.last_seq


def test_garbage_and_silence_on_its_port_keep_nobody_out(server: Server) -> None:
    garbage = [
        b"\0" * 1000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /quack HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /quack HTTP/1.1\r\nContent-Length: -1\r\n\r\nx",
        b"POST /quack HTTP/1.1\r\nContent-Length: 4\r\n\r\n\xff\xff\xff\xff",
        b"POST /quack HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
        b"POST /quack HTTP/1.1\r\nContent-Le",
        b"",
    ]
    held = []
    for sent in garbage * 3:
        connection = socket.create_connection(("localhost", server.address.port))
        connection.sendall(sent)
        held.append(connection)
    assert server.client().last_seq() == server.last_seq
    for connection in held:
        connection.close()
    assert server.process.poll() is None


def test_tables_that_grow_beyond_the_memory_of_queries_take_none_of_it(database: Path, log: Path) -> None:
    with Server(database, log, memory_bytes=10**7) as server:
        server.tell(*(ev.RecordingDelayed(reason=f"{n:020000}", seconds=1) for n in range(4000)))
        client = server.client()
        wait_for(lambda: client.last_seq() == server.last_seq)
        assert client.ask("SELECT sum(strlen(payload)) > 80000000 FROM events") == [(True,)]
        assert client.ask("SELECT count(DISTINCT seq) FROM events") == [(server.last_seq,)]
        assert server.process.poll() is None


def test_it_ends_with_its_input_and_leaves_nothing_behind(database: Path, log: Path, tmp_path: Path) -> None:
    with Server(database, log) as server:
        assert server.client().last_seq() == len(LOG)
        assert server.end() == 0
    copies = tmp_path / "copies"
    copies.mkdir()
    setup = Setup(database=database, query_s=1, memory_bytes=10**8).model_dump_json()
    started = subprocess.run(
        [sys.executable, "-m", "orchestrator.live.sql_server"],
        input=setup.encode() + b"\n",  # its input ends while it starts
        env=os.environ | {"TMPDIR": str(copies)},
        timeout=30,
        check=False,
    )
    assert started.returncode == 0
    assert list(copies.iterdir()) == []


OWNER = """
import subprocess, sys, time
command = [sys.executable, "-m", "orchestrator.live.sql_server"]
server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
server.stdin.write(sys.argv[1].encode() + b"\\n")
server.stdin.flush()
server.stdout.readline()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system is asked to do it as Linux can")
def test_even_a_stopped_one_ends_with_an_owner_that_is_killed(database: Path) -> None:
    setup = Setup(database=database, query_s=1, memory_bytes=10**8).model_dump_json()
    with subprocess.Popen([sys.executable, "-c", OWNER, setup], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        server = int(owner.stdout.readline())
        os.kill(server, signal.SIGSTOP)
        owner.kill()
        owner.wait(10)
        wait_for(lambda: not is_running(server))


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Full(Replica):
    """A replica whose memory queries have, for a while."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def apply(self, events: Iterable[Recorded]) -> None:
        self.times -= 1
        if self.times >= 0:
            raise StoreError("Out of Memory Error")
        super().apply(events)


def test_events_wait_for_memory_that_queries_have_and_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_server, "RETRY_S", 0.001)
    events = [Recorded(seq=n, event_id=f"e-{n}", ts=NOON, event=event) for n, event in enumerate(LOG, 1)]
    replica = Full(times=3)
    sql_server._apply(replica, events, patience_s=10)
    assert replica.last_seq == len(LOG)
    with pytest.raises(StoreError):
        sql_server._apply(Full(times=10**9), events, patience_s=0.01)


def test_a_server_that_can_no_longer_look_at_its_queries_ends(tmp_path: Path) -> None:
    plain = "duckdb.connect(config={'enable_external_access': False})"
    code = f"import duckdb; from orchestrator.live.limits import Limits; Limits({plain}, 1, 10**8).watch()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == limits.BROKEN
    assert "Traceback" in done.stderr  # of having no quack


def test_it_gives_way_to_the_search() -> None:
    code = "from orchestrator.live.beside import give_way; import os; give_way(10); print(os.nice(0))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 10
