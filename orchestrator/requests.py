"""What people ask of a run by hand: a reignition. A live run hears of it by a signal, another one finds it in its log."""

from __future__ import annotations

import getpass
import os
import shlex
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime

import typer

from lineage.events import ReignitionRequested
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from orchestrator.errors import InfrastructureError, UserError
from orchestrator.history import followed
from orchestrator.run_folder import RunFolder, find_run
from orchestrator.search.control import why_not_reignite
from orchestrator.search.state import SearchState

REIGNITE_SIGNAL = signal.SIGUSR1  # only the run's own user, or root, can send it
ANSWER_TIMEOUT_S = 10.0
PAUSE_S = 0.1


def reignite(run: str) -> None:
    """Ask a run to reignite its best network, and say when it will.

    Raises:
        UserError: nothing grows in this run, or it has no classification data.
    """
    folder = find_run(run)
    state, requests = _look(folder)
    if objection := why_not_reignite(state):
        raise UserError(f"run {folder.name} can't reignite: {objection}")
    owner = folder.owner()
    if not owner:
        with open_snapshot(folder.database) as snapshot:
            ((simulated,),) = snapshot.query("SELECT simulated FROM run").rows
        with folder.held(), EventStore.open(folder.database) as store:
            now = list(store.read())[-1].ts if simulated else datetime.now(UTC)  # a simulated run has its own clock
            store.append([ReignitionRequested(by=user_name())], now)
        typer.echo(f"recorded; it comes first when the run goes on: spnas-orch resume {shlex.quote(run)}")
        return
    os.kill(owner, REIGNITE_SIGNAL)
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while _look(folder)[1] == requests:
        if time.monotonic() > deadline:
            raise InfrastructureError(f"process {owner} did not record the request within {ANSWER_TIMEOUT_S:.0f} s")
        time.sleep(PAUSE_S)
    typer.echo("requested: the best network is reignited as soon as the trainings before it have ended")


def user_name() -> str:
    """Who asks: the user's name, or the number where the system has no (readable) name for it, as in many containers."""
    with suppress(KeyError, OSError):  # the latter since Python 3.13
        if (name := getpass.getuser()).isprintable():
            return name
    return f"uid {os.getuid()}"


def _look(folder: RunFolder) -> tuple[SearchState, int]:
    """State of a run, and how many requests it has recorded."""
    state, requests = SearchState(), 0
    with open_snapshot(folder.database) as store:
        for recorded in store.read():
            state = followed(state, recorded, folder.path)
            requests += isinstance(recorded.event, ReignitionRequested)
    return state, requests
