"""A store's log and tables once more, in memory: whoever asks this copy takes nothing from whoever writes the store.

It begins with what a store holds, and is then fed each event that follows, in order. This module must not know where they
come from.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import duckdb

from lineage import schema
from lineage.database import transaction, translated
from lineage.events import Recorded
from lineage.log_rows import log_row
from lineage.rows import KEYS
from lineage.tables import Tables, column_types, insert

_BATCH = 1000


class Replica:
    """The tables as of event `last_seq`; `connection` is open to everything until somebody closes it to more."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(":memory:", config={"threads": 1, "temp_directory": ""})
        self.last_seq = 0
        with transaction(self.connection):
            schema.migrate(self.connection, new=True)
        self._tables = Tables(self.connection)
        self._log_types = column_types(self.connection)["events"] | {"payload": "VARCHAR"}

    def take(self, database: Path) -> None:
        """Begin with what a store holds that nobody has open for writing; a tenth of the time that its events would take.

        Raises:
            StoreError: it can't be read.
        """
        path = str(database).replace("'", "''")
        with translated(f"{database} can't be copied into memory"):
            self.connection.execute(f"ATTACH '{path}' AS taken (READ_ONLY)")
            with transaction(self.connection):
                for table in ("events", *KEYS):
                    self.connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM taken.{table}")
            self.connection.execute("DETACH taken")
            (self.last_seq,) = self.connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone() or (0,)
            self._tables.load()

    def apply(self, events: Iterable[Recorded]) -> None:
        """Add events in order; those that it has already are left out.

        Raises:
            StoreError: an event does not follow from those before it, or there is no memory for it; then it may be applied
                once there is.
        """
        new = (one for one in events if one.seq > self.last_seq)
        while some := list(islice(new, _BATCH)):
            with translated(f"events {some[0].seq} to {some[-1].seq} can't be added to a copy in memory"):
                with transaction(self.connection):
                    insert(self.connection, "events", self._log_types, [log_row(one) for one in some])
                    changes = self._tables.write(some)
                self._tables.keep(changes)
                self.last_seq = some[-1].seq
