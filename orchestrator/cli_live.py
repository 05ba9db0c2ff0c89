"""Commands that ask a live run for something, or let its events be heard again. See `orchestrator.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run folder, the name of one in ./runs, or mqtt[s]://[user@]host/RUN.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the event that answers as JSON.")]
Ca = Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate of who signed the broker's.")]


def add_to(app: typer.Typer) -> None:
    """Make these functions commands."""
    for name, command in (
        ("pause", pause),
        ("continue", go_on),
        ("stop", stop),
        ("reignite", reignite),
        ("cancel", cancel),
        ("set", change),
        ("replay", replay),
    ):
        app.command(name)(command)


def pause(run: Run, as_json: AsJson = False, ca: Ca = None) -> None:
    """Begin no training from now on; those that run go on to their end."""
    from orchestrator import requests
    from orchestrator.search.control import Pause

    requests.ask(run, Pause(), as_json, ca)


def go_on(run: Run, as_json: AsJson = False, ca: Ca = None) -> None:
    """Go on with a paused run."""
    from orchestrator import requests
    from orchestrator.search.control import Continue

    requests.ask(run, Continue(), as_json, ca)


def stop(run: Run, as_json: AsJson = False, ca: Ca = None) -> None:
    """Stop a run as Ctrl-C does: trainings finish their epoch, and it can be resumed."""
    from orchestrator import requests
    from orchestrator.search.control import Stop

    requests.ask(run, Stop(), as_json, ca)


def reignite(run: Run, as_json: AsJson = False, ca: Ca = None) -> None:
    """Ask for a reignition of the best network by hand, of a live run or before it goes on."""
    from orchestrator import requests
    from orchestrator.search.control import Reignite

    requests.ask(run, Reignite(), as_json, ca)


def cancel(
    run: Run,
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job (j-s-0007), or what it is done for (s-0007).")],
    as_json: AsJson = False,
    ca: Ca = None,
) -> None:
    """End a training for good; what it was done for is given up."""
    from orchestrator import requests

    requests.ask(run, requests.cancellation(job), as_json, ca)


def change(
    run: Run,
    setting: Annotated[str, typer.Argument(metavar="KEY=VALUE", help="For example general.keep_checkpoints=20.")],
    as_json: AsJson = False,
    ca: Ca = None,
) -> None:
    """Change a setting of a run, live or before it goes on."""
    from orchestrator import requests

    requests.ask(run, requests.setting(setting), as_json, ca)


def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, or the name of one in ./runs.")],
    speed: Annotated[
        float | None, typer.Option(min=0.001, help="Times as fast as the events came (default: as fast as it goes).")
    ] = None,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ", help="Only events after this one.")] = 0,
) -> None:
    """Publish the events of a run that is over once more, on its broker or one of its own."""
    from orchestrator.live.replay import replay as publish_again

    publish_again(run, speed, after)
