"""One process a run: a second one is refused and told the first, a dead one's lock is none, and nothing outlives a run."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lineage.store import EventStore
from orchestrator.run_folder import RunFolder

COMMAND = str(Path(sys.executable).with_name("spnas-orch"))
EXAMPLE = str(Path(__file__).parents[2] / "examples" / "digits" / "sp_nas.yml")
START = [COMMAND, "start", EXAMPLE, "--simulate", "--run-dir", "run"]
SLOW = [*START, "--speed", "20"]

PREPARING = """
import sys, time
from orchestrator import cli, launch

def endless(*arguments, **named):
    print("preparing", flush=True)
    time.sleep(600)

launch.given_networks = endless
sys.argv = sys.argv[1:]
cli.main()
"""


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)


@contextmanager
def started(folder: Path, command: list[str], until: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has printed what is waited for; dead in the end."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            while until not in (line := process.stdout.readline()):
                assert line, process.communicate()[1]
            yield process
        finally:
            process.kill()


def is_free(folder: Path) -> bool:
    with (folder / "run" / "run.lock").open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def left_behind(folder: Path) -> list[str]:
    """Processes that work in a folder, and sockets in it."""
    found = [str(file) for file in folder.rglob("*") if stat.S_ISSOCK(file.lstat().st_mode)]
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").resolve() == folder and int(entry.name) != os.getpid():
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def nothing_is_left(folder: Path) -> bool:
    deadline = time.monotonic() + 10
    while left := left_behind(folder):
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {left}")
        time.sleep(0.05)
    return is_free(folder)


def test_a_second_process_is_refused_with_the_process_that_works_there(tmp_path: Path) -> None:
    with started(tmp_path, SLOW, "phase started") as live:
        for command in (START[1:], ["resume", "run"], ["rebuild", "run"]):
            refused = call(tmp_path, *command)
            assert (refused.returncode, refused.stdout) == (2, ""), command
            assert f"process {live.pid} works on it" in refused.stderr, command
            assert refused.stderr.count("\n") == 1
        assert json.loads(call(tmp_path, "status", "run", "--json").stdout)["process"] == live.pid
        assert live.poll() is None


def test_a_run_that_is_still_preparing_is_refused_and_neither_deleted_nor_called_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PREPARING, *START]
    with started(tmp_path, command, "preparing") as live:
        before = sorted(tmp_path.rglob("*"))
        for arguments in (START[1:], ["resume", "run"], ["status", "run"], ["rebuild", "run"]):
            refused = call(tmp_path, *arguments)
            assert (refused.returncode, refused.stdout) == (2, ""), arguments
            assert f"process {live.pid}" in refused.stderr, arguments
            assert "killed" not in refused.stderr
        assert sorted(tmp_path.rglob("*")) == before
        live.kill()
        live.wait()
        assert "was killed before it began" in call(tmp_path, "status", "run").stderr
        assert call(tmp_path, *START[1:]).returncode == 0


STALE: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "of a dead process": lambda: f"{dead()}\n".encode(),
    "of a recycled id": lambda: f"{os.getpid()}\n".encode(),
    "no number": lambda: "nobody\n²\n".encode(),
    "no text": lambda: b"\xff\xfe\0\x80" * 1000,
    "a huge number": lambda: b"9" * 5000,
}


def dead() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    with started(folder, SLOW, "phase started"):
        pass
    return folder


@pytest.mark.parametrize("content", STALE)
def test_a_lock_file_that_nobody_holds_is_taken_over(killed: Path, content: str) -> None:
    run = RunFolder(killed / "run")
    run.lock.write_bytes(STALE[content]())
    assert run.owner() is None
    assert run.was_killed() == (content != "empty")
    with run.held(), EventStore.open(run.database):
        assert run.lock.read_text() == f"{os.getpid()}\n"
    assert run.lock.read_bytes() == b""


def test_a_run_whose_lock_is_of_a_recycled_id_is_crashed_and_goes_on(tmp_path: Path) -> None:
    with started(tmp_path, SLOW, "phase started"):
        pass
    (tmp_path / "run" / "run.lock").write_text(f"{os.getpid()}\n")
    facts = json.loads(call(tmp_path, "status", "run", "--json").stdout)
    assert (facts["status"], facts["process"]) == ("crashed", None)
    assert call(tmp_path, "resume", "run").returncode == 0


def test_a_live_run_whose_lock_was_removed_is_not_called_crashed(tmp_path: Path) -> None:
    with started(tmp_path, SLOW, "phase started") as live:
        (tmp_path / "run" / "run.lock").unlink()
        refused = call(tmp_path, "resume", "run")
        assert refused.returncode == 2
        assert f"PID {live.pid}" in refused.stderr
        facts = json.loads(call(tmp_path, "status", "run", "--json").stdout)
        assert (facts["status"], facts["process"]) == ("running", live.pid)
        live.kill()
        live.wait()
        facts = json.loads(call(tmp_path, "status", "run", "--json").stdout)
        assert (facts["status"], facts["process"]) == ("crashed", None)


def test_a_lock_that_can_not_be_taken_is_one_message(killed: Path) -> None:
    lock = killed / "run" / "run.lock"
    lock.unlink()
    lock.mkdir()
    try:
        refused = call(killed, "resume", "run")
        assert refused.returncode == 2
        assert "can't write into" in refused.stderr
        assert "Traceback" not in refused.stderr
    finally:
        lock.rmdir()


@pytest.mark.parametrize("garbage", [b"\xff\xfe\x80", "²".encode(), b""])
def test_a_live_lock_of_odd_content_is_still_a_lock(killed: Path, garbage: bytes) -> None:
    with (killed / "run" / "run.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(garbage)
        lock.flush()
        refused = call(killed, "resume", "run")
    assert refused.returncode == 2
    assert "is live" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("end", "returncode"), [(None, 0), (signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
def test_however_a_run_ends_no_process_lock_or_socket_is_left_and_it_goes_on(
    tmp_path: Path, end: signal.Signals | None, returncode: int
) -> None:
    with started(tmp_path, SLOW if end else START, "phase started") as live:
        assert not is_free(tmp_path) or end is None
        if end:
            live.send_signal(end)
        _, errors = live.communicate(timeout=30)
        assert live.returncode == returncode, errors
    assert nothing_is_left(tmp_path)
    done = call(tmp_path, "resume", "run")
    assert done.returncode == 0, done.stderr
    assert "note" not in done.stderr
    assert nothing_is_left(tmp_path)
    assert (tmp_path / "run" / "run.lock").read_bytes() == b""


def test_a_run_killed_as_it_took_given_weights_over_can_be_started_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with started(tmp_path, [sys.executable, "-c", PREPARING, *START], until="preparing") as process:
        process.kill()
        process.wait()
    (folder.checkpoints / f"{'a' * 64}.safetensors").write_bytes(b"given")
    (folder.checkpoints / ".0f.partial").write_bytes(b"half of it")
    assert "killed before it began; start it again" in call(tmp_path, "resume", "run").stderr
    again = subprocess.run(START, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert list(folder.checkpoints.iterdir()) == []


def test_what_lies_there_and_no_run_left_is_not_deleted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with started(tmp_path, [sys.executable, "-c", PREPARING, *START], until="preparing") as process:
        process.kill()
        process.wait()
    (folder.checkpoints / "mine.safetensors").write_bytes(b"precious")
    refused = subprocess.run(START, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "exists already" in refused.stderr
    assert (folder.checkpoints / "mine.safetensors").read_bytes() == b"precious"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_template_that_never_ends_ends_with_whoever_asked_for_it(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "endless"
    folder.mkdir()
    assert call(folder, "init").returncode == 0
    (folder / "faster_rcnn_r50_fpn_1x.py").write_text("open('loading', 'w').close()\nwhile True:\n    pass\n")
    with subprocess.Popen([COMMAND, "check", "sp_nas.yml"], cwd=folder, stdout=subprocess.DEVNULL) as process:
        limit = time.monotonic() + 30
        while not (folder / "loading").exists():
            assert time.monotonic() < limit
            time.sleep(0.05)
        assert left_behind(folder)
        process.send_signal(number)
    limit = time.monotonic() + 5
    while left_behind(folder):
        assert time.monotonic() < limit, left_behind(folder)
        time.sleep(0.05)
