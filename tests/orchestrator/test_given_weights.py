"""A file of weights becomes the network that a run is given."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from elsewhere import given, starting_from, the_one

from lineage.events import (
    NetworkGiven,
)
from orchestrator.errors import ConfigError

WEIGHTS = {"start": "r_1-2_0-0", "weights": "in/resnet.pth"}


class Answering:
    """In place of the process that reads weights: what it was asked, and what it says."""

    def __init__(self, stdout: str, returncode: int = 0, stderr: str = "") -> None:
        self.result = subprocess.CompletedProcess([], returncode, stdout, stderr)
        self.command: list[str] = []

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.command = command
        return self.result


def reading_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answering: Answering) -> list[NetworkGiven]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "resnet.pth").write_text("weights")
    monkeypatch.setattr("subprocess.run", answering)
    return given(starting_from(None, space=WEIGHTS), tmp_path)


def test_a_file_of_weights_is_read_by_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    answering = Answering("loading\n" + json.dumps({"ok": True, "checkpoint": "c" * 64}))
    (network,) = reading_weights(tmp_path, monkeypatch, answering)
    assert (network.source, network.code, network.checkpoint) == ("resnet.pth", "r_1-2_0-0", "c" * 64)
    file, folder = tmp_path / "in" / "resnet.pth", tmp_path / "new" / "checkpoints"
    assert answering.command[1:] == ["-P", "-m", "trainers.weights", str(file), "r_1-2_0-0", "16", str(folder)]


@pytest.mark.parametrize(
    ("answering", "expected"),
    [
        (
            Answering(json.dumps({"ok": False, "error": "layer4 is missing"})),
            "a.search_space.weights: layer4 is missing",
        ),
        (Answering("", 137, "x\nKilled"), r"ended its process \(exit code 137\): Killed"),
        (Answering("no JSON", 1), r"ended its process \(exit code 1\)"),
    ],
)
def test_weights_that_can_not_be_used_are_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answering: Answering, expected: str
):
    with pytest.raises(ConfigError, match=expected):
        reading_weights(tmp_path, monkeypatch, answering)


def test_weights_that_are_not_there_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"a.search_space.weights: .*in/resnet.pth does not exist"):
        given(starting_from(None, space=WEIGHTS), tmp_path)


def test_a_simulated_run_reads_no_weights_but_their_file_has_to_be_there(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"a\.search_space\.weights: .*resnet\.pth does not exist"):
        the_one(starting_from(None, space=WEIGHTS), tmp_path, simulate=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "resnet.pth").write_text("never read")
    network = the_one(starting_from(None, space=WEIGHTS), tmp_path, simulate=True)
    assert network.source == "resnet.pth"
    assert network.checkpoint is not None
