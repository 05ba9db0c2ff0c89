"""What `start` and `resume` print: one line per event that matters, a progress bar on a terminal, a summary at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lineage.events import (
    CandidateProposed,
    PhaseFinished,
    PhaseStarted,
    Recorded,
    RunFinished,
    RunStarted,
    RunStopped,
)
from lineage.narration import Narrator
from orchestrator.printing import table as table

UNBOUNDED_WIDTH = 2000


class LineDisplay:
    """Prints a run's story; `show` an event as it happens, `replay` one of before a resumption (nothing is printed)."""

    def __init__(self, console: Console) -> None:
        self.muted = False
        self._console = console
        self._narrator = Narrator()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._proposed: set[str] = set()
        self._config: dict[str, Any] = {}
        self._ending: str | None = None  # the line that ended the run

    def replay(self, recorded: Recorded) -> None:
        """Take an event into account without printing it."""
        self._narrator.line(recorded)
        self._advance(recorded)

    def show(self, recorded: Recorded) -> None:
        """Print the line of an event, if it has one."""
        line = self._narrator.line(recorded)
        if line is not None and not self.muted:
            self._print(line)
        self._ending = line if isinstance(recorded.event, RunFinished | RunStopped) else None
        self._advance(recorded)

    def unmute(self) -> None:
        """Go on with lines after a terminal UI was closed."""
        self.muted = False
        self._print(self._ending or "the search goes on; Ctrl-C stops it so that it can be resumed")

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Take the progress bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _advance(self, recorded: Recorded) -> None:
        event = recorded.event
        if isinstance(event, RunStarted):
            self._config = event.config
        if isinstance(event, CandidateProposed) and not self._narrator.story.is_control(event):
            self._proposed.add(event.candidate_id)
        if not self._console.is_terminal or self.muted:
            return
        if isinstance(event, PhaseStarted):
            algorithm = self._config[event.step].get("search_algorithm") or {}
            self._proposed = set()
            self._begin(event.step, algorithm.get("max_sample", 1))
        elif isinstance(event, PhaseFinished):
            self.close()
        elif self._progress is not None and self._task is not None:
            awaited = self._narrator.story.candidates
            self._progress.update(self._task, completed=sum(one not in awaited for one in self._proposed))

    def _begin(self, title: str, total: int) -> None:
        self.close()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task = self._progress.add_task(title, total=total)
        self._progress.start()


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read along has gone; that is no reason to stop a search."""
        self.quiet = True
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def stdout_console() -> Console:
    """A console that fits its tables to the terminal; in a file or pipe they are as wide as they need to be."""
    return _Output(highlight=False, markup=False, width=None if sys.stdout.isatty() else UNBOUNDED_WIDTH)
