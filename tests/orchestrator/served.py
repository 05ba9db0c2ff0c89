"""Given: a server of some run's tables, as a process, with clients that attach it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
from histories import NOON, proposed, run_started, trainings

from lineage import events as ev
from lineage.events import Event, Recorded
from lineage.log_rows import event_id
from lineage.store import EventStore
from orchestrator.live.sql_server import load_extensions
from orchestrator.live.sql_setup import Address, Setup

LOG: list[Event] = [
    run_started(run_id="digits"),
    ev.PhaseStarted(step="serial", phase="serial"),
    *trainings("s-1", ap=0.25),
    *trainings("s-2", "s-1", ap=0.3),
    proposed("s-3", "s-2"),
]


def store_of(path: Path, log: list[Event] = LOG) -> Path:
    with EventStore.create(path) as store:
        store.append(log, NOON)
    return path


class Server:
    """One such process; a context manager."""

    def __init__(
        self,
        database: Path,
        log: Path,
        query_s: float = 30,
        memory_bytes: int = 2 * 10**8,
        wanted: Address | None = None,
        last_seq: int = len(LOG),
    ) -> None:
        self.log, self.last_seq = log, last_seq
        setup = Setup(database=database, query_s=query_s, memory_bytes=memory_bytes, share=1, wanted=wanted)
        with log.open("ab") as errors:
            command = [sys.executable, "-m", "orchestrator.live.sql_server"]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._say(setup.model_dump_json())
        said = self.process.stdout.readline()
        assert said, log.read_text()
        self.address = Address.model_validate_json(said)

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def tell(self, *events: Event, ts: datetime = NOON) -> None:
        """Hand on events that became durable."""
        for event in events:
            self.last_seq += 1
            one = Recorded(seq=self.last_seq, event_id=event_id(self.last_seq), ts=ts, event=event)
            self._say(one.model_dump_json())

    def client(self, token: str | None = None) -> Client:
        return Client(self.address.uri, self.address.token if token is None else token)

    def end(self) -> int:
        """End its input; its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(10)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait(10)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class Client:
    """A DuckDB of its own that has attached a server as ``live``."""

    def __init__(self, uri: str, token: str) -> None:
        self.connection = duckdb.connect()
        load_extensions(self.connection)
        self.attach(uri, token)

    def attach(self, uri: str, token: str) -> None:
        self.connection.execute(f"ATTACH '{uri}' AS live (TOKEN '{token}')")

    def ask(self, statement: str) -> list[Any]:
        """Rows of a statement that the server runs as it is."""
        return self.connection.execute("FROM quack_query_by_name('live', ?)", [statement]).fetchall()

    def last_seq(self) -> int:
        ((seq,),) = self.ask("SELECT max(seq) FROM events")
        return int(seq)


def wait_for(condition: Callable[[], object], timeout_s: float = 60) -> None:
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


def texts(rows: list[Any]) -> str:
    return json.dumps(rows, default=str)
