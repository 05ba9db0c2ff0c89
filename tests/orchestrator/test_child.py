"""A process beside the search: it hears every event or is replaced, and the search never waits for it. Real processes."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator.live import child
from orchestrator.live.child import Child, Said

ECHO = """
import json, os, sys
print(json.dumps({"pid": os.getpid(), "setup": sys.stdin.readline().strip()}), flush=True)
for line in sys.stdin:
    print(json.dumps({"heard": line.strip()}), flush=True)
"""
DEAF = """
import json, os, sys, time
print(json.dumps({"pid": os.getpid()}), flush=True)
time.sleep(600)
"""
FALLING = "raise SystemExit(3)"
CHATTY = """
import sys
sys.stdout.write("x" * 10_000_000)
sys.stdout.flush()
sys.stdin.read()
"""
NONSENSE = """
import sys
sys.stdin.readline()
print("no JSON\\n[1]\\n\\xff\\n{}\\n" + '{"last": 1}', flush=True)
sys.stdin.read()
"""


class Beside:
    """A child of some program, and what it said."""

    def __init__(self, folder: Path, program: str) -> None:
        (folder / "beside.py").write_text(program)
        self.said: list[Said] = []
        self.setups = 0
        environment = {"PYTHONPATH": str(folder), "PATH": os.environ["PATH"]}
        self.child = Child("beside", self._setup, self.said.append, environment, folder / "beside.log")

    def _setup(self) -> str:
        self.setups += 1
        return f"setup {self.setups}"

    def all(self, key: str) -> list[Any]:
        return [one[key] for one in self.said if key in one]

    @property
    def ends(self) -> int:
        return self.said.count({})


async def until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


async def test_it_gets_its_setup_then_every_line_and_ends_with_its_input(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    beside = Beside(tmp_path, ECHO)
    beside.child.send(b"lost, for nobody is there")
    beside.child.start()
    await until(lambda: beside.all("setup"))
    beside.child.send(b"one")
    beside.child.send(b"two")
    await until(lambda: len(beside.all("heard")) == 2)
    await beside.child.close(patience_s=10)
    assert beside.all("setup") == ["setup 1"]
    assert beside.all("heard") == ["one", "two"]
    assert beside.said[-1] == {}
    assert is_gone(beside.all("pid")[0])
    assert caplog.records == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_one_that_is_killed_is_replaced(tmp_path: Path, number: signal.Signals) -> None:
    beside = Beside(tmp_path, ECHO)
    beside.child.start()
    await until(lambda: beside.all("setup"))
    os.kill(beside.all("pid")[0], number)
    await until(lambda: len(beside.all("setup")) == 2)
    assert beside.ends == 1
    beside.child.send(b"one")
    await until(lambda: beside.all("heard") == ["one"])
    await beside.child.close(patience_s=10)


def flood(beside: Beside) -> None:
    """More than a process may leave unread."""
    for _ in range(3000):
        beside.child.send(b"x" * 1000)


async def test_one_that_does_not_read_holds_up_nobody_and_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "MAX_BACKLOG_BYTES", 2**20)
    beside = Beside(tmp_path, DEAF)
    beside.child.start()
    await until(lambda: beside.all("pid"))
    began = time.monotonic()
    flood(beside)
    assert time.monotonic() - began < 5
    await until(lambda: len(beside.all("pid")) == 2)
    await beside.child.close(patience_s=0)
    assert all(map(is_gone, beside.all("pid")))


async def test_one_that_is_stopped_is_replaced_once_too_much_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "MAX_BACKLOG_BYTES", 2**20)
    beside = Beside(tmp_path, ECHO)
    beside.child.start()
    await until(lambda: beside.all("setup"))
    os.kill(beside.all("pid")[0], signal.SIGSTOP)
    flood(beside)
    await until(lambda: len(beside.all("setup")) == 2)
    await beside.child.close(patience_s=10)
    assert all(map(is_gone, beside.all("pid")))


@pytest.mark.parametrize("program", [FALLING, CHATTY])
async def test_one_that_can_not_work_is_tried_again_after_longer_and_longer_pauses(
    tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "FIRST_PAUSE_S", 0.01)
    pauses: list[float] = []
    wait_for = asyncio.wait_for

    async def waited(awaitable: Any, timeout: float) -> Any:
        if timeout != child.LAST_S:
            pauses.append(timeout)
        return await wait_for(awaitable, timeout)

    monkeypatch.setattr(child.asyncio, "wait_for", waited)
    beside = Beside(tmp_path, program)
    beside.child.start()
    await until(lambda: beside.ends == 3)
    await beside.child.close(patience_s=10)
    assert pauses[:3] == [0.01, 0.02, 0.04]


async def test_one_that_keeps_ending_is_told_once_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(child, "FIRST_PAUSE_S", 0.01)
    beside = Beside(tmp_path, FALLING)
    beside.child.start()
    await until(lambda: beside.ends == 1)
    assert caplog.messages == []
    await until(lambda: beside.ends == 4)
    await beside.child.close(patience_s=10)
    (told,) = caplog.messages
    assert told.startswith("beside keeps ending")
    assert str(tmp_path / "beside.log") in told


async def test_what_it_says_that_is_no_object_is_passed_over(tmp_path: Path) -> None:
    beside = Beside(tmp_path, NONSENSE)
    beside.child.start()
    await until(lambda: beside.all("last"))
    assert beside.said == [{}, {"last": 1}]
    await beside.child.close(patience_s=10)


async def test_closed_while_it_is_started_it_is_not_left_behind(tmp_path: Path) -> None:
    for _ in range(3):
        beside = Beside(tmp_path, DEAF)
        beside.child.start()
        await asyncio.sleep(0)  # so that it is about to be started
        async with asyncio.timeout(20):
            await beside.child.close(patience_s=0)
        assert beside.ends == 1
    await until(lambda: not list(processes(tmp_path)))


def processes(folder: Path) -> list[int]:
    """Processes that see this folder in their PYTHONPATH."""
    found = []
    for about in Path("/proc").glob("[0-9]*"):
        try:
            if f"PYTHONPATH={folder}".encode() in (about / "environ").read_bytes():
                found.append(int(about.name))
        except OSError:
            continue
    return found
