"""Which fault an error is that ended a training: who must act is told by `lineage.events.JobFailed`.

This module must not import torch by itself: a worker is asked for signs of life before that is done.
"""

from __future__ import annotations

import errno
import re

from lineage.events import Fault
from trainers.errors import (
    CheckpointError,
    DataError,
    NonFiniteError,
    PromiseError,
    TemplateError,
    TrainerError,
)

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_MEMORY = re.compile(
    "DefaultCPUAllocator: (can't allocate|not enough) memory|std::bad_alloc|Cannot allocate memory|Insufficient memory"
    "|CUDA error: out of memory|CUDNN_STATUS_ALLOC_FAILED|CUBLAS_STATUS_ALLOC_FAILED"
)
LOADER = re.compile(r"Caught DataError in DataLoader worker process.*DataError: ", re.DOTALL)


def fault_of(error: BaseException) -> Fault:
    """Who must act on an error that ended a job."""
    import torch

    if is_no_memory(error):
        return "out_of_memory"
    if isinstance(error, torch.AcceleratorError) or "CUDA error" in str(error):
        return "lost_device"
    if isinstance(error, NonFiniteError):
        return "non_finite"
    if is_no_room(error):
        return "disk_full"
    if isinstance(error, CheckpointError):
        return "checkpoint"
    if isinstance(error, PromiseError):
        return "broken_promise"
    if isinstance(error, DataError | TemplateError | FileNotFoundError):
        return "data"
    return "bug"


def message_of(error: BaseException) -> str:
    """What a job's failure says of its error."""
    if isinstance(error, TrainerError):
        return LOADER.sub("", str(error)).strip()
    return f"{type(error).__name__}: {error}"


def is_no_memory(error: BaseException) -> bool:
    """Whether memory was short, the device's or the machine's."""
    name, text = type(error).__name__, str(error)
    return isinstance(error, MemoryError) or name == "OutOfMemoryError" or NO_MEMORY.search(text) is not None


def is_no_room(error: BaseException) -> bool:
    """Whether the disk, or the user's share of it, is full; safetensors says so in words alone."""
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return True
    return any(re.search(rf"\(os error {number}\)", str(error)) for number in NO_ROOM)
