"""How a command ends: in order when a signal ends it, quietly when nobody reads on, and with one message for each error.

A search hears signals itself (`orchestrator.drive`).
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import typer

from orchestrator.errors import OrchestratorError, UserError

T = TypeVar("T")

INTERRUPTED = 130
SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """The first SIGTERM or SIGHUP ends what is done, in order; the second ends the process at once."""

    def __init__(self) -> None:
        self.code = 0

    def hear(self) -> None:
        """From now on; what is ignored stays ignored (nohup)."""
        for number in SIGNALS:
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, self._end)

    def _end(self, number: int, _: object) -> NoReturn:
        for one in SIGNALS:
            if signal.getsignal(one) == self._end:
                signal.signal(one, signal.SIG_DFL)
        self.code = 128 + number
        raise SystemExit(self.code)


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, for what may wait for a network.

    A signal cancels it, so that it tidies up, and then ends this process, whatever hangs in a thread; a second one ends it
    at once. An exception out of a signal's handler would do for neither: Python drops it where it comes in a finalizer.
    """
    import asyncio

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *SIGNALS)}
    with _restored(before), asyncio.Runner() as runner:
        loop, heard = runner.get_loop(), 0

        async def heeding() -> T:
            task = asyncio.current_task()
            assert task is not None

            def end(number: int) -> None:
                nonlocal heard
                if heard:
                    _end_at_once(heard)
                heard = number
                loop.set_exception_handler(lambda *_: None)  # connections that are given up
                task.cancel()

            for number, handler in before.items():
                if handler is not signal.SIG_IGN:  # as under nohup
                    loop.add_signal_handler(number, end, number)
            return await main

        try:
            return runner.run(heeding())
        finally:
            if heard:
                _end_at_once(heard)


def _end_at_once(number: int) -> NoReturn:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(128 + number)


@contextmanager
def left_to_the_search() -> Iterator[None]:
    """Inside, SIGHUP ends the process at once, and SIGTERM does until a loop hears it; afterwards all is as it was."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with _restored(before):
        for number, heard in before.items():
            if heard is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        yield


@contextmanager
def _restored(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    """Afterwards, these hear signals again."""
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def open_streams() -> None:
    """Let a standard stream that is closed lead nowhere, so that no file of ours gets its number; the others are UTF-8,
    whatever the locale says: terminals and files are.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open(mode))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors=stream.errors)  # a new encoding alone makes errors strict


def is_terminal() -> bool:
    """Whether a view can be seen, on output and errors, and typed to."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))


def nobody_reads() -> int:
    """Whoever read along has gone, and has what it wanted. The exit code."""
    _drop_output()
    return 0


def _drop_output() -> None:
    """What is still unwritten has no place to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def code_of(error: Exception) -> int:
    """The exit code of an error, once it is printed in one message; our own bugs keep their traceback."""
    from lineage.architecture import LineageError
    from lineage.room import is_no_room

    shown = getattr(error, "show", None)
    if shown is not None and hasattr(error, "exit_code"):  # a usage error of the command line
        shown()
        return int(error.exit_code)
    if isinstance(error, BrokenPipeError):
        return nobody_reads()
    if isinstance(error, UserError | LineageError):
        typer.echo(f"error: {error}", err=True)
        return 1 if is_no_room(error) else 2
    if isinstance(error, OSError) and is_no_room(error):
        _drop_output()
        typer.echo(f"error: {error.filename or 'the output'} could not be written: {error.strerror}", err=True)
        return 1
    if isinstance(error, OrchestratorError):
        typer.echo(f"error: {error}", err=True)
        return 1
    raise error
