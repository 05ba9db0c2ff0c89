"""What the devices of a run do now, as seen from outside: worker processes by psutil, CUDA devices by NVML."""

from __future__ import annotations

import contextlib
import os

import psutil
import pynvml

from orchestrator.devices import DEVICE
from orchestrator.live.messages import Use, Uses


class Meter:
    """Of the workers that process `owner` started; two readings apart from each other tell how busy they were between."""

    def __init__(self, owner: int) -> None:
        self._owner = psutil.Process(owner)
        self._workers: dict[int, tuple[str, psutil.Process]] = {}

    def read(self) -> Uses:
        """What is known of each device that has a worker."""
        self._find()
        found = []
        for device, worker in sorted(self._workers.values(), key=lambda one: one[0]):
            with contextlib.suppress(psutil.Error):
                found.append(_gpu(device) or _cpu(device, worker))
        return Uses(devices=tuple(found), suspended=self._is_suspended())

    def _is_suspended(self) -> bool:
        with contextlib.suppress(psutil.Error):
            return bool(self._owner.status() == psutil.STATUS_STOPPED)
        return False

    def _find(self) -> None:
        with contextlib.suppress(psutil.Error):
            alive = {child.pid: child for child in self._owner.children()}
            self._workers = {pid: one for pid, one in self._workers.items() if pid in alive}
            for pid in alive.keys() - self._workers.keys():
                with contextlib.suppress(psutil.Error):
                    device = alive[pid].environ().get(DEVICE)
                    if device is not None:
                        self._workers[pid] = device, alive[pid]


def _cpu(device: str, worker: psutil.Process) -> Use:
    """A core, and the memory of its worker; processes that read data for it are left out."""
    busy = worker.cpu_percent() / 100
    return Use(device=device, busy=min(1.0, busy), memory_bytes=worker.memory_info().rss)


def _gpu(device: str) -> Use | None:
    """A CUDA device; None where NVML does not know it."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return None
    with contextlib.suppress(pynvml.NVMLError, ValueError, IndexError):
        pynvml.nvmlInit()
        handle = _handle(int(number))
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return Use(
            device=device,
            busy=pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            memory_bytes=int(memory.used),
            memory_total_bytes=int(memory.total),
        )
    return None


def _handle(number: int) -> object:
    """By its number among those that CUDA_VISIBLE_DEVICES names, by number or UUID."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return pynvml.nvmlDeviceGetHandleByIndex(number)
    name = [one.strip() for one in visible.split(",")][number]
    return pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else pynvml.nvmlDeviceGetHandleByUUID(name)
