"""A checkpoint is what its name says or an error, and it knows its network."""

import hashlib
import json
import os
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from trainers import checkpoints
from trainers.errors import CheckpointError, LostCheckpoint
from trainers.protocol import NetworkRef

NETWORK = NetworkRef(
    candidate_id="s-0003", code="b_11-2_0-1", block_ids=(("s-0001.1", "s-0003.1"), ("s-0001.2",)), base_width=16
)


def state() -> dict[str, torch.Tensor]:
    weight = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    return {
        "weight": weight,
        "shared": weight,
        "row": weight[1],
        "transposed": weight.T,
        "expanded": torch.ones(1, 3).expand(4, 3),
        "channels_last": torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).to(
            memory_format=torch.channels_last
        ),
        "scalar": torch.tensor(2.5),
        "counter": torch.tensor(7),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 3),
        "trained": torch.nn.Parameter(torch.ones(2)),
    }


def test_tensors_and_network_come_back_as_they_were(tmp_path):
    sha256 = checkpoints.save(tmp_path / "checkpoints", state(), NETWORK, "detector")
    tensors, network = checkpoints.load(tmp_path / "checkpoints", sha256)
    assert network == NETWORK.model_copy(update={"checkpoint": sha256})
    assert tensors.keys() == state().keys()
    for name, tensor in state().items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_a_folder_holds_one_complete_file_however_often_it_is_saved(tmp_path):
    names = {checkpoints.save(tmp_path, state(), NETWORK, "detector") for _ in range(5)}
    assert len(names) == 1
    assert [file.name for file in tmp_path.iterdir()] == [f"{names.pop()}.safetensors"]


def test_another_network_or_kind_is_another_file(tmp_path):
    other = NETWORK.model_copy(update={"candidate_id": "s-0004"})
    names = {
        checkpoints.save(tmp_path, state(), network, kind)
        for network, kind in [(NETWORK, "detector"), (NETWORK, "backbone"), (other, "detector")]
    }
    assert len(names) == 3


def test_the_file_alone_says_which_network_it_holds(tmp_path):
    file = checkpoints.path(tmp_path, checkpoints.save(tmp_path, state(), NETWORK, "backbone"))
    content = file.read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    described = json.loads(header["__metadata__"]["network"])
    assert described == {
        "candidate_id": "s-0003",
        "code": "b_11-2_0-1",
        "block_ids": [["s-0001.1", "s-0003.1"], ["s-0001.2"]],
        "base_width": 16,
        "kind": "backbone",
    }


def test_a_damaged_file_is_refused_and_the_error_says_what_was_found(tmp_path):
    sha256 = checkpoints.save(tmp_path, state(), NETWORK, "detector")
    file = checkpoints.path(tmp_path, sha256)
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged: its content has sha256 [0-9a-f]{64}"):
        checkpoints.load(tmp_path, sha256)


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"0000\.safetensors"):
        checkpoints.load(tmp_path, "0" * 64)


@pytest.mark.parametrize("metadata", [None, {"network": "{}"}, {"network": "no json"}])
def test_a_file_of_someone_elses_is_refused(tmp_path, metadata):
    foreign = tmp_path / "foreign"
    save_file({"weight": torch.zeros(2)}, foreign, metadata)
    sha256 = hashlib.sha256(foreign.read_bytes()).hexdigest()
    foreign.rename(checkpoints.path(tmp_path, sha256))
    with pytest.raises(CheckpointError, match="does not say which network"):
        checkpoints.load(tmp_path, sha256)


def test_a_folder_that_cant_be_written_is_an_error_and_leaves_nothing(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(CheckpointError, match="space and permissions"):
        checkpoints.save(blocked, state(), NETWORK, "detector")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_pipe_or_folder_in_place_of_a_checkpoint_is_a_lost_one_and_not_waited_for(tmp_path: Path) -> None:
    for make in (os.mkfifo, os.mkdir):
        sha256 = checkpoints.save(tmp_path, state(), NETWORK, "detector")
        file = checkpoints.path(tmp_path, sha256)
        file.unlink()
        make(file)
        with pytest.raises(LostCheckpoint, match="no regular file") as lost:
            checkpoints.load(tmp_path, sha256)
        assert lost.value.sha256 == sha256
        file.unlink() if file.is_fifo() else file.rmdir()
