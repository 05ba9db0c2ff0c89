"""What an installed wheel brings along."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_wheel_brings_the_example_the_migrations_and_the_style_sheet_along(tmp_path: Path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    assert (tmp_path / "site" / "tui" / "app.tcss").is_file()
    program = (
        "import sys, orchestrator; assert 'site' in orchestrator.__file__; from orchestrator.cli import main;"
        "sys.argv = ['spnas-orch', *sys.argv[1:]]; main()"
    )
    for arguments in (["init", "mine"], ["start", "mine/sp_nas.yml", "--simulate", "--run-dir", "run"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "faster_rcnn_r50_fpn_1x.py").read_text() == (
        ROOT / "examples" / "digits" / "faster_rcnn_r50_fpn_1x.py"
    ).read_text()
