"""A command line in a folder of its own, and a finished run in it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from simulated import COMMAND, EXAMPLE, Spnas


@pytest.fixture
def spnas(tmp_path: Path) -> Spnas:
    """Run the command in an empty folder; without a terminal, as a script would."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )

    return run


@pytest.fixture
def finished(spnas: Spnas, tmp_path: Path) -> Path:
    """A finished simulated run."""
    done = spnas("start", EXAMPLE / "sp_nas.yml", "--simulate", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    return tmp_path / "run"
