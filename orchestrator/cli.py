"""The command line. Every command imports what it needs when it runs, so `--help` answers at once.

Exit codes: 0 done, 2 the user's mistake (one message, no traceback), 1 ours or the machine's (a full disk), 130 interrupted,
128 + n ended by signal n.
"""

from __future__ import annotations

import gc
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

from orchestrator.turns import Turns, go_on_in_own_session, step_back

if sys.argv[1:2] == ["sql"]:  # before what takes long to load: ten who ask at once would be felt
    step_back()

import typer

from orchestrator import cli_live, ending
from orchestrator.errors import UserError

app = typer.Typer(
    name="spnas-orch",
    help="SP-NAS: search a detection backbone on your own data, record every step, resume after anything.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

OBJECTS = 100_000  # new ones, before rubbish is looked for: most of those that imports make stay

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or the name of one in ./runs.")]
Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="The search configuration, for example sp_nas.yml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key, e.g. general.seed=3; repeatable."),
]
At = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="SEQ|TIME",
        help="As it was after event SEQ, or after the last one by TIME: 2024-05-01T12:00, 2024-05-01, '10m ago'.",
    ),
]
Speed = Annotated[
    float | None, typer.Option(min=0.001, help="Of a simulated run: times real time; otherwise as fast as it goes.")
]
NoTui = Annotated[bool, typer.Option("--no-tui", help="Print lines instead of opening the terminal UI.")]


class Format(StrEnum):
    """How `sql` prints rows."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write the files.")] = Path(),
    example: Annotated[str, typer.Option(help="Which example to write.")] = "digits",
) -> None:
    """Write an example's search configuration and detector template into a folder."""
    from orchestrator.examples import write_example

    for path in write_example(example, directory):
        typer.echo(f"wrote {path}")
    typer.echo(
        f"next: cd {shlex.quote(str(directory))} && spnas-orch start sp_nas.yml"
        if directory != Path()
        else "next: spnas-orch start sp_nas.yml"
    )


@app.command()
def start(
    config: Config,
    run_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="The run folder to make.")] = None,
    overrides: Overrides = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Simulate the training: for planning, without torch.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="With --simulate: times real time; otherwise as fast as it goes.")
    ] = None,
    no_tui: NoTui = False,
) -> None:
    """Run a whole search."""
    from orchestrator import commands

    if speed is not None and not simulate:
        raise UserError("--speed goes with --simulate: a real training takes the time it takes")
    raise typer.Exit(commands.start(config, run_dir, overrides or [], simulate, speed, tui=not no_tui))


@app.command()
def resume(
    run: Run,
    speed: Speed = None,
    no_tui: NoTui = False,
) -> None:
    """Go on with a run that was interrupted or killed."""
    from orchestrator import commands

    raise typer.Exit(commands.resume(run, speed, tui=not no_tui))


@app.command()
def fork(
    run: Run,
    at: Annotated[str, typer.Option("--at", metavar="SEQ|TIME", help="The last event, or when: as status --at.")],
    overrides: Overrides = None,
    run_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="The run folder to make.")] = None,
    speed: Speed = None,
    no_tui: NoTui = False,
) -> None:
    """Start a new run from where another one was then, with its weights; the other is not touched."""
    from orchestrator import commands

    raise typer.Exit(commands.fork(run, at, overrides or [], run_dir, speed, tui=not no_tui))


@app.command()
def audit(
    run: Run,
    candidates: Annotated[int, typer.Option(min=2, metavar="N", help="How many, spread over the ranking.")] = 5,
    step: Annotated[str | None, typer.Option(metavar="NAME", help="Of which search step (default: the first).")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Train for so many epochs instead of the search's.")] = None,
    run_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="The run folder to make.")] = None,
    as_json: AsJson = False,
    no_tui: NoTui = False,
) -> None:
    """Train candidates again from scratch and with the backbone alone inherited, and compare with the search's order."""
    from orchestrator import commands

    raise typer.Exit(commands.audit(run, candidates, step, epochs, run_dir, as_json, tui=not no_tui))


