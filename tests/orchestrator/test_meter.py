"""What is said of devices: how busy a worker was, its memory, and of a CUDA device what NVML knows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest

from orchestrator.devices import environment
from orchestrator.live.devices import Meter

BUSY = "print('ready', flush=True)\nwhile True: pass"
IDLE = "print('ready', flush=True)\nimport time\ntime.sleep(60)"


@pytest.fixture
def worker() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def start(program: str, device: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=environment(device), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_a_busy_worker_an_idle_one_and_no_other_process(worker: list[subprocess.Popen[str]]) -> None:
    worker += [start(BUSY, "cpu:0"), start(IDLE, "cpu:1")]
    other = subprocess.Popen([sys.executable, "-c", IDLE], stdout=subprocess.PIPE, text=True)
    worker.append(other)
    meter = Meter(os.getpid())
    meter.read()
    time.sleep(0.5)
    busy, idle = meter.read().devices
    assert (busy.device, idle.device) == ("cpu:0", "cpu:1")
    assert busy.busy is not None
    assert idle.busy is not None
    assert busy.busy > 0.2 > idle.busy
    assert idle.memory_bytes is not None
    assert idle.memory_bytes > 2**20


def test_a_search_that_is_stopped_by_a_signal_is_suspended(worker: list[subprocess.Popen[str]]) -> None:
    worker.append(start(IDLE, "cpu:0"))
    meter = Meter(worker[0].pid)
    assert not meter.read().suspended
    worker[0].send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, worker[0].pid, os.WSTOPPED | os.WNOWAIT)
    assert meter.read().suspended
    worker[0].send_signal(signal.SIGCONT)
    os.waitid(os.P_PID, worker[0].pid, os.WCONTINUED | os.WNOWAIT)
    assert not meter.read().suspended


def test_a_worker_that_ended_is_left_out(worker: list[subprocess.Popen[str]]) -> None:
    worker.append(start(IDLE, "cpu:0"))
    meter = Meter(os.getpid())
    assert [one.device for one in meter.read().devices] == ["cpu:0"]
    worker[0].kill()
    worker[0].wait()
    assert meter.read().devices == ()


@pytest.mark.parametrize(("visible", "asked"), [(None, 1), ("3,5", 5), ("GPU-a, GPU-b", "GPU-b")])
def test_a_cuda_device_is_the_one_that_is_visible_by_that_number(
    worker: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, visible: str | None, asked: int | str
) -> None:
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: uuid)
    monkeypatch.setattr(
        pynvml, "nvmlDeviceGetUtilizationRates", lambda handle: SimpleNamespace(gpu=87 if handle == asked else 0)
    )
    monkeypatch.setattr(pynvml, "nvmlDeviceGetMemoryInfo", lambda handle: SimpleNamespace(used=3, total=80))
    worker.append(start(IDLE, "cuda:1"))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (use,) = Meter(os.getpid()).read().devices
    assert (use.device, use.busy, use.memory_bytes, use.memory_total_bytes) == ("cuda:1", 0.87, 3, 80)


def test_where_there_is_no_nvml_a_cuda_device_has_its_workers_memory(worker: list[subprocess.Popen[str]]) -> None:
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has NVML")
    worker.append(start(IDLE, "cuda:0"))
    (use,) = Meter(os.getpid()).read().devices
    assert use.memory_total_bytes is None
    assert use.memory_bytes
