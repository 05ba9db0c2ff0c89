"""The run folder: where everything of a run lies, and the lock that names the process which writes there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RunError

RUNS = Path("runs")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def database(self) -> Path:
        return self.path / "lineage.duckdb"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def config(self) -> Path:
        return self.path / "config.yml"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"

    def owner(self) -> int | None:
        """Process id of the live orchestrator of this run, or None."""
        try:
            with self.lock.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = file.read().strip()
                    return int(text) if text.isdigit() else 0
        except OSError:
            return None
        return None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; the system lets go of it when the process ends, however it ends. Raises RunError if it is held."""
        try:
            file = self.lock.open("a+")
        except OSError as error:
            raise RunError(f"can't write into {self.path}: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(
                    f"run {self.name} is live: process {self.owner()} works on it; look at it with "
                    f"spnas-orch status {self.path}, or end that process first"
                ) from None
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
            file.truncate(0)


def new_run(path: Path | None, stem: str) -> RunFolder:
    """A folder that does not exist yet: `path`, or the first free ``runs/<stem>-<number>``. Nothing is made.

    Raises:
        RunError: `path` exists, or its parent can't be written.
    """
    if path is None:
        number = 1
        while (RUNS / f"{stem}-{number}").exists():
            number += 1
        path = RUNS / f"{stem}-{number}"
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunError(
            f"{path} exists already: resume it with spnas-orch resume {path}, or name another folder with --run-dir"
        )
    existing = next(parent for parent in [path, *path.absolute().parents] if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise RunError(f"can't make {path}: {existing} is not a folder this user can write to")
    return RunFolder(path.absolute())


def find_run(run: str) -> RunFolder:
    """The run folder at path `run`, or of that name under ``runs/``.

    Raises:
        RunError: there is none; the message names those there are.
    """
    for path in (Path(run), RUNS / run):
        if (path / "lineage.duckdb").is_file():
            return RunFolder(path.absolute())
    known = sorted(path.parent.name for path in RUNS.glob("*/lineage.duckdb"))
    hint = f"runs here: {', '.join(known)}" if known else "there are no runs in ./runs"
    raise RunError(f"no run {run!r}: expected a run folder (with lineage.duckdb) or its name; {hint}")
