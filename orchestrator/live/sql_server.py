"""A process that answers SQL while a run goes on: `python -m orchestrator.live.sql_server`.

It holds the run's tables in memory (`lineage.replica`) and serves them by DuckDB's quack protocol on this machine alone, to
whoever has the token. Its first line of input is a `Setup`, the others are events as they become durable; its only line of
output is an `Address`. It ends with its input; and when queries take too long or too much, for there is no other way to end
one: then whoever started it starts another. A process of its own, so that no query takes memory, locks or time from the
search.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

import duckdb

from lineage.errors import StoreError
from lineage.events import Recorded
from lineage.replica import Replica
from lineage.snapshot import snapshot_file
from orchestrator.live import guard
from orchestrator.live.beside import BROKEN, Lines, end, end_with_owner, give_way
from orchestrator.live.limits import Limits
from orchestrator.live.pace import Pace
from orchestrator.live.sql_setup import Address, Setup

EXTENSIONS = ("duckdb_extension_httpfs", "duckdb_extension_quack")  # in this order
NICENESS = 10
GATHER_S = 0.05  # events that come within it are one transaction
RETRY_S = 0.5


def main() -> None:
    try:
        _serve(Lines())
    except KeyboardInterrupt:
        end(0)
    except BaseException:
        end(BROKEN, traceback.format_exc())


def _serve(lines: Lines) -> None:
    setup = Setup.model_validate_json(lines.setup)
    give_way(NICENESS)
    replica = Replica()
    load_extensions(replica.connection)
    with snapshot_file(setup.database) as copy:
        replica.take(copy)
    end_with_owner()
    pace = Pace(setup.share, os.cpu_count() or 1)
    guard.close(replica.connection, pace.turn)
    limits = Limits(replica.connection, setup.query_s, setup.memory_bytes)
    address, _port_holder = _claimed(setup.wanted)
    replica.connection.execute("CALL quack_serve(?, token = ?)", [address.uri, address.token])
    threading.Thread(target=limits.watch, name="watch", daemon=True).start()
    sys.stdout.write(address.model_dump_json() + "\n")
    sys.stdout.flush()
    while True:
        batch = [lines.first()]
        time.sleep(GATHER_S)
        batch += lines.others()
        limits.grow(sum(map(len, batch)))
        _apply(replica, [Recorded.model_validate_json(line) for line in batch], setup.query_s)
        pace.main_thread_worked()


def _apply(replica: Replica, events: list[Recorded], patience_s: float) -> None:
    """Add events to the tables; where queries have taken all memory, once they are over."""
    deadline = time.monotonic() + patience_s + RETRY_S
    while True:
        try:
            return replica.apply(events)
        except StoreError:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY_S)


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


def _claimed(wanted: Address | None) -> tuple[Address, socket.socket]:
    """An address that no other process has; nobody else gets it while the socket is there.

    It is the one wanted, if nobody has taken it meanwhile. Otherwise the token is another one, too: clients may have told
    theirs to whoever is there now. quack shares a port (SO_REUSEPORT) with any process of this user without a word.
    """
    holder = socket.socket()
    if wanted is not None and not _answers(wanted.port):
        with suppress(OSError):
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("localhost", wanted.port))
            return wanted, holder
        holder = socket.socket()
    holder.bind(("localhost", 0))
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return Address(port=holder.getsockname()[1], token=secrets.token_hex(16)), holder


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("localhost", port)) == 0


if __name__ == "__main__":
    main()
