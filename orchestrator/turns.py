"""Questions step back behind a search: with a low priority, and of a live run one question at a time.

Without this, ten who ask without a pause take most of a search's time on a small machine. Linux may share out time between
sessions before it looks at processes, and the session of whoever types is not ours to change: so what takes time has a
session of its own. This must not import what takes long to load: whoever waits for a turn has done nothing yet.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

from orchestrator.live.beside import end_with_owner, session_gives_way

NICENESS = 10
PATIENCE_S = 120.0  # then whoever waits asks all the same: the question of somebody else may take minutes
LOOK_S = 0.2
REST_S = 6.0  # of the search between two turns, where people wait for them


def step_back() -> None:
    """Let trainings go first."""
    os.nice(NICENESS)


def go_on_in_own_session() -> None:
    """Go on in a process with a session of its own, which can step back as a whole; this one waits, and ends as that does.

    A signal that ends this process is handed on.
    """
    child = os.fork()
    if child == 0:
        end_with_owner()
        os.setsid()
        session_gives_way(NICENESS)
        return
    try:
        code = _ended(child)
    except BaseException as error:  # an interrupt, or `orchestrator.ending`
        os.kill(child, signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
        _ended(child)
        raise
    raise SystemExit(code)


def _ended(child: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


class Turns:
    """Turns to ask a run, which is named as for `orchestrator.run_folder.find_run`. One that is not live has no need of any.

    A turn is a lock on the run's folder, which lasts no longer than its process; no file is made for it.
    """

    def __init__(self, run: str) -> None:
        self._places = (Path(run), Path("runs") / run)
        self._held: int | None = None

    @property
    def are_needed(self) -> bool:
        """Whether the run is live."""
        return self._live() is not None

    def _live(self) -> Path | None:
        return next((place for place in self._places if _is_live(place)), None)

    def take(self) -> None:
        """Wait for a turn, if this process does not have it. Whoever had to wait leaves the search some rest before."""
        live = self._live()
        if self._held is not None or live is None:
            return
        self._held = os.open(live, os.O_RDONLY)
        if _is_locked(self._held):
            return
        limit = time.monotonic() + PATIENCE_S
        while not _is_locked(self._held):
            if time.monotonic() > limit or not _is_live(live):
                return
            time.sleep(LOOK_S)
        _rest(live)

    def end(self) -> None:
        """Let the next one ask."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _rest(run: Path) -> None:
    """Leave the search some time, unless it ends."""
    limit = time.monotonic() + REST_S
    while _is_live(run) and time.monotonic() < limit:
        time.sleep(LOOK_S)


def _is_live(run: Path) -> bool:
    """Whether a process works on it (`RunFolder.owner`)."""
    try:
        with (run / "run.lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_locked(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
