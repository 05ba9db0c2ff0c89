"""Questions to a live run take turns; those to another run do not wait."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
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
turns.step_back()
with open("/proc/self/autogroup") as file:
    print(os.nice(0) == turns.NICENESS, f"nice {turns.NICENESS}" in file.read())
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
    monkeypatch.setattr(turns, "PATIENCE_S", 0.5)
    monkeypatch.setattr(turns, "LOOK_S", 0.02)


def test_one_asks_a_live_run_at_a_time_but_nobody_waits_for_ever(live: RunFolder) -> None:
    first = Turns(str(live.path))
    first.take()
    first.take()  # has it
    assert waited_s(live.path) >= 0.5
    first.end()
    assert waited_s(live.path) < 0.3


def test_a_turn_ends_with_its_process(live: RunFolder) -> None:
    with subprocess.Popen([sys.executable, "-c", TAKING, str(live.path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert waited_s(live.path) >= 0.5
        process.kill()
        process.wait()
    assert waited_s(live.path) < 0.3


def test_a_run_may_be_named_as_for_any_command(live: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (live.path.parent / "runs").symlink_to(live.path.parent)
    monkeypatch.chdir(live.path.parent)
    first = Turns(str(live.path))
    first.take()
    assert waited_s(Path("run")) >= 0.5
    (live.path.parent / "elsewhere").mkdir()
    (live.path.parent / "elsewhere" / "runs").symlink_to(live.path.parent)
    monkeypatch.chdir(live.path.parent / "elsewhere")
    assert waited_s(Path("run")) >= 0.5


def test_a_run_that_is_not_live_is_asked_by_all_at_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with folder.held():
        pass
    place = os.open(folder.path, os.O_RDONLY)
    fcntl.flock(place, fcntl.LOCK_EX)
    assert waited_s(folder.path) < 0.3
    assert waited_s(tmp_path / "none") < 0.3
    os.close(place)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this system has no autogroups")
@pytest.mark.parametrize("own_session", [True, False])
def test_a_session_steps_back_only_if_it_is_the_programs_own(own_session: bool) -> None:
    command = [sys.executable, "-c", STEPPING_BACK]
    done = subprocess.run(command, start_new_session=own_session, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", str(own_session)]
