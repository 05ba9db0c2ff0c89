"""A live run, asked and heard from outside: real processes, simulated trainings that take a while."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pytest
from simulated import COMMAND, EXAMPLE, wait_for

from lineage.snapshot import open_snapshot
from orchestrator.live.sql_server import load_extensions

START = [
    COMMAND,
    "start",
    str(EXAMPLE / "sp_nas.yml"),
    *("--run-dir", "run", "--simulate", "--speed", "40", "--no-tui"),
    *("--set", "serial.search_algorithm.max_sample=500", "--set", "serial.search_algorithm.reignite="),
]
RESUME = [COMMAND, "resume", "run", "--no-tui", "--speed", "40"]
ENDLESS = "WITH RECURSIVE a(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM a) SELECT count(*) FROM a"


class Live:
    """A live run and its process."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process = folder, process

    def quack(self) -> dict[str, str] | None:
        """What the endpoint offers now."""
        try:
            endpoint = json.loads((self.folder / "endpoint.json").read_text())
        except OSError:
            return None
        found: dict[str, str] | None = endpoint.get("quack")
        return found if endpoint["pid"] == self.process.pid else None

    def offered(self) -> dict[str, str]:
        """What it offers, once it does."""
        wait_for(self.quack)
        quack = self.quack()
        assert quack is not None
        return quack

    def children(self) -> list[int]:
        """Processes that it started."""
        return [
            int(one) for one in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def server(self) -> int | None:
        """The process that answers SQL, if there is one now."""
        for child in self.children():
            with suppress(OSError):
                if b"sql_server" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return child
        return None

    def offered_by_another(self, before: int) -> dict[str, str]:
        """What is offered once another server than that one is there."""
        wait_for(lambda: self.server() not in (None, before) and self.quack())
        return self.offered()

    def last_seq(self) -> int:
        """Of the log on the disk."""
        with open_snapshot(self.folder / "lineage.duckdb") as store:
            ((seq,),) = store.query("SELECT max(seq) FROM events").rows
        return int(seq)

    def goes_on(self) -> None:
        before = self.last_seq()
        wait_for(lambda: self.last_seq() > before)


@contextmanager
def started(folder: Path, command: list[str]) -> Iterator[Live]:
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield Live(folder / "run", process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A run that goes on for minutes, and whose queries may take two seconds."""
    command = [*START, "--set", "general.sql.query_s=2", "--set", "general.sql.query_memory=200MB"]
    with started(tmp_path_factory.mktemp("live"), command) as live:
        yield live


@contextmanager
def client(quack: dict[str, Any]) -> Iterator[Callable[[str], list[Any]]]:
    """Ask as any DuckDB client that has attached a live run."""
    with duckdb.connect() as connection:
        load_extensions(connection)
        connection.execute(f"ATTACH '{quack['uri']}' AS live (TOKEN '{quack['token']}')")
        yield lambda sql: connection.execute(sql).fetchall()


def is_gone(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def connect(live: Live, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, "connect", str(live.folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_live_run_answers_any_duckdb_client_that_has_the_token(live: Live) -> None:
    quack = live.offered()
    assert (live.folder / "endpoint.json").stat().st_mode & 0o777 == 0o600
    with client(quack) as ask:
        ((before,),) = ask("SELECT max(seq) FROM live.events")
        wait_for(lambda: ask("SELECT max(seq) FROM live.events") > [(before,)])
        with pytest.raises(duckdb.Error):
            ask("DELETE FROM live.events")
    with pytest.raises(duckdb.Error, match="Authentication"), client({**quack, "token": "somethingelse"}):
        pass


def test_connect_prints_what_attaches_it(live: Live) -> None:
    quack = live.offered()
    printed = connect(live)
    assert printed.returncode == 0, printed.stderr
    loading = ["INSTALL httpfs; LOAD httpfs;", "INSTALL quack; LOAD quack;"]
    assert printed.stdout.splitlines()[:2] == loading
    told = json.loads(connect(live, "--json").stdout)
    assert told["pid"] == live.process.pid
    assert {key: told[key] for key in quack} == quack
    with duckdb.connect() as connection:  # what is installed here takes the place of what INSTALL would fetch
        for path in told["extensions"]:
            connection.execute(f"LOAD '{path}'")
        for line in printed.stdout.splitlines()[2:]:
            connection.execute(line).fetchall()
        assert connection.execute("SELECT run_id FROM live.run").fetchall() == [("run",)]


def test_a_query_beyond_its_time_ends_and_a_new_server_is_where_the_old_one_was(live: Live) -> None:
    quack, server = live.offered(), live.server()
    assert server is not None
    with client(quack) as ask:
        with pytest.raises(duckdb.Error):
            ask(f"FROM quack_query_by_name('live', '{ENDLESS}')")
        assert live.offered_by_another(server) == quack
        assert "a query took more than 2 s" in (live.folder / "logs/sql.log").read_text()
        ask("DETACH live")
        ask(f"ATTACH '{quack['uri']}' AS live (TOKEN '{quack['token']}')")
        at_least = live.last_seq()
        wait_for(lambda: ask("SELECT max(seq), count(*) FROM live.events") >= [(at_least, at_least)])
    live.goes_on()


def test_a_server_that_is_killed_is_replaced_and_one_that_is_stopped_holds_up_nothing(live: Live) -> None:
    quack, server = live.offered(), live.server()
    assert server is not None
    os.kill(server, signal.SIGKILL)
    assert live.offered_by_another(server) == quack
    with client(quack) as ask:
        assert ask("SELECT max(seq) = count(*) FROM live.events") == [(True,)]
    stopped = live.server()
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    live.goes_on()


def test_no_secret_is_where_others_look(live: Live) -> None:
    token = live.offered()["token"]
    for process in (live.process.pid, *live.children()):
        about = Path(f"/proc/{process}")
        assert token.encode() not in (about / "cmdline").read_bytes() + (about / "environ").read_bytes()
    others = [path for path in live.folder.rglob("*") if path.is_file() and path.name != "endpoint.json"]
    assert others
    assert [path.name for path in others if token.encode() in path.read_bytes()] == []


def test_a_run_that_is_stopped_leaves_no_process_and_is_not_offered(live: Live) -> None:
    """The last one: the server is stopped (SIGSTOP) by a test before."""
    children = live.children()
    assert children
    live.process.send_signal(signal.SIGINT)
    assert live.process.wait(60) == 130
    assert all(map(is_gone, children))
    assert not (live.folder / "endpoint.json").exists()
    printed = connect(live)
    assert printed.returncode == 2
    assert "is not live" in printed.stderr
    assert "spnas-orch sql" in printed.stderr
    assert f"duckdb -readonly {live.folder / 'lineage.duckdb'}" in printed.stderr


def test_after_a_kill_the_server_is_gone_its_address_counts_no_more_and_resume_has_another(tmp_path: Path) -> None:
    with started(tmp_path, START) as live:
        before, server = live.offered(), live.server()
        assert server is not None
        live.process.kill()
        live.process.wait(10)
        wait_for(lambda: is_gone(server))
        assert (live.folder / "endpoint.json").exists()
        printed = connect(live)
        assert printed.returncode == 2
        assert "is not live" in printed.stderr
    with started(tmp_path, RESUME) as resumed:
        wait_for(resumed.quack)
        printed = connect(resumed)
        assert printed.returncode == 0, printed.stderr
        assert before["token"] not in printed.stdout
