"""Where the disk is full, a training waits with what it has to keep, tells so, and gives signs of life."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from lineage.events import Event, WorkerBlocked, WorkerUnblocked
from trainers import channel, checkpoints
from trainers.channel import Channel
from trainers.errors import NoRoomError, Stopped
from trainers.faults import is_no_room
from trainers.protocol import DetectionJob, NetworkRef
from trainers.unfinished import Unfinished

NETWORK = NetworkRef(candidate_id="s-0001", code="b_1-1_0-0", block_ids=(("a",), ("b",)), base_width=8)
JOB = DetectionJob(job_id="j-s-0001", attempt=1, network=NETWORK, parent=None, epochs=3, seed=0)
STATE = {"weights": torch.arange(100_000.0)}


@contextmanager
def full_disk() -> Iterator[None]:
    """As on a full disk, no file gets longer than a few bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Disk:
    """Finds no room so many times."""

    def __init__(self, full: int) -> None:
        self.left = full

    def keep(self) -> str:
        self.left -= 1
        if self.left >= 0:
            raise NoRoomError("no space left on device")
        return "kept"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "FIRST_WAIT_S", 0.001)


def test_a_full_disk_is_told_apart(tmp_path: Path) -> None:
    with full_disk():
        with pytest.raises(NoRoomError, match="j-s-0001"):
            Unfinished(tmp_path, JOB, Config({})).save(STATE)
        with pytest.raises(NoRoomError, match="s-0001"):
            checkpoints.save(tmp_path, STATE, NETWORK, "detector")
    assert list(tmp_path.iterdir()) == []
    assert checkpoints.save(tmp_path, STATE, NETWORK, "detector")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (RuntimeError("I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("os error 28"), False),
    ],
)
def test_no_room_has_several_names(error: Exception, expected: bool) -> None:
    assert is_no_room(error) == expected


def test_a_training_waits_for_room_and_says_so_once() -> None:
    events, breaths = list[Event](), list[None]()
    found = Channel(events.append, lambda: breaths.append(None), device="cpu:0").kept(Disk(full=4).keep)
    assert found == "kept"
    blocked, unblocked = events
    assert isinstance(blocked, WorkerBlocked)
    assert (blocked.device, blocked.reason) == ("cpu:0", "no space left on device")
    assert unblocked == WorkerUnblocked(device="cpu:0")
    assert len(breaths) >= 3


def test_where_there_is_room_nothing_is_said() -> None:
    events: list[Event] = []
    assert Channel(events.append).kept(Disk(full=0).keep) == "kept"
    assert events == []


def test_a_training_that_is_to_stop_does_not_wait_for_room() -> None:
    disk = Disk(full=10**9)
    with pytest.raises(Stopped):
        Channel(stopping=lambda: True).kept(disk.keep)
    assert disk.left == 10**9 - 2  # it looked once more
