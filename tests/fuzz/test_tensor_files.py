"""Files of tensors with any bytes: a checkpoint or weights are what they should be or an error, a training begins anew."""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import ODD_NUMBERS, VALUES, mutated, mutated_bytes, tries
from hypothesis import given
from hypothesis import strategies as st
from mmengine.config import Config
from torch import Tensor

from trainers import checkpoints, weights
from trainers.backbone import SpNet
from trainers.errors import CheckpointError, WeightsError
from trainers.protocol import DetectionJob, NetworkRef
from trainers.unfinished import Unfinished

CODE, WIDTH = "b_1_0", 8
NETWORK = NetworkRef(candidate_id="s-1", code=CODE, block_ids=(("s-1.1",),), base_width=WIDTH)
JOB = DetectionJob(job_id="j-s-0001", attempt=1, network=NETWORK, parent=None, epochs=3, seed=7)
STATE = {"weights": {"a": torch.arange(6.0)}, "optimizer": {0: [torch.tensor(3.0), 1, None]}, "epoch": 2}
NESTED = st.integers(100, 20_000).map(lambda depth: "[" * depth + "]" * depth)


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def whole(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def mutated_files(good: bytes, inner: str) -> st.SearchStrategy[bytes]:
    """With other bytes, with another header, with another claim of its length, or with another value in the metadata."""
    header, data = parts(good)
    described = json.loads(header["__metadata__"][inner])

    def with_inner(text: str) -> bytes:
        return whole(header | {"__metadata__": header["__metadata__"] | {inner: text}}, data)

    return (
        mutated_bytes(good)
        | mutated(header, VALUES | st.sampled_from([2**40, 2**62, [2**40], "F64"])).map(lambda one: whole(one, data))
        | st.sampled_from([0, 1, 7, 2**31, 2**40, 2**63, 2**64 - 1]).map(lambda n: struct.pack("<Q", n) + good[8:])
        | mutated(described).map(json.dumps).map(with_inner)
        | NESTED.map(with_inner)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tensors")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    place = tmp_path_factory.mktemp("good")
    return checkpoints.path(place, checkpoints.save(place, {"a": torch.arange(6.0)}, NETWORK, "detector")).read_bytes()


@tries(100)
@given(data=st.data())
def test_a_checkpoint_of_other_content_is_a_checkpoint_or_an_error(
    folder: Path, checkpoint: bytes, data: st.DataObject
):
    content = data.draw(mutated_files(checkpoint, "network"))
    sha256 = hashlib.sha256(content).hexdigest()
    file = checkpoints.path(folder, sha256)
    file.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        tensors, network = checkpoints.load(folder, sha256)
        assert network.checkpoint == sha256
        assert all(isinstance(tensor, Tensor) for tensor in tensors.values())
    file.unlink()


@tries(100)
@given(data=st.data())
def test_a_training_whose_kept_state_is_other_content_begins_anew(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    place = tmp_path_factory.mktemp("unfinished")
    Unfinished(place, JOB, Config({})).save(STATE)
    (good,) = place.iterdir()
    content = data.draw(mutated_files(good.read_bytes(), "state"))
    good.unlink()
    (place / f"{JOB.job_id}.{hashlib.sha256(content).hexdigest()}.unfinished").write_bytes(content)
    found = Unfinished(place, JOB, Config({})).load()
    assert found is None or isinstance(found, dict)
    assert found is not None or not list(place.iterdir())


def saved(folder: Path, suffix: str) -> bytes:
    state = {name: tensor for name, tensor in SpNet(CODE, WIDTH).state_dict().items() if tensor.dim()}
    torchvisions = {name.replace("stages.0", "layer1"): tensor.clone() for name, tensor in state.items()}
    file = folder / f"good{suffix}"
    write: Callable[..., None] = torch.save
    if suffix == ".safetensors":
        from safetensors.torch import save_file as write
    write(torchvisions, file)
    return file.read_bytes()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_other_content_are_those_weights_or_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
):
    monkeypatch.setattr(weights, "TORCHVISION", {})  # comparing with all of them takes a second
    good, file = saved(folder, suffix), folder / f"w{suffix}"
    file.write_bytes(good)
    weights.take_in(file, CODE, WIDTH, folder / "taken")

    @tries(100)
    @given(mutated_bytes(good, st.sampled_from([struct.pack("<Q", number) for number in (2**31, 2**40, 2**63)])))
    def check(content: bytes) -> None:
        file.write_bytes(content)
        with contextlib.suppress(WeightsError):
            weights.take_in(file, CODE, WIDTH, folder / "taken")

    check()


@tries(100)
@given(st.text(max_size=30) | st.sampled_from(ODD_NUMBERS).map(str) | st.just("../../etc/passwd"))
def test_no_id_in_a_message_to_a_worker_leads_out_of_the_run_folder(text: str):
    for change in ({"job_id": text}, {"backbone_checkpoint": text}, {"network": {"checkpoint": text}}):
        fields = JOB.model_dump() | {"backbone_checkpoint": None}
        (key, value) = next(iter(change.items()))
        fields[key] = fields[key] | value if isinstance(value, dict) else value
        with contextlib.suppress(ValueError):
            job = DetectionJob.model_validate(fields)
            for name in (job.job_id, job.backbone_checkpoint, job.network.checkpoint):
                assert name is None or (name.isascii() and (Path("/run") / name).resolve().parent == Path("/run"))
