"""What a live run offers beside its search: SQL on its tables, its events on a bus, and an ear for requests there.

None of it can delay the search, or end it: each is a process of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import secrets
import shlex
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lineage.events import Recorded, RunStarted
from lineage.store import EventStore
from orchestrator.config import RunConfig
from orchestrator.errors import ConfigError
from orchestrator.general import Bus, General
from orchestrator.live import bus_setup, endpoint
from orchestrator.live.child import Child, Said
from orchestrator.live.endpoint import Endpoint, Mqtt, Quack
from orchestrator.live.sql_setup import Address, Setup
from orchestrator.run_folder import RunFolder
from orchestrator.search.control import REQUEST, Request
from orchestrator.user_files import text_of

SQL, BUS = "orchestrator.live.sql_server", "orchestrator.live.bus_server"
KEPT = ("HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "TMPDIR", "TZ")
SEEN = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")  # by whoever measures devices
MAX_FILE_BYTES = 2**20
PATIENCE_S = 1.0  # with an SQL server that is to end
LAST_S = 6.0  # that the bus has to take the last events

Ask = Callable[[Request, str], "asyncio.Future[Recorded]"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker of the user's, as far as it is no part of the configuration."""

    password: str | None = None
    ca: Path | None = None


def broker_of(bus: Bus, workdir: Path) -> Broker:
    """What the configuration refers to. Raises ConfigError if a variable or file is not there."""
    password = None
    if bus.password_env is not None:
        password = os.environ.get(bus.password_env)
        if password is None:
            raise ConfigError(f"general.bus.password_env: there is no environment variable {bus.password_env}")
    if bus.password_file is not None:
        password = _text(workdir / bus.password_file, "password_file").strip("\r\n")
    if bus.ca is not None:
        _text(workdir / bus.ca, "ca")
        _check_certificate(workdir / bus.ca)
    return Broker(password, None if bus.ca is None else workdir / bus.ca)


def _check_certificate(path: Path) -> None:
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ConfigError(
            f"general.bus.ca: {path} holds no certificate that can be used ({error}): it has to be PEM, of who signed the "
            "broker's"
        ) from error


def bus_of(store: EventStore) -> tuple[Bus, Broker]:
    """The bus that a run was started with. Raises as `broker_of`."""
    started = next(store.read(kinds=["RunStarted"])).event
    assert isinstance(started, RunStarted)
    bus = RunConfig.model_validate(started.config).general.bus
    return bus, broker_of(bus, Path(started.workdir))


def _text(path: Path, key: str) -> str:
    try:
        return text_of(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"general.bus.{key}: can't read {path}: {reason}") from error


def client_id(folder: RunFolder) -> str:
    """The same for each connection of a run, so that a broker gives an earlier one up; no longer than any broker takes."""
    place = socket.gethostname().encode() + b":" + os.fsencode(folder.database.resolve())
    return f"spnas-{hashlib.sha256(place).hexdigest()[:17]}"


class Service:
    """Offers of one run; start it in the event loop of the search, and tell it every event after `last_seq`."""

    def __init__(self, folder: RunFolder, general: General, broker: Broker, ask: Ask, last_seq: int) -> None:
        self._folder, self._general, self._broker, self._ask = folder, general, broker, ask
        self._last_seq = last_seq
        self._key = secrets.token_hex(16)
        self._address: Address | None = None
        self._endpoint = Endpoint(pid=os.getpid(), key=self._key)
        environment = {name: os.environ[name] for name in (*KEPT, *SEEN) if name in os.environ}
        child = partial(Child, environment=environment)
        self._sql = child(SQL, self._sql_setup, self._hear_sql, log=folder.logs / "sql.log")
        self._bus = child(BUS, self._bus_setup, self._hear_bus, log=folder.logs / "bus.log")

    def start(self) -> None:
        self._sql.start()
        self._bus.start()

    def publish(self, recorded: Recorded) -> None:
        """Hand on an event that is durable. Never waits."""
        self._last_seq = recorded.seq
        line = recorded.model_dump_json().encode()
        self._sql.send(line)
        self._bus.send(line)

    async def close(self) -> None:
        await asyncio.gather(self._sql.close(PATIENCE_S), self._bus.close(LAST_S))
        self._folder.endpoint.unlink(missing_ok=True)

    def _sql_setup(self) -> str:
        """A server that takes another's place serves where that one did, so that its clients find it."""
        sql, database = self._general.sql, self._folder.database
        return Setup(
            database=database, query_s=sql.query_s, memory_bytes=sql.query_memory, wanted=self._address
        ).model_dump_json()

    def _bus_setup(self) -> str:
        bus = self._general.bus
        return bus_setup.Setup(
            database=self._folder.database,
            published=self._folder.published,
            run=self._folder.name,
            key=self._key,
            client_id=client_id(self._folder),
            after=self._last_seq,
            prefix=bus.prefix,
            url=bus.url,
            password=self._broker.password,
            ca=self._broker.ca,
        ).model_dump_json()

    def _hear_sql(self, said: Said) -> None:
        if not said:
            self._offer(quack=None)
            return
        with suppress(ValidationError):
            self._address = Address.model_validate(said)
            self._offer(quack=Quack(uri=self._address.uri, token=self._address.token))

    def _hear_bus(self, said: Said) -> None:
        if "request" in said:
            self._request(said)
        elif "missing" in said:
            _log.warning(
                "the broker has not heard the end (it has the events up to %s): spnas-orch resume %s publishes the rest",
                said["missing"],
                shlex.quote(str(self._folder.path)),
            )
        elif "trouble" in said:
            _log.warning("%s; events are published once it answers, and the search goes on", said["trouble"])
        else:
            self._offer(mqtt=Mqtt.model_validate(said["mqtt"]) if "mqtt" in said else None)

    def _request(self, said: Said) -> None:
        """Let the search answer what somebody asks who has the key."""
        by = str(said["by"])
        try:
            request = REQUEST.validate_python(said["request"])
        except ValidationError as error:
            faults = "; ".join(fault["msg"] for fault in error.errors(include_url=False))
            self._answer(said, {"error": f"this is no request: {faults}"})
            return
        answer = self._ask(request, by if by.isprintable() else ascii(by))
        answer.add_done_callback(partial(self._answered, said))

    def _answered(self, said: Said, answer: asyncio.Future[Recorded]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            self._answer(said, {"error": "the run was over before it could answer"})
        else:
            self._answer(said, {"event": answer.result().model_dump(mode="json")})

    def _answer(self, said: Said, answer: dict[str, Any]) -> None:
        message = {"id": said["id"], "client": said["client"], "answer": answer}
        self._bus.send(json.dumps(message).encode())

    def _offer(self, **parts: object) -> None:
        self._endpoint = self._endpoint.model_copy(update=parts)
        try:
            endpoint.write(self._folder.endpoint, self._endpoint)
        except OSError as error:
            _log.warning("%s can't be written: %s", self._folder.endpoint, error.strerror)
