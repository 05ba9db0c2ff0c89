"""A store whose owner was killed with kill -9 as it appended, and the files of one as they may be found after that."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from histories import tables

from lineage.events import CandidateProposed
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from lineage.wal import wal_of

OWNER = """
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[2])
from histories import NOON, epoch, run_started, trainings
from lineage.store import EventStore
from lineage.wal import wal_of

path, checkpointed = Path(sys.argv[1]), int(sys.argv[3])
number, store = 0, EventStore.create(path)
while True:
    if number == checkpointed:
        store.close()
        store = EventStore.open(path)
    events = [run_started()] if number == 0 else trainings(f"s-{number}", f"s-{number - 1}", ap=0.1)
    recorded = store.append([*events, epoch(f"j-s-{number}")], NOON)
    print(recorded[-1].seq, wal_of(path).stat().st_size, flush=True)
    number += 1
"""


@dataclass(frozen=True)
class Killed:
    """Both files, and the last event and the length of the log at each acknowledgement since the last checkpoint."""

    database: bytes = field(repr=False)
    log: bytes = field(repr=False)
    acknowledged: tuple[tuple[int, int], ...]
    checkpointed: int

    def whole(self, length: int) -> int:
        """How many events a log of so many bytes holds, with the database."""
        return max((seq for seq, end in self.acknowledged if end <= length), default=self.checkpointed)

    def put(self, path: Path, log: bytes | None, database: bytes | None = None) -> Path:
        """Lay both files down."""
        path.write_bytes(self.database if database is None else database)
        wal_of(path).unlink(missing_ok=True)
        if log is not None:
            wal_of(path).write_bytes(log)
        return path


def killed_owner(path: Path, transactions: int, checkpointed: int = 0) -> Killed:
    """A process that appended so many transactions since a checkpoint after the first few, killed as it went on."""
    command = [sys.executable, "-c", OWNER, str(path), str(Path(__file__).parent), str(checkpointed or -1)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        lines = [owner.stdout.readline() for _ in range(checkpointed + transactions)]
        owner.send_signal(signal.SIGKILL)
        lines += owner.stdout.read().splitlines()
    acknowledged = [tuple(map(int, line.split())) for line in lines]
    since = tuple((seq, end) for seq, end in acknowledged[checkpointed:])
    before = acknowledged[checkpointed - 1][0] if checkpointed else 0
    return Killed(path.read_bytes(), wal_of(path).read_bytes(), since, before)


def snapshot_of(path: Path) -> int:
    """Number of events in a snapshot, whose tables have every candidate that is in them."""
    with open_snapshot(path) as store:
        log = list(store.read())
        proposed = {one.event.candidate_id for one in log if isinstance(one.event, CandidateProposed)}
        assert {name for (name,) in store.query("SELECT candidate_id FROM candidates").rows} == proposed
    return len(log)


def looked_at(path: Path) -> int:
    """Number of events in a snapshot and, opened for writing, in the store, whose tables are what the log says."""
    count = snapshot_of(path)
    with EventStore.open(path) as store:
        kept = tables(store)
        store.rebuild()
        assert tables(store) == kept
        assert len(list(store.read())) == count
    return count
