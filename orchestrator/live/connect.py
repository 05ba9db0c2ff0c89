"""`connect`: what a DuckDB client needs to ask a live run in SQL, printed. The token is the point of it."""

from __future__ import annotations

import shlex
import time

import typer

from orchestrator.errors import InfrastructureError, UserError
from orchestrator.inspection import print_json
from orchestrator.live.endpoint import Quack, read
from orchestrator.live.sql_server import EXTENSIONS, extension_paths
from orchestrator.run_folder import RunFolder, find_run

WAIT_S = 10.0  # for a server that starts
LOOK_S = 0.1
NAME = "live"  # of the attached database


def connect(run: str, as_json: bool) -> None:
    """Print how a DuckDB client attaches a live run's tables."""
    folder = find_run(run)
    pid, quack = _offered(folder)
    if as_json:
        paths = [str(path) for path in extension_paths()]
        facts = {"run": folder.name, "pid": pid, **quack.model_dump(), "attach": _attach(quack), "extensions": paths}
        print_json(facts)
        return
    for line in statements(quack):
        typer.echo(line)


def statements(quack: Quack) -> list[str]:
    """Statements that attach what is offered, and two that ask it."""
    names = [package.removeprefix("duckdb_extension_") for package in EXTENSIONS]
    return [
        *(f"INSTALL {name}; LOAD {name};" for name in names),
        _attach(quack),
        f"FROM {NAME}.leaderboard;",
        f"FROM quack_query_by_name('{NAME}', 'FROM ancestors(''s-0002'')'); -- a whole query there; the only way to macros",
    ]


def _attach(quack: Quack) -> str:
    return f"ATTACH '{quack.uri}' AS {NAME} (TOKEN '{quack.token}');"


def _offered(folder: RunFolder) -> tuple[int, Quack]:
    """The live process and what it offers, once it does.

    Raises:
        UserError: the run is not live.
        InfrastructureError: it offers nothing, also after a while.
    """
    deadline = time.monotonic() + WAIT_S
    while True:
        process = folder.process()
        path = shlex.quote(str(folder.path))
        if process is None:
            raise UserError(
                f"run {folder.name} is not live, so nobody serves its tables: ask with spnas-orch sql {path} SELECT..., or "
                f"open the file with duckdb -readonly {shlex.quote(str(folder.database))}"
            )
        endpoint = read(folder.endpoint, process)
        if endpoint is not None and endpoint.quack is not None:
            return process, endpoint.quack
        if time.monotonic() > deadline:
            raise InfrastructureError(
                f"run {folder.name} is live (process {process or 'just starting'}), but its SQL server did not start within "
                f"{WAIT_S:g} s (a simulation has one with --speed alone); {shlex.quote(str(folder.logs / 'sql.log'))} says "
                f"why; meanwhile ask with spnas-orch sql {path} SELECT..."
            )
        time.sleep(LOOK_S)
