"""The write-ahead log beside a database file, as DuckDB 1.5 frames it: whether what DuckDB would drop from it may go.

A header, then entries: size and checksum, 8 bytes each, and content. A transaction ends with a commit entry, which is
always the same. DuckDB compares every checksum, but takes an entry that claims more bytes than there are for the torn
end of the log, and a header that it doesn't know for no log, and drops the rest without a word. No commit follows a
torn end. Where one does, it was a size that was damaged, and what was acknowledged would be lost.
Knows nothing of connections, events or tables.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from lineage.errors import StoreDamaged

HEADER = bytes.fromhex("640062650002ffff")
COMMIT = bytes.fromhex("e7fe7d722fed3d5e 640064ffff")  # checksum and content
RESTORE = "restore both files from a copy of one moment (the checkpoints beside them are as they were)"

_FRAME_BYTES = 16


def wal_of(path: Path) -> Path:
    """Where the write-ahead log of a database file lies, when there is one."""
    return path.with_name(path.name + ".wal")


def check(path: Path) -> None:
    """Refuse the log of the database file at `path` if DuckDB would silently drop transactions that were committed.

    Raises:
        StoreDamaged: its header or the size of an entry is damaged.
        OSError: it can't be read.
    """
    try:
        log = wal_of(path).read_bytes()
    except FileNotFoundError:
        return
    if log[: len(HEADER)] != HEADER[: len(log)]:
        raise _damaged(path, 0, "its header is none that DuckDB 1.5 writes")
    at = whole = len(HEADER)
    while at + _FRAME_BYTES <= len(log):
        end = at + _FRAME_BYTES + int.from_bytes(log[at : at + 8], "little")
        if end > len(log):
            break
        whole = end if log.startswith(COMMIT, at + 8) else whole
        at = end
    if log.find(COMMIT, at) >= 0:
        raise _damaged(path, whole, "an entry claims more bytes than follow, and a commit follows")


def replayed(path: Path, error: Exception) -> StoreDamaged | None:
    """What DuckDB's `error` says of the log of the database file at `path`, if it is about a wrong checksum."""
    position = re.search(r"Corrupt WAL file: entry at byte position (\d+)", str(error))
    if position is None:
        return None
    commit = wal_of(path).read_bytes().rfind(COMMIT, 0, int(position[1]) - _FRAME_BYTES)
    return _damaged(path, commit + len(COMMIT) if commit >= 0 else len(HEADER), "an entry has a wrong checksum")


def _damaged(path: Path, whole: int, found: str) -> StoreDamaged:
    """What is wrong with the log of the database file at `path`, of which the first `whole` bytes are in order."""
    log = wal_of(path)
    last_resort = (
        f"; without one, truncate -s {whole} {shlex.quote(str(log))} gives up what was recorded after that byte"
    )
    if whole <= len(HEADER):  # that would be all of it
        last_resort = ""
    return StoreDamaged(f"{log} is damaged after byte {whole}: {found}; {RESTORE}{last_resort}")
