"""Questions to a live run take turns; those to another run do not wait."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import turns
from orchestrator.run_folder import RunFolder
from orchestrator.turns import Turns

STEPPING_BACK = """
import os
from orchestrator import turns

def group():
    with open("/proc/self/autogroup") as file:
        return file.read().partition(" ")[2].strip()

turns.step_back()
try:
    turns.go_on_in_own_session()
except SystemExit as error:
    print("then", group())
    raise
print(os.nice(0), group(), flush=True)
raise SystemExit(7)
"""
TAKING = """
import sys, time
from orchestrator.turns import Turns
turns = Turns(sys.argv[1])
turns.take()
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[RunFolder]:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with folder.held():
        yield folder


def waited_s(run: Path) -> float:
    began = time.monotonic()
    asker = Turns(str(run))
    asker.take()
    asker.end()
    return time.monotonic() - began


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 2)
    monkeypatch.setattr(turns, "LOOK_S", 0.02)
    monkeypatch.setattr(turns, "REST_S", 1)


def test_one_asks_a_live_run_at_a_time_but_nobody_waits_for_ever(live: RunFolder) -> None:
    first = Turns(str(live.path))
    first.take()
    first.take()  # has it
    assert waited_s(live.path) >= 2
    first.end()
    assert waited_s(live.path) < 1


def test_whoever_had_to_wait_leaves_the_search_some_rest(live: RunFolder) -> None:
    first = Turns(str(live.path))
    first.take()
    threading.Timer(0.1, first.end).start()
    assert 1 < waited_s(live.path) < 2
    assert waited_s(live.path) < 1


def test_nobody_waits_for_a_turn_or_rests_once_the_run_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_S", 30)
    monkeypatch.setattr(turns, "REST_S", 30)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    first = Turns(str(folder.path))
    with folder.held():
        first.take()
        waiting = threading.Thread(target=waited_s, args=(folder.path,))
        waiting.start()
        time.sleep(0.1)
    waiting.join(5)
    assert not waiting.is_alive()
    first.end()


def test_a_turn_ends_with_its_process(live: RunFolder) -> None:
    with subprocess.Popen([sys.executable, "-c", TAKING, str(live.path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert waited_s(live.path) >= 2
        process.kill()
        process.wait()
    assert waited_s(live.path) < 1


def test_a_run_may_be_named_as_for_any_command(live: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (live.path.parent / "runs").symlink_to(live.path.parent)
    monkeypatch.chdir(live.path.parent)
    first = Turns(str(live.path))
    first.take()
    assert waited_s(Path("run")) >= 2
    (live.path.parent / "elsewhere").mkdir()
    (live.path.parent / "elsewhere" / "runs").symlink_to(live.path.parent)
    monkeypatch.chdir(live.path.parent / "elsewhere")
    assert waited_s(Path("run")) >= 2


def test_a_run_that_is_not_live_is_asked_by_all_at_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with folder.held():
        pass
    place = os.open(folder.path, os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_EX)
    assert waited_s(folder.path) < 1
    assert waited_s(tmp_path / "none") < 1
    os.close(place)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system has no autogroups")
def test_what_takes_time_steps_back_with_a_session_of_its_own_and_the_shells_is_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", STEPPING_BACK], start_new_session=True, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (7, ["10", "nice", "10", "then", "nice", "0"])
