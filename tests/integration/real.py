"""A small real search, and a look at its processes and tables."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from trainers.data import digits

COMMAND = str(Path(sys.executable).with_name("spnas-orch"))
SMALL = {
    "general.worker.cpu_workers": 2,
    "serial.search_algorithm.max_sample": 5,
    "serial.search_algorithm.reignite.n_stuck": 1,
    "serial.search_algorithm.reignite.min_delta": 0.9,
    "serial.search_algorithm.reignite.epoch": 1,
    "parallel.search_algorithm.max_sample": 1,
    "fullytrain.trainer.epoch": 1,
}

FEW = digits.Size(train=80, val=30, train_crops=300, val_crops=100)


def init(folder: Path) -> None:
    """The example in a folder, with fewer images than it makes by itself."""
    subprocess.run([COMMAND, "init"], cwd=folder, check=True, capture_output=True, timeout=60)
    digits.make(folder / "data" / "digits", FEW)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True
