"""Device slots, found without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.devices import environment, find_devices


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose programs are those in a folder that begins empty."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path


def with_gpus(machine: Path) -> None:
    program = machine / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: H100 (UUID: x)'\necho 'GPU 1: H100 (UUID: y)'\n")
    program.chmod(0o755)


def test_without_a_gpu_there_are_as_many_cpu_slots_as_asked_for(machine: Path):
    assert find_devices(3) == ["cpu:0", "cpu:1", "cpu:2"]
    assert find_devices(None)[0] == "cpu:0"


def test_every_gpu_is_a_slot(machine: Path):
    with_gpus(machine)
    assert find_devices(3) == ["cuda:0", "cuda:1"]


@pytest.mark.parametrize(("visible", "devices"), [("1", ["cuda:0"]), ("0,1", ["cuda:0", "cuda:1"]), ("", ["cpu:0"])])
def test_the_user_may_narrow_the_gpus(machine: Path, monkeypatch: pytest.MonkeyPatch, visible: str, devices: list[str]):
    with_gpus(machine)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert find_devices(1) == devices


def test_a_cpu_worker_gets_one_thread_and_no_gpu():
    assert environment("cpu:1")["OMP_NUM_THREADS"] == "1"
    assert environment("cpu:1")["CUDA_VISIBLE_DEVICES"] == ""
