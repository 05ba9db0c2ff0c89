"""The run folder: where everything of a run lies, and the lock that names the process which writes there."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lineage.database import OPTIONS
from lineage.errors import StoreEmpty, StoreError, StoreIncomplete, StoreNotFound
from lineage.snapshot import open_snapshot
from lineage.wal import wal_of
from orchestrator.errors import RunError
from orchestrator.user_files import is_file, is_text
from trainers.protocol import SHA256

RUNS = Path("runs")
LOCK_ATTEMPTS = 10
LOCK_PAUSE_S = 0.05


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
    def endpoint(self) -> Path:
        """Where the live run can be asked and heard."""
        return self.path / "endpoint.json"

    @property
    def published(self) -> Path:
        """How far the user's broker has the events."""
        return self.path / "published.json"

    @property
    def replay(self) -> Path:
        """Where a replay can be heard."""
        return self.path / "replay.json"

    @property
    def replay_lock(self) -> Path:
        return self.path / "replay.lock"

    @property
    def lock(self) -> Path:
        return self.path / "run.lock"

    def owner(self) -> int | None:
        """Process id of the live orchestrator of this run (0: not known yet), or None."""
        try:
            with self.lock.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    text = file.read(20).strip()
                    return int(text) if text.isdigit() else 0
        except OSError:
            return None
        return None

    def process(self) -> int | None:
        """As `owner`, where the lock file was removed too: then the process that has the database open for writing."""
        owner = self.owner()
        if owner is not None or sys.platform != "linux":
            return owner
        layout = "hhqqi4x"  # struct flock: kind, whence, start, length, process
        asked = struct.pack(layout, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        with suppress(OSError), self.database.open("rb") as file:
            kind, *_, process = struct.unpack(layout, fcntl.fcntl(file, fcntl.F_GETLK, asked))
            return None if kind == fcntl.F_UNLCK else int(process)
        return None

    def was_killed(self) -> bool:
        """Whether the last process that worked on this run was killed, or else left events in the write-ahead log."""
        try:
            return self.lock.stat().st_size > 0 and self.owner() is None
        except OSError:
            return False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; the system lets go of it when the process ends, however it ends.

        The lock's text goes once the store is closed in order, also after an error. It stays where the write-ahead log
        does (no room on the disk), and where that was missing before and nobody has gone on without it.

        Raises:
            RunError: another process holds it, or the folder can't be written.
        """
        try:
            file = self.lock.open("a+")
        except OSError as error:
            raise RunError(f"can't write into {self.path}: {error.strerror}") from error
        with file:
            if not _locked(file):
                raise RunError(
                    f"run {self.name} is live: process {self.owner() or '(just starting)'} works on it; look at it with "
                    f"spnas-orch status {self.path}, or end that process first"
                )
            log = wal_of(self.database)
            is_lost = os.fstat(file.fileno()).st_size > 0 and not log.exists()
            try:
                file.truncate(0)
                os.write(file.fileno(), f"{os.getpid()}\n".encode())
            except OSError as error:
                raise RunError(f"can't write into {self.path}: {error.strerror}; see that there is room") from error
            try:
                yield
                is_lost = False
            finally:
                if not is_lost and not log.exists():
                    file.truncate(0)


def _locked(file: TextIO) -> bool:
    """Take the lock; `owner` of another process may hold it for a moment, so one refusal is no answer."""
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_S)
        else:
            return True
    return False


def _holds_nothing(folder: RunFolder) -> bool:
    """Whether all that lies there is what a run killed before its first event leaves."""
    known = {
        folder.checkpoints,
        folder.logs,
        folder.config,
        folder.lock,
        folder.database,
        wal_of(folder.database),
        folder.endpoint,
        folder.published,
    }
    if folder.owner() is not None or set(folder.path.iterdir()) - known:
        return False
    if folder.logs.is_dir() and any(folder.logs.iterdir()):
        return False
    given = folder.checkpoints.iterdir() if folder.checkpoints.is_dir() else ()  # from elsewhere, or half of it
    if any(file.suffix != ".partial" and not re.fullmatch(rf"{SHA256}\.safetensors", file.name) for file in given):
        return False
    return not has_begun(folder)


def has_begun(folder: RunFolder) -> bool:
    """Whether the log holds an event; one that can't be read may hold some, so it counts as one that does."""
    return _beginning(folder)[0] is not None


def _beginning(folder: RunFolder) -> tuple[str | None, bool]:
    """The kind of the first event in the log (None: there is none; empty: that can't be told), and whether the tables
    hold the run, as far as that can be told.
    """
    if not is_file(folder.database):  # a pipe would be waited for
        return ("" if _exists(folder.database) else None), True
    try:
        with open_snapshot(folder.database) as store:
            first = next(store.read(), None)
            return (None if first is None else first.event.kind), bool(store.query("FROM run").rows)
    except (StoreEmpty, StoreNotFound):
        return None, True
    except StoreError as error:
        return "", not isinstance(error, StoreIncomplete)


def new_run(path: Path | None, stem: str) -> RunFolder:
    """A folder that does not exist yet: `path`, or the first free ``runs/<stem>-<number>``. Nothing is made.

    Raises:
        RunError: `path` exists, can be no folder's, or its parent can't be written.
    """
    path = path or _free(stem)
    if not is_text(path.absolute()):
        raise RunError(f"{str(path)[:80]!a} can't be a run folder: expected UTF-8 without NUL; name one with --run-dir")
    if OPTIONS in str(path.absolute()):
        raise RunError(
            f"{path.absolute()} can't be a run folder: no path of a DuckDB file may have {OPTIONS!r} in it; name another "
            "with --run-dir"
        )
    if _exists(path) and (not path.is_dir() or any(path.iterdir())):
        if path.is_dir() and not path.is_symlink() and _holds_nothing(RunFolder(path.absolute())):
            shutil.rmtree(path)
            return RunFolder(path.absolute())
        owner = RunFolder(path.absolute()).owner()
        live = "" if owner is None else f", and process {owner or '(just starting)'} works on it"
        raise RunError(
            f"{path} exists already{live}: resume it with spnas-orch resume {path}, or name another folder with --run-dir"
        )
    existing = next(parent for parent in [path, *path.absolute().parents] if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise RunError(f"can't make {path}: {existing} is not a folder this user can write to")
    return RunFolder(path.absolute())


def _free(stem: str) -> Path:
    number = 1
    while _exists(RUNS / f"{stem}-{number}"):
        number += 1
    return RUNS / f"{stem}-{number}"


def find_run(run: str, whole: bool = True) -> RunFolder:
    """The run folder at path `run`, or of that name under ``runs/``; `whole`: its tables have to hold the run.

    Raises:
        RunError: there is none; the message names those there are.
    """
    for path in (Path(run), RUNS / run):
        if _exists(path) and is_file(path / "lineage.duckdb"):
            folder = RunFolder(path.absolute())
            beginning, in_tables = _beginning(folder)
            if beginning is None:
                raise _not_begun(run, folder)
            if beginning not in ("", "RunStarted"):
                raise RunError(f"run {run} is damaged: its log begins with {beginning}, not RunStarted; restore a copy")
            if whole and not in_tables:
                raise RunError(
                    f"the tables of run {run} do not hold what its log says; make them anew: spnas-orch rebuild {run}"
                )
            return folder
    known = sorted(path.parent.name for path in RUNS.glob("*/lineage.duckdb"))
    hint = f"runs here: {', '.join(known)}" if known else "there are no runs in ./runs"
    raise RunError(f"no run {run!r}: expected a run folder (with lineage.duckdb) or its name; {hint}")


def _not_begun(run: str, folder: RunFolder) -> RunError:
    owner = folder.owner()
    if owner is not None:
        return RunError(
            f"run {run} has not begun: process {owner or '(just starting)'} prepares it; ask again in a moment"
        )
    log = wal_of(folder.database)
    missing = (
        ""
        if log.exists()
        else f" (unless {folder.database.name} was copied without {log.name}, which held its events: then copy both)"
    )
    return RunError(
        f"run {run} was killed before it began; start it again: spnas-orch start CONFIG --run-dir {run}{missing}"
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise RunError(f"{str(path)[:80]} can't be a run folder: {error.strerror}") from error
