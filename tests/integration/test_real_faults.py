"""A small but real search through a full disk, an interrupt and a damaged checkpoint, with as few weights kept as can be."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from real import COMMAND, SMALL, children, gone, init
from simulated import rows

SETTINGS = {name: value for name, value in SMALL.items() if name.split(".")[0] in ("general", "serial")} | {
    "pipeline": "[serial]",
    "general.worker.cpu_workers": 1,
    "general.keep_checkpoints": 0,
    "serial.search_algorithm.max_sample": 4,
}
NO_ROOM_BYTES = 1_500_000  # logs and detections fit, weights do not


def wait_until(condition: Callable[[], object], timeout_s: float = 120) -> None:
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.1)


def limit_files(pid: int, size_bytes: int | None) -> None:
    """No file that a process writes gets longer; None: as long as it likes."""
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size_bytes is None else size_bytes, hard))


def is_whole(file: Path) -> bool:
    return hashlib.sha256(file.read_bytes()).hexdigest() == file.stem


class Live:
    """An orchestrator at work in a folder."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.out = folder / f"{arguments[0]}.out"
        with self.out.open("w") as out:
            self.process = subprocess.Popen(
                [COMMAND, *arguments, "--no-tui"],
                cwd=folder,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            )

    def said(self, words: str) -> bool:
        assert self.process.poll() is None or words in self.out.read_text(), self.out.read_text()
        return words in self.out.read_text()

    def workers(self) -> list[int]:
        return children(self.process.pid)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    init(folder)
    return folder


def test_a_full_disk_an_interrupt_and_a_damaged_checkpoint_cost_nothing(folder: Path) -> None:
    run = folder / "run"
    live = Live(
        folder, "start", "sp_nas.yml", "--run-dir", "run", *(f"--set={key}={value}" for key, value in SETTINGS.items())
    )
    try:
        wait_until(lambda: live.said("s-0001 AP"))
        workers = live.workers()
        for worker in workers:
            limit_files(worker, NO_ROOM_BYTES)
        wait_until(lambda: live.said("waits for room on the disk"))
        status = subprocess.run([COMMAND, "status", "run", "--json"], cwd=folder, capture_output=True, text=True)
        assert any("File too large" in (job["blocked"] or "") for job in json.loads(status.stdout)["running"])
        for worker in workers:
            limit_files(worker, None)
        wait_until(lambda: live.said("found room on the disk and goes on"))
        live.process.send_signal(signal.SIGINT)
        assert live.process.wait(60) == 130
        assert live.said("go on with: spnas-orch resume run")
        wait_until(lambda: all(gone(worker) for worker in workers), 10)
    finally:
        live.process.kill()
        live.process.wait()
    assert {job["status"] for job in rows(run, "SELECT status FROM jobs")} == {"finished"}
    assert rows(run, "SELECT count(*) AS n FROM jobs WHERE fault IS NOT NULL") == [{"n": 0}]

    best, *_ = rows(run, "SELECT candidate_id, checkpoint FROM leaderboard")  # the next to be reignited
    file = run / "checkpoints" / f"{best['checkpoint']}.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    found = subprocess.run([COMMAND, "fsck", "run"], cwd=folder, capture_output=True, text=True)
    assert found.returncode == 1
    assert f"the checkpoint of {best['candidate_id']} is damaged" in found.stdout
    live = Live(folder, "resume", "run")
    assert live.process.wait(240) == 0, live.out.read_text()
    assert live.said(f"{best['candidate_id']} has its weights again")
    results = f"SELECT checkpoint FROM candidates WHERE candidate_id = '{best['candidate_id']}'"
    assert rows(run, results) == [{"checkpoint": best["checkpoint"]}]  # the very same


def test_what_is_left_is_whole_and_what_was_to_go_is_gone(folder: Path) -> None:
    run = folder / "run"
    kept = {row["checkpoint"] for row in rows(run, "SELECT checkpoint FROM measurements WHERE deleted_at IS NULL")}
    lit = {row["checkpoint"] for row in rows(run, "SELECT checkpoint FROM reignitions WHERE deleted_at IS NULL")}
    gone_by_now = rows(run, "SELECT checkpoint FROM measurements WHERE deleted_at IS NOT NULL")
    files = list((run / "checkpoints").iterdir())
    assert {file.stem for file in files} == kept | lit
    assert gone_by_now
    assert all(is_whole(file) for file in files)
    assert subprocess.run([COMMAND, "fsck", "run"], cwd=folder, capture_output=True).returncode == 0
