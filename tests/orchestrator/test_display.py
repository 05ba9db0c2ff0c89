"""The lines around a terminal UI: how the run ended is told once it is closed, or that the search goes on."""

from __future__ import annotations

from io import StringIO

import pytest
from given import configuration, run_started
from histories import NOON
from rich.console import Console

from lineage.events import Event, Recorded, RunResumed, RunStopped
from orchestrator.display import LineDisplay


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([RunStopped(reason="the data are gone")], "simulated run t-1 stopped: the data are gone\n"),
        (
            [RunStopped(reason="the data are gone"), RunResumed()],
            "the search goes on; Ctrl-C stops it so that it can be ",
        ),
    ],
)
def test_what_the_terminal_ui_kept_back_is_told_when_it_closes(events: list[Event], told: str):
    out = StringIO()
    lines = LineDisplay(Console(file=out, width=200))
    lines.muted = True
    for seq, event in enumerate([run_started(configuration()), *events], 1):
        lines.show(Recorded(seq=seq, event_id=f"e-{seq:08d}", ts=NOON, event=event))
    assert out.getvalue() == ""
    lines.unmute()
    assert out.getvalue().startswith(told)
    assert out.getvalue().count("\n") == 1
