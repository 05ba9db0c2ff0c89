"""`watch`: the terminal UI on a run, here or on its broker, in this terminal or in a browser."""

from __future__ import annotations

import gc
import os
import shlex
import signal
import sys
import termios
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.scratch import scratch_folder
from orchestrator.broker_url import is_url
from orchestrator.ending import is_terminal
from orchestrator.errors import UserError
from tui.source import Source

if TYPE_CHECKING:
    from tui.app import SpnasApp

WEB = "TEXTUAL_DRIVER"  # set by what serves a view to a browser
BESIDE = "SPNAS_BESIDE"  # set by a search for the view on its terminal
LOOK_S = 0.2
RUBBISH = (5_000, 20, 20)  # new objects, and rounds, before more is looked through: no picture waits long for it
OUTPUT = 1  # by its number: Textual puts something else in the place of sys.stdout
PLAIN = (
    b"\x1b[?1049l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[?25h\x1b[?7h\x1b[0m\r"
)
"""Gives a terminal back: main screen, no mouse, no pasting marks, cursor, long lines wrapped."""
COMMAND = (sys.executable, "-P", "-c", "from orchestrator.cli import main; main()", "watch")


def watch(run: str, ca: Path | None) -> None:
    """Show a run until the user quits.

    Raises:
        UserError: there is no such run, or nothing is known of it; this is no terminal.
    """
    source = _source(run, ca)
    if WEB not in os.environ and not is_terminal():
        raise UserError(
            "watch needs a terminal for input, output and errors, which it draws on; for a script, use spnas-orch status "
            "RUN --json"
        )
    if WEB in os.environ or BESIDE in os.environ:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # to leave the terminal in order, whoever has it then
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    app = app_of(source)
    signal.signal(signal.SIGHUP, lambda *_: os._exit(128 + signal.SIGHUP))  # nobody is left to draw for
    gc.set_threshold(*RUBBISH)
    app.run()
    if app.failure is not None:
        raise UserError(str(app.failure))
    if app.return_code:
        raise SystemExit(app.return_code)  # Textual has told what is wrong with it


def give_back(settings: list[Any]) -> None:
    """Leave a terminal as it was before a view, with these settings of `termios.tcgetattr`."""
    with suppress(OSError, termios.error):
        termios.tcsetattr(OUTPUT, termios.TCSADRAIN, settings)
        os.write(OUTPUT, PLAIN)


def _end_with(parent: int) -> None:
    """End once whoever serves this view, or drives the search beside it, is gone, however it went."""
    settings = termios.tcgetattr(OUTPUT) if BESIDE in os.environ else None
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    if settings is not None:
        give_back(settings)
    os._exit(1)


def app_of(source: Source) -> SpnasApp:
    """The UI of a run."""
    from tui.app import SpnasApp

    return SpnasApp(source)


def serve(run: str, ca: Path | None, port: int) -> None:
    """Show a run to browsers on this machine, until Ctrl-C.

    Raises:
        UserError: there is no such run, or the port is taken.
    """
    from tui.web import server

    _source(run, ca)
    command = (*COMMAND, *(() if ca is None else ("--ca", str(ca))), "--", run)
    with scratch_folder() as folder:
        try:
            server.serve(f"exec {shlex.join(command)}", f"spnas-orch {run}", port, partial(_tell, folder / "address"))
        except OSError as error:
            raise UserError(f"port {port} can't be had: {error.strerror}; name another with --port") from error


def _tell(file: Path, address: str) -> None:
    """Print the address, which has a secret, to a terminal; to a log, where it stands."""
    file.touch(mode=0o600)
    file.write_text(f"{address}\n")
    told = f"open {address}" if sys.stdout.isatty() else f"open the address in {file}"
    sys.stdout.write(f"{told}\nCtrl-C ends this; the run goes on\n")
    sys.stdout.flush()


def _source(run: str, ca: Path | None) -> Source:
    if is_url(run):
        from orchestrator.live import targets
        from orchestrator.viewing_remote import RemoteRun

        return RemoteRun(targets.remote(run, ca), run)
    from orchestrator.run_folder import find_run
    from orchestrator.viewing import LocalRun

    return LocalRun(find_run(run), run)
