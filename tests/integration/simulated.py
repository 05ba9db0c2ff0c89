"""Simulated runs as processes, and what is asked of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lineage.errors import StoreError
from lineage.snapshot import open_snapshot

COMMAND = str(Path(sys.executable).with_name("spnas-orch"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"
DECISIONS = "SELECT candidate_id, arch, parent_id, ap, status FROM candidates ORDER BY candidate_id"

Spnas = Callable[..., subprocess.CompletedProcess[str]]


def rows(run: Path, query: str) -> list[dict[str, Any]]:
    with open_snapshot(run / "lineage.duckdb") as store:
        result = store.query(query)
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def paced(folder: Path, *extra: str, program: Sequence[str] = (COMMAND,)) -> subprocess.Popen[str]:
    """A simulated run that takes some seconds."""
    command = [
        *program,
        "start",
        str(EXAMPLE / "sp_nas.yml"),
        "--simulate",
        "--speed",
        "300",
        "--run-dir",
        "run",
        *extra,
    ]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(condition: Callable[[], object], timeout_s: float = 30) -> None:
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


def is_gone(process: int) -> bool:
    """Whether it has ended, even if nobody has asked yet how."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def only_child(process: int) -> int:
    children = Path(f"/proc/{process}/task/{process}/children")
    wait_for(lambda: children.read_text().split())
    return int(children.read_text())


def has_begun(run: Path) -> bool:
    try:
        with open_snapshot(run / "lineage.duckdb") as store:
            return next(store.read(after_seq=4), None) is not None
    except StoreError:
        return False


def offered(run: Path) -> dict[str, Any]:
    try:
        return json.loads((run / "endpoint.json").read_text())
    except OSError:
        return {}
