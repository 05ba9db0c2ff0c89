"""An answer goes to standard output, or becomes a file: whole or not at all, and never one of a run's own."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from lineage.wal import wal_of
from orchestrator.errors import UserError
from orchestrator.run_folder import RunFolder


def show(answer: Path) -> None:
    """Print an answer as it is, which may be binary."""
    sys.stdout.flush()
    with answer.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def must_not_replace(output: Path, folder: RunFolder) -> None:
    """Raise UserError if `output` is a file of the run that is asked."""
    with suppress(OSError, ValueError, RuntimeError):  # what it is then, is told as it is written
        run, file = folder.path.resolve(), output.resolve()
        if file.is_relative_to(run) and (file.is_file() or file.name == wal_of(folder.database).name):
            raise UserError(
                f"{shlex.quote(str(output))} belongs to run {folder.name}: name another file for the answer"
            )


def write(answer: Path, output: Path) -> None:
    """Make the answer the file `output`, in place of an older one once it is whole. Raises UserError."""
    try:
        if output.exists() and not output.is_file():  # a device, or a pipe with a name
            with output.open("wb") as device, answer.open("rb") as file:
                shutil.copyfileobj(file, device)
        else:
            _replace(answer, output.resolve())  # what a link leads to, not the link
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"the answer can't be written to {shlex.quote(str(output))}: {reason}") from error


def _replace(answer: Path, output: Path) -> None:
    beside = output.with_name(f".spnas-{secrets.token_hex(8)}")
    try:
        with beside.open("xb") as new, answer.open("rb") as file:
            shutil.copyfileobj(file, new)
            new.flush()
            os.fsync(new.fileno())
        beside.replace(output)
    finally:
        beside.unlink(missing_ok=True)
