"""How long queries on the served tables may run, and what they may take; beyond that the process that serves them ends."""

from __future__ import annotations

import time
import traceback
from datetime import datetime
from typing import NoReturn

import duckdb

from orchestrator.live.beside import BROKEN, TOO_MUCH, end, resident_bytes
from orchestrator.live.guard import limit_memory

LOOK_S = 0.1  # between two looks at the queries that run
MAX_SESSIONS = 5000  # quack keeps those of clients that were killed
GROWTH = 16  # bytes of memory that a byte of an event may come to, in DuckDB and beside it; 4 to 8 were seen
STEP_BYTES = 2**24
SPARE_BYTES = 2**28  # what answering takes beside the queries: threads, messages

_SESSIONS = "SELECT connection_id, query_started_at, state FROM quack_active_connections()"
_HELD = "SELECT sum(memory_usage_bytes) FROM duckdb_memory()"


class Limits:
    """Of this process, from when it has the tables. What they need as they grow is not taken from the queries."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, query_s: float, query_bytes: int) -> None:
        self._connection = connection
        self._query_s, self._query_bytes = query_s, query_bytes
        ((held,),) = connection.execute(_HELD).fetchall()
        self._held_bytes, self._resident_bytes = int(held), resident_bytes()
        self._room_bytes = 0  # for what has come since
        self._limit_bytes = 0
        self.grow(0)

    def grow(self, event_bytes: int) -> None:
        """Make room for tables that take in events of so many bytes."""
        self._room_bytes += GROWTH * event_bytes
        wanted = self._held_bytes + self._room_bytes + self._query_bytes
        if wanted > self._limit_bytes:
            self._limit_bytes = wanted + STEP_BYTES
            limit_memory(self._connection, self._limit_bytes)

    def watch(self) -> NoReturn:
        """End this process once a query takes too long or too much, or there are more clients than it should hold.

        DuckDB stops most queries at its own limit; not all that they take is counted there.
        """
        try:
            with self._connection.cursor() as cursor:
                began: dict[tuple[str, datetime], float] = {}
                while True:
                    time.sleep(LOOK_S)
                    now, sessions = time.monotonic(), cursor.execute(_SESSIONS).fetchall()
                    began = {(who, at): began.get((who, at), now) for who, at, state in sessions if state == "active"}
                    if began and now - min(began.values()) > self._query_s:
                        end(TOO_MUCH, f"a query took more than {self._query_s:g} s")
                    most_bytes = self._resident_bytes + self._room_bytes + 2 * self._query_bytes + SPARE_BYTES
                    if resident_bytes() > most_bytes:
                        end(TOO_MUCH, f"queries took more than {self._query_bytes} bytes")
                    if len(sessions) > MAX_SESSIONS:
                        end(TOO_MUCH, f"more than {MAX_SESSIONS} clients came, or were killed and are still held")
        except BaseException:
            end(BROKEN, traceback.format_exc())
