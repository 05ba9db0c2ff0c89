"""Checkpoints: content-addressed safetensors files that carry the code of their network.

A checkpoint is ``<sha256 of the file>.safetensors``, complete or absent: it is written under another name, flushed to
the disk and renamed. Never pickle. This module must not know what the tensors are for.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainers.errors import CheckpointError, LostCheckpoint, NoRoomError
from trainers.faults import is_no_room
from trainers.protocol import NetworkRef


def save(folder: Path, state: Mapping[str, Tensor], network: NetworkRef, kind: str) -> str:
    """Write `state` and return its sha256; the same tensors of the same network give the same file.

    Args:
        folder: created if missing.
        state: tensors by name, on any device; views and shared tensors are stored as copies of their own.
        network: recorded in the file, so that it can be rebuilt from the file alone.
        kind: what the tensors are, for example ``detector`` or ``backbone``.

    Raises:
        NoRoomError: the disk is full.
        CheckpointError: the folder can't be written.
    """
    tensors = {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in state.items()
    }
    # one entry: safetensors writes several in random order, and equal content has to have equal bytes
    description = network.model_dump(mode="json", exclude={"checkpoint"}) | {"kind": kind}
    metadata = {"network": json.dumps(description, sort_keys=True)}
    partial = folder / f".{uuid4().hex}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial, metadata)
        with partial.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        partial.replace(path(folder, sha256))
        _sync_folder(folder)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        kind = NoRoomError if is_no_room(error) else CheckpointError
        raise kind(
            f"writing a checkpoint of {network.candidate_id} to {folder}: {error}; "
            "check what lies there, space and permissions"
        ) from error
    return sha256


def load(folder: Path, sha256: str) -> tuple[dict[str, Tensor], NetworkRef]:
    """Tensors (on the CPU) and network of a checkpoint.

    Raises:
        LostCheckpoint: there is no such file, or its content is not what its name says.
        CheckpointError: it was not written by `save`.
    """
    file = path(folder, sha256)
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for
            raise OSError(errno.EINVAL, "no regular file")
        with file.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise LostCheckpoint(f"reading checkpoint {file}: {error}", sha256) from error
    if found != sha256:
        raise LostCheckpoint(f"checkpoint {file} is damaged: its content has sha256 {found}", sha256)
    try:
        with safe_open(file, framework="pt") as content:
            description = json.loads((content.metadata() or {})["network"])
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 (not a mapping)
        description.pop("kind")
        return tensors, NetworkRef(**description, checkpoint=sha256)
    except (SafetensorError, LookupError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise CheckpointError(
            f"{file} does not say which network it holds ({error!r}); expected a file written by this program"
        ) from error


def path(folder: Path, sha256: str) -> Path:
    """Where a checkpoint lies."""
    return folder / f"{sha256}.safetensors"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