@app.command()
def check(config: Config, overrides: Overrides = None) -> None:
    """Check a configuration and its template without starting anything."""
    from orchestrator import commands

    commands.check(config, overrides or [])


@app.command()
def plan(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Say what a search would do, cost and take, without starting it; its data set is made if it is a built-in one."""
    from orchestrator import plan_display

    plan_display.plan(config, overrides or [], as_json)


@app.command()
def status(run: Run, at: At = None, as_json: AsJson = False) -> None:
    """Say where a run stands: live, finished or crashed."""
    from orchestrator import inspection

    inspection.status(run, as_json, at)


@app.command()
def sql(
    run: Run,
    statement: Annotated[
        str | None,
        typer.Argument(metavar="[SELECT]", help="One SELECT; without, a prompt, or what comes in by a pipe."),
    ] = None,
    at: At = None,
    form: Annotated[Format, typer.Option("--format", help="What the rows are written as.")] = Format.table,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to, if not to the terminal or pipe.")
    ] = None,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long a query may take.")] = 60,
    memory: Annotated[str, typer.Option(metavar="SIZE", help="How much memory a query may take.")] = "1GB",
) -> None:
    """Ask a run's tables questions in SQL."""
    turns = Turns(run)
    if turns.are_needed and (statement is not None or not sys.stdin.isatty()):  # a prompt needs its terminal
        go_on_in_own_session()
    if statement is not None:
        turns.take()
    from orchestrator import querying

    how = querying.Asking(form.value, querying.duration(timeout), querying.size(memory))
    querying.sql(run, statement, at, how, output, turns)


@app.command()
def connect(run: Run, as_json: AsJson = False) -> None:
    """Print what any DuckDB client needs to ask a live run's tables; it holds the token that lets it in."""
    from orchestrator.live.connect import connect as tell

    tell(run, as_json)


@app.command()
def lineage(
    run: Run,
    candidate: Annotated[str | None, typer.Argument(metavar="[CANDIDATE]", help="For example s-0007.")] = None,
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Show which network inherited from which: all of a run, or one candidate's path from the seed."""
    from orchestrator import inspection

    inspection.lineage(run, candidate, as_json, at)


@app.command()
def why(
    run: Run,
    subject: Annotated[str, typer.Argument(metavar="ID", help="A candidate (s-0007) or a reignition (r-0001).")],
    as_json: AsJson = False,
) -> None:
    """Say why a candidate or reignition came to be, how it fared, and what came from it."""
    from orchestrator.why import why as explain

    explain(run, subject, as_json)


@app.command()
def fsck(run: Run, as_json: AsJson = False) -> None:
    """Check a run's log, tables, edges and checkpoints against each other."""
    from orchestrator import fsck as checks

    raise typer.Exit(checks.fsck(run, as_json))


@app.command()
def rebuild(run: Run) -> None:
    """Make a run's tables anew from its log."""
    from orchestrator import fsck as checks

    checks.rebuild(run)


@app.command()
def watch(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, its name, or mqtt[s]://[user@]host/RUN.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print every event as a line of JSON, as it comes.")] = False,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="With --json: only events after this one.")] = 0,
    ca: cli_live.Ca = None,
    web: Annotated[bool, typer.Option("--web", help="Show it to a browser on this machine.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --web: where (default: a free one).")] = 0,
) -> None:
    """Open the terminal UI on a run, or follow its events."""
    if as_json:
        from orchestrator.live.following import print_events

        print_events(run, after, ca)
        return
    from orchestrator import watching

    if web:
        watching.serve(run, ca, port)
        return
    watching.watch(run, ca)


cli_live.add_to(app)


def main() -> NoReturn:
    """Entry point of `spnas-orch`."""
    gc.set_threshold(OBJECTS)
    ending.open_streams()
    signals = ending.Signals()
    signals.hear()
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except (typer.Abort, KeyboardInterrupt):
        code = ending.INTERRUPTED
    except SystemExit as error:
        if not isinstance(error.__context__, BrokenPipeError):  # of which typer makes this
            raise
        code = ending.nobody_reads()
    except Exception as error:
        code = signals.code or ending.code_of(error)
    sys.exit(code or 0)
