"""Whether there is room for another transaction: on the disk, and within the longest file that a process may write.

DuckDB may end the whole process when a commit finds no room (an index can't be put back), so it is asked to commit only
where there is some to spare: for the transaction, and for the checkpoint that may follow it.
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from lineage.errors import StoreFull
from lineage.wal import wal_of

MARGIN_BYTES = 64 * 2**20  # DuckDB's checkpoint comes at 16 MiB of write-ahead log

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_no_room(error: BaseException | None) -> bool:
    """Whether a full disk is what an error comes from."""
    while error is not None and not isinstance(error, StoreFull):
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return True
        error = error.__cause__
    return error is not None


def must_have_room(path: Path) -> None:
    """Raise StoreFull if the database file at `path` and its log can't grow by `MARGIN_BYTES`."""
    disk = os.statvfs(path.parent)
    free, where = disk.f_bavail * disk.f_frsize, "on the disk"
    longest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if longest != resource.RLIM_INFINITY:
        sizes = [file.stat().st_size for file in (path, wal_of(path)) if file.exists()]
        allowed = longest - max(sizes, default=0)
        free, where = min((free, where), (allowed, "within the longest file that may be written (ulimit -f)"))
    if free < MARGIN_BYTES:
        raise StoreFull(f"{path} needs {MARGIN_BYTES >> 20} MiB of room, found {max(0, free) >> 20} MiB {where}")
