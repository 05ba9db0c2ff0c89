"""What people ask of a run: over the bus of a live one; of one that is stopped, in its log, where it finds it later."""

from __future__ import annotations

import getpass
import os
import shlex
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import typer
from pydantic import ValidationError

from lineage.events import Event, Recorded, ReignitionRequested, RequestRefused
from lineage.narration import narrate
from lineage.store import EventStore
from lineage.story import Story
from orchestrator import ending, safe_yaml
from orchestrator.broker_url import is_url
from orchestrator.config import shown
from orchestrator.config_faults import faults_of
from orchestrator.errors import UserError
from orchestrator.history import followed
from orchestrator.run_folder import RunFolder, find_run
from orchestrator.search.control import Cancel, Reignite, Request, Set, changed, typed, why_not_reignite
from orchestrator.search.state import SearchState


def ask(run: str, request: Request, as_json: bool, ca: Path | None = None) -> None:
    """Ask a run for something, and say what came of it; `ca` is the certificate of who signed a broker's.

    Raises:
        UserError: the run refuses it, with the reason, or is not live and can't take it up later.
        InfrastructureError: the run can't be reached.
    """
    from orchestrator.live import client, targets

    if is_url(run):
        target = targets.remote(run, ca)
        if target.key is None:
            raise UserError(f"to ask {run} for something, put the key in its endpoint.json into ${targets.KEY}")
    else:
        folder = find_run(run)
        if folder.owner() is None:
            _record(folder, run, request, as_json)
            return
        target = targets.live(folder, run)
    by = f"{user_name()}@{socket.gethostname()}"
    answer = ending.run(client.ask(target, request.model_dump(mode="json"), by))
    if "event" not in answer:
        raise UserError(f"run {target.run} does not {typed(request)}: {answer.get('error')}")
    _tell(Recorded.model_validate(answer["event"]), target.run, as_json)


def setting(text: str) -> Set:
    """The request of ``KEY=VALUE``, a YAML value. Raises UserError."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UserError(f"{shown(text)}: expected KEY=VALUE, for example serial.search_algorithm.max_sample=20")
    try:
        return Set(key=key, value=safe_yaml.load(value))
    except ValidationError as error:
        raise UserError(f"{shown(text)}: {'; '.join(faults_of(error))}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(text)}: {error}") from error


def cancellation(job: str) -> Cancel:
    """The request of a job's name. Raises UserError."""
    try:
        return Cancel(job=job)
    except ValidationError as error:
        raise UserError(f"cancel {shown(job)}: {'; '.join(faults_of(error))}") from error


def user_name() -> str:
    """Who asks: the user's name, or the number where the system has no (readable) name for it, as in many containers."""
    with suppress(KeyError, OSError):  # the latter since Python 3.13
        if (name := getpass.getuser()).isprintable():
            return name
    return f"uid {os.getuid()}"


def _tell(recorded: Recorded, run: str, as_json: bool) -> None:
    if isinstance(recorded.event, RequestRefused):
        raise UserError(f"run {run} does not {recorded.event.request}: {recorded.event.reason}")
    if as_json:
        sys.stdout.write(recorded.model_dump_json() + "\n")
    else:
        typer.echo(f"event {recorded.seq}: {narrate(Story(), recorded)}")


def _record(folder: RunFolder, run: str, request: Request, as_json: bool) -> None:
    """Put into the log what a run that does not go on now takes up when it does."""
    if not isinstance(request, Reignite | Set):
        raise UserError(f"run {run} is not live, so there is nothing to {typed(request)}: see spnas-orch status {run}")
    with folder.held(), EventStore.open(folder.database) as store:
        log = list(store.read())
        state = SearchState()
        for recorded in log:
            state = followed(state, recorded, folder.path)
        simulated = bool(store.query("SELECT simulated FROM run").rows[0][0])
        event = _answered(state, request)
        if isinstance(event, str):
            raise UserError(f"run {folder.name} does not {typed(request)}: {event}")
        now = log[-1].ts if simulated else datetime.now(UTC)  # a simulated run has its own clock
        (recorded,) = store.append([event], now)
    if as_json:
        _tell(recorded, run, as_json)
    else:
        typer.echo(f"recorded; it is taken up when the run goes on: spnas-orch resume {shlex.quote(run)}")


def _answered(state: SearchState, request: Reignite | Set) -> Event | str:
    by = user_name()
    if state.is_over:
        return "it is over"
    if isinstance(request, Set):
        return changed(state, request.key, request.value, by)
    return why_not_reignite(state) or ReignitionRequested(by=by)
