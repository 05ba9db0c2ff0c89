"""The real digits search under twenty kill -9, of its orchestrator and of its workers, at random moments. Takes minutes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage.events import JobFinished
from lineage.store import EventStore

COMMAND = str(Path(sys.executable).with_name("spnas-orch"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
KILLS = 20
SHORTER = ("--set", "fullytrain.trainer.epoch=4")


def processes(folder: Path) -> Iterator[tuple[int, str]]:
    """Live processes of runs below a folder, and what they are."""
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if not entry.name.isdigit() or (entry / "cwd").resolve() != folder:
                continue
        except OSError:
            continue
        if "trainers.worker" in line:
            yield int(entry.name), "worker"
        elif "spnas-orch" in line:
            yield int(entry.name), "orchestrator"


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / "output.log").open("ab") as output:
        return subprocess.Popen([COMMAND, *arguments, "--no-tui"], cwd=folder, stdout=output, stderr=output)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_twenty_kills_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    for file in ("sp_nas.yml", "faster_rcnn_r50_fpn_1x.py"):
        shutil.copy(EXAMPLE / file, tmp_path)
    rng, kills = random.Random(20), Counter[str]()
    process = started(tmp_path, "start", "sp_nas.yml", "--run-dir", "run", *SHORTER)
    while sum(kills.values()) < KILLS:
        time.sleep(rng.uniform(3, 20))
        if process.poll() is not None:
            assert "Traceback" not in (tmp_path / "output.log").read_text()
            if process.returncode == 0:
                break
            process = started(tmp_path, "resume", "run")
            continue
        victims = list(processes(tmp_path))
        if victims:
            victim, what = rng.choice(victims)
            os.kill(victim, signal.SIGKILL)
            kills[what] += 1
    if process.wait(600) != 0:
        process = started(tmp_path, "resume", "run")
        assert process.wait(900) == 0, (tmp_path / "output.log").read_text()[-3000:]
    assert kills["worker"] > 3
    assert kills["orchestrator"] > 3
    with EventStore.open(tmp_path / "run" / "lineage.duckdb") as store:
        trained = [one.event.job_id for one in store.read() if isinstance(one.event, JobFinished)]
    assert len(trained) == len(set(trained)), "a finished training was repeated"
    status = subprocess.run([COMMAND, "status", "run", "--json"], cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(status.stdout)["status"] == "completed"
    deadline = time.monotonic() + 10
    while list(processes(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list(processes(tmp_path)) == []
    again = subprocess.run(
        [COMMAND, "resume", "run", "--no-tui"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 0, again.stderr  # no lock is left
    assert not list((tmp_path / "run" / "checkpoints").glob("*.unfinished"))
    assert not list((tmp_path / "run" / "checkpoints").glob(".*.partial"))
