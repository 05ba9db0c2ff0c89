"""A reignition asked for by hand: of a live run, of one that was stopped, and where none can be had."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lineage.snapshot import open_snapshot
from orchestrator.requests import user_name

COMMAND = str(Path(sys.executable).with_name("spnas-orch"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "sp_nas.yml"
TRIGGERS = "SELECT payload->>'trigger', payload->>'candidate_id' FROM events WHERE kind = 'ReignitionProposed'"


def started(folder: Path, speed: int, reignite: str = "reignite.n_stuck=99") -> subprocess.Popen[str]:
    """A run of serial growth alone that has trained its second network."""
    settings = ("pipeline=[serial]", f"serial.search_algorithm.{reignite}")
    options = ["--simulate", "--speed", str(speed), "--no-tui", "--run-dir", "run"]
    command = [COMMAND, "start", str(EXAMPLE), *options, *(part for one in settings for part in ("--set", one))]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "s-0002 AP" not in process.stdout.readline():
        assert process.poll() is None
    return process


def spnas(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


def triggers(folder: Path) -> list[tuple[str, str]]:
    with open_snapshot(folder / "run" / "lineage.duckdb") as store:
        return [tuple(row) for row in store.query(TRIGGERS).rows]


def test_a_live_run_reignites_its_best_network_when_asked_to_and_goes_on(tmp_path: Path):
    process = started(tmp_path, speed=50)
    asked = spnas(tmp_path, "reignite", "run")
    assert asked.returncode == 0, asked.stderr
    assert re.fullmatch(r"event \d+: reignition requested by \S+@\S+\n", asked.stdout)
    story, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "by reignite" in story
    assert [trigger for trigger, _ in triggers(tmp_path)] == ["request"]


def test_a_stopped_run_reignites_first_when_it_goes_on(tmp_path: Path):
    process = started(tmp_path, speed=30)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    asked = spnas(tmp_path, "reignite", "run")
    assert asked.stdout.startswith("recorded")
    assert "spnas-orch resume run" in asked.stdout
    assert "one is requested already" in spnas(tmp_path, "reignite", "run").stderr
    assert spnas(tmp_path, "resume", "run", "--no-tui").returncode == 0
    assert [trigger for trigger, _ in triggers(tmp_path)] == ["request"]


def test_a_finished_run_can_not_be_reignited(tmp_path: Path):
    spnas(tmp_path, "start", str(EXAMPLE), "--simulate", "--no-tui", "--run-dir", "run")
    refused = spnas(tmp_path, "reignite", "run")
    assert refused.returncode == 2
    assert refused.stderr == "error: run run does not reignite: it is over\n"


def test_a_run_without_images_to_classify_says_which_section_it_lacks(tmp_path: Path):
    process = started(tmp_path, speed=30, reignite="reignite=")
    refused = spnas(tmp_path, "reignite", "run")
    process.kill()
    process.communicate()
    assert refused.returncode == 2
    assert "has no reignite section" in refused.stderr


@pytest.mark.parametrize("name", ["\udcff", "root\n"])
def test_a_name_that_no_log_or_line_can_hold_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("LOGNAME", name)
    assert user_name() == f"uid {os.getuid()}"
