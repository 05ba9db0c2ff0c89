"""A run folder copied while the run is live: the copy is a prefix of the run that can be checked and resumed elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from simulated import COMMAND, DECISIONS, EXAMPLE, rows

LOG = "SELECT seq, kind, payload FROM events ORDER BY seq"


def call(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def whole_folder(run: Path, copy: Path) -> None:
    subprocess.run(["cp", "-r", str(run), str(copy)], check=True)


def files(*names: str) -> Callable[[Path, Path], None]:
    def copying(run: Path, copy: Path) -> None:
        copy.mkdir()
        for name in names:
            shutil.copyfile(run / name, copy / name)

    return copying


COPIES = {
    "whole folder": whole_folder,
    "database first": files("lineage.duckdb", "lineage.duckdb.wal"),
    "write-ahead log first": files("lineage.duckdb.wal", "lineage.duckdb"),
}


def test_a_copy_of_a_live_run_is_a_prefix_of_it_and_is_resumed_from_its_own_path(tmp_path: Path) -> None:
    """While the run writes as fast as it can: each copy is checked, then resumed, then compared with the run."""
    config = (EXAMPLE / "sp_nas.yml").read_text().replace("max_sample: 9", "max_sample: 40")
    (tmp_path / "long.yml").write_text(config)
    start = [COMMAND, "start", "long.yml", "--simulate", "--run-dir", "run"]
    with subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as live:
        assert live.stdout is not None
        while "s-0003 AP" not in live.stdout.readline():
            assert live.poll() is None
        for number, copying in enumerate(COPIES.values()):
            copying(tmp_path / "run", tmp_path / f"copy {number}")
        assert live.poll() is None, "the run was over before it was copied"
        facts = json.loads(call(tmp_path, "status", "copy 0", "--json").stdout)
        assert (facts["status"], facts["process"]) == ("crashed", None)
        live.stdout.read()
    assert live.returncode == 0
    log, decisions = rows(tmp_path / "run", LOG), rows(tmp_path / "run", DECISIONS)
    for number, name in enumerate(COPIES):
        copy = tmp_path / f"copy {number}"
        elsewhere = tmp_path / "elsewhere" / name
        elsewhere.parent.mkdir(exist_ok=True)
        copy.rename(elsewhere)
        held = rows(elsewhere, LOG)
        assert held == log[: len(held)], name
        assert 0 < len(held) < len(log), name
        assert call(tmp_path, "fsck", elsewhere).returncode == 0
        resumed = call(elsewhere.parent, "resume", elsewhere.name)
        assert resumed.returncode == 0, resumed.stderr
        assert rows(elsewhere, DECISIONS) == decisions, name
