"""`watch --json`: a run's events as JSON lines, from this machine's run folder or from a broker."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from lineage.events import Recorded
from lineage.snapshot import stamp
from orchestrator import ending
from orchestrator.broker_url import is_url
from orchestrator.live.history import History
from orchestrator.run_folder import RunFolder, find_run

PAUSE_S = 0.25
PAGE, PAGE_BYTES = 1000, 2**22


def print_events(run: str, after: int, ca: Path | None) -> None:
    """Print every event after a sequence number, one JSON object a line, until the run ends.

    Raises:
        UserError: there is no such run.
        InfrastructureError: a broker can't be reached, or does not know the run.
    """
    if is_url(run):
        ending.run(_print_remote(run, after, ca))
        return
    for recorded in followed(find_run(run), after):
        _print(recorded)


async def _print_remote(url: str, after: int, ca: Path | None) -> None:
    from orchestrator.live import client, targets

    async for recorded in client.follow(targets.remote(url, ca), after):
        _print(recorded)


def followed(folder: RunFolder, after: int) -> Iterator[Recorded]:
    """Events after a sequence number, and new ones for as long as the run is live."""
    history, seen = History(folder.database), None
    try:
        while True:
            is_live, state = folder.process() is not None, stamp(folder.database)
            if state != seen:
                while page := history.after(after, PAGE, PAGE_BYTES):
                    yield from page
                    after = page[-1].seq
                seen = state
            elif not is_live:
                return
            else:
                time.sleep(PAUSE_S)
    finally:
        history.close()


def _print(recorded: Recorded) -> None:
    sys.stdout.write(recorded.model_dump_json() + "\n")
    sys.stdout.flush()
