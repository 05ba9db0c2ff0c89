"""Trainings in the middle: all that one needs to go on after its last epoch as if it had never been interrupted.

One file a job, ``checkpoints/<job_id>.<sha256 of the file>.unfinished``, in the safetensors format: tensors by name, and in
the metadata JSON that says where in the state they belong. Never pickle. A file is complete or absent; one that is damaged,
or of a job or template that is not the same in everything but the attempt, is removed. It stays until the end of the job is
recorded, which is not known here. This module must not know what is trained.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import logging
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainers.channel import Channel
from trainers.errors import CheckpointError, NoRoomError, Stopped
from trainers.faults import is_no_room
from trainers.protocol import Job, unfinished

DAMAGES = (OSError, SafetensorError, LookupError, TypeError, AttributeError, AssertionError, RecursionError, ValueError)

log = logging.getLogger(__name__)


class Unfinished:
    """What is kept of one job. `restore` it before the training, `keep` it after an epoch."""

    def __init__(self, folder: Path, job: Job, template: Config) -> None:
        self._folder, self._job_id = folder, job.job_id
        rest = json.dumps(template.to_dict(), sort_keys=True, default=lambda value: type(value).__name__)
        self._job = job.model_dump_json(exclude={"attempt"}) + hashlib.sha256(rest.encode()).hexdigest()

    def restore(self, state: Callable[[], dict[str, Any]], put: Callable[[dict[str, Any]], None]) -> None:
        """Put a training where it was kept last. If it can't be put there, it is put back, and begins anew."""
        if (kept := self.load()) is None:
            return
        as_it_begins = copy.deepcopy(state())
        try:
            put(kept)
            log.info("goes on after epoch %s", kept["epoch"])
        except Exception as error:
            log.warning("what was kept of %s does not fit (%s): it begins anew", self._job_id, error)
            self.remove()
            put(as_it_begins)

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None: there is none that can be used."""
        for file in self._files():
            try:
                with file.open("rb") as stream:
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
                with safe_open(file, framework="pt") as content:
                    metadata = content.metadata() or {}
                    if found in file.name and metadata.get("job") == self._job:
                        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
                        state = _restored(json.loads(metadata["state"]), tensors)
                        assert isinstance(state, dict)
                        return state
            except DAMAGES as error:
                log.warning("%s can't be used (%s): the training begins anew", file, error)
        self.remove()
        return None

    def keep(self, state: Mapping[str, Any], channel: Channel, is_last: bool) -> None:
        """Save the state after an epoch, as soon as there is room; `is_last`: nothing is left but to finish.

        Raises:
            Stopped: the training is to stop here.
            CheckpointError: the folder can't be written.
        """
        channel.kept(lambda: self.save(state))
        if channel.stopping() and not is_last:
            raise Stopped(f"{self._job_id} was asked to stop; its last epoch is kept")

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep a state of nested dicts, lists, tensors and JSON values; the one before it is removed.

        Raises:
            NoRoomError: the disk is full.
            CheckpointError: the folder can't be written.
        """
        tensors: dict[str, Tensor] = {}
        metadata = {"job": self._job, "state": json.dumps(_flat(state, tensors))}
        partial = self._folder / f".{self._job_id}.partial"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            save_file(tensors, partial, metadata)
            with partial.open("rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                os.fsync(stream.fileno())
            before = self._files()
            partial.replace(self._folder / f"{self._job_id}.{sha256}.unfinished")
            for file in before:
                if sha256 not in file.name:
                    file.unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            kind = NoRoomError if is_no_room(error) else CheckpointError
            raise kind(f"keeping the state of {self._job_id} in {self._folder}: {error}") from error

    def remove(self) -> None:
        for file in self._files():
            file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        found = sorted(self._folder.glob(unfinished(self._job_id)))
        return [file for file in found if file.is_file()]  # a pipe would be waited for


def random_state(device: torch.device) -> dict[str, Any]:
    """States of all generators that a training draws from."""
    kind, keys, *rest = np.random.get_state()
    return {
        "python": list(random.getstate()),
        "numpy": [kind, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Let all generators go on from a state."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)


def _flat(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON for a state, whose tensors go into `tensors`; a dict becomes a list of pairs, for keys that are no strings."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[key, _flat(one, tensors)] for key, one in value.items()]}
    if isinstance(value, tuple | list):
        return [_flat(one, tensors) for one in value]
    return value


def _restored(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_restored(one, tensors) for one in value]
    if isinstance(value, dict):
        if "tensor" in value:
            return tensors[value["tensor"]]
        return {key: _restored(one, tensors) for key, one in value["dict"]}
    return value
