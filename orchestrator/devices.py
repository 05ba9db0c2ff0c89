"""Device slots: CUDA GPUs where there are any, else CPU workers of one thread each. Found without torch."""

from __future__ import annotations

import os
import subprocess

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DEVICE = "SPNAS_DEVICE"  # names a worker's device in its environment
WORKER_BYTES = 2 * 2**30  # what a CPU worker with a small detector needs at most


def find_devices(cpu_workers: int | None) -> list[str]:
    """Slots such as ``cuda:0`` or ``cpu:0``; at least one."""
    gpus = _visible_gpus()
    if gpus:
        return [f"cuda:{index}" for index in gpus]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fitting = max(1, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // WORKER_BYTES)
    return [f"cpu:{index}" for index in range(cpu_workers or min(cores, fitting))]


def environment(device: str) -> dict[str, str]:
    """Environment of a worker on `device`: one thread and no GPU for a CPU slot; a GPU slot is named by the device."""
    if device.startswith("cpu"):
        return os.environ | {DEVICE: device, "CUDA_VISIBLE_DEVICES": ""} | dict.fromkeys(THREADS, "1")
    return os.environ | {DEVICE: device}


def _visible_gpus() -> list[int]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return list(range(len([name for name in visible.split(",") if name.strip() not in ("", "-1")])))
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return list(range(sum(line.startswith("GPU ") for line in listed.splitlines())))
