"""A process that answers SQL while a run goes on: `python -m orchestrator.live.sql_server`.

It holds the run's tables in memory (`lineage.replica`) and serves them by DuckDB's quack protocol on this machine alone, to
whoever has the token. Its first line of input is a `Setup`, the others are events as they become durable; its only line of
output is the address. It ends with its input; and when a query takes too long, for there is no other way to end one: then
whoever started it starts another. A process of its own, so that no query takes memory, locks or time from the search.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import resource
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import duckdb
from pydantic import BaseModel

from lineage.events import Recorded
from lineage.replica import Replica
from lineage.snapshot import open_snapshot
from orchestrator.live.guard import close

EXTENSIONS = ("duckdb_extension_httpfs", "duckdb_extension_quack")  # in this order
NICENESS = 10
LOOK_S = 0.1  # between two looks at the queries that run
MAX_SESSIONS = 500  # of clients, which are never forgotten by quack itself
TOO_MUCH = 3  # exit code


class Setup(BaseModel):
    """What is served, to whom, and for how long a query may run."""

    database: Path
    token: str
    query_s: float
    memory_bytes: int


def main() -> None:
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    setup = Setup.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=_read, args=(lines,), name="input", daemon=True).start()
    os.nice(NICENESS)
    replica = Replica()
    load_extensions(replica.connection)
    with open_snapshot(setup.database) as store:
        replica.apply(store.read())
    ((held,),) = replica.connection.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchall()
    close(replica.connection, 2 * int(held) + setup.memory_bytes)  # the tables grow
    uri = f"quack:localhost:{_free_port()}"
    replica.connection.execute("CALL quack_serve(?, token = ?)", [uri, setup.token])
    most_bytes = _resident_bytes() + 2 * setup.memory_bytes  # DuckDB does not count all that it takes
    watch = (replica.connection.cursor(), setup.query_s, most_bytes)
    threading.Thread(target=_watch, args=watch, name="watch", daemon=True).start()
    sys.stdout.write(json.dumps({"uri": uri}) + "\n")
    sys.stdout.flush()
    while True:
        batch = [lines.get()]
        while not lines.empty():
            batch.append(lines.get())
        replica.apply(Recorded.model_validate_json(line) for line in batch if line is not None)
        if None in batch:
            _end(0)


def load_extensions(connection: duckdb.DuckDBPyConnection) -> None:
    """Load what quack needs from the installed packages: nothing is fetched, nothing is written to the home folder."""
    for path in extension_paths():
        connection.execute(f"LOAD '{path}'")


def extension_paths() -> list[Path]:
    """The extensions' files, in the order in which they are to be loaded."""
    found = []
    for package in EXTENSIONS:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        found += sorted(Path(spec.origin).parent.glob("extensions/*/*.duckdb_extension"))[:1]
    return found


def _read(lines: queue.SimpleQueue[bytes | None]) -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    lines.put(None)


def _watch(connection: duckdb.DuckDBPyConnection, query_s: float, most_bytes: int) -> None:
    """End this process once a query takes too long or too much, or once more clients came and went than it should hold."""
    active = "SELECT state, query_started_at FROM quack_active_connections()"
    while True:
        time.sleep(LOOK_S)
        sessions = connection.execute(active).fetchall()
        begun = [at.replace(tzinfo=UTC) for state, at in sessions if state == "active"]
        is_late = begun and (datetime.now(UTC) - min(begun)).total_seconds() > query_s
        if is_late or _resident_bytes() > most_bytes or (not begun and len(sessions) > MAX_SESSIONS):
            _end(TOO_MUCH)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(code: int) -> NoReturn:
    os._exit(code)  # threads of the server and of queries would keep the interpreter from an orderly end


if __name__ == "__main__":
    main()
