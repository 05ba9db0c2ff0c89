"""What a live run offers beside its search: SQL on its tables. None of it can delay the search, or end it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial

from pydantic import ValidationError

from lineage.events import Recorded
from orchestrator.live import endpoint
from orchestrator.live.child import Child, Said
from orchestrator.live.endpoint import Endpoint, Quack
from orchestrator.live.sql_setup import Address, Setup
from orchestrator.run_folder import RunFolder

SQL = "orchestrator.live.sql_server"
PATIENCE_S = 1.0  # with a server that is to end
KEPT = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "TMPDIR", "TZ")  # variables that a child sees

_log = logging.getLogger(__name__)


class Service:
    """Offers of one run; start it in the event loop of the search, and tell it every event."""

    def __init__(self, folder: RunFolder, query_s: float, memory_bytes: int) -> None:
        self._folder = folder
        self._endpoint = Endpoint(pid=os.getpid())
        self._address: Address | None = None
        self._sql = Child(
            SQL,
            partial(self._sql_setup, query_s, memory_bytes),
            self._hear_sql,
            _environment(),
            folder.logs / "sql.log",
        )

    def start(self) -> None:
        self._sql.start()

    def publish(self, recorded: Recorded) -> None:
        """Hand on an event that is durable. Never waits."""
        self._sql.send(recorded.model_dump_json().encode())

    async def close(self) -> None:
        await self._sql.close(PATIENCE_S)
        self._folder.endpoint.unlink(missing_ok=True)

    def _sql_setup(self, query_s: float, memory_bytes: int) -> str:
        """A server that takes another's place serves where that one did, so that its clients find it."""
        setup = Setup(database=self._folder.database, query_s=query_s, memory_bytes=memory_bytes, wanted=self._address)
        return setup.model_dump_json()

    def _hear_sql(self, said: Said) -> None:
        if not said:
            self._offer(quack=None)
            return
        with suppress(ValidationError):
            self._address = Address.model_validate(said)
            self._offer(quack=Quack(uri=self._address.uri, token=self._address.token))

    def _offer(self, **parts: object) -> None:
        self._endpoint = self._endpoint.model_copy(update=parts)
        try:
            endpoint.write(self._folder.endpoint, self._endpoint)
        except OSError as error:
            _log.warning("%s can't be written: %s", self._folder.endpoint, error.strerror)


def _environment() -> Mapping[str, str]:
    return {name: os.environ[name] for name in KEPT if name in os.environ}
