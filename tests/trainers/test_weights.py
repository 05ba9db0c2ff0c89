"""A file of torchvision's weights becomes a checkpoint to inherit from, or is refused; it never runs anything."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from lineage.architecture import Genotype
from trainers import checkpoints
from trainers.backbone import SpNet, from_torchvision, state_of
from trainers.errors import WeightsError
from trainers.weights import TORCHVISION, take_in

ODDITIES = (
    *({"state_dict": {}}, {"epoch": 3}, [], {}, {1: torch.zeros(1)}),
    *({"conv1.weight": odd} for odd in (torch.eye(2, device="meta"), torch.eye(2) * 1j)),
)
RESNET18, RESNET34, RESNET50 = TORCHVISION["resnet18"], TORCHVISION["resnet34"], TORCHVISION["resnet50"]


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """As torchvision publishes a ResNet-18."""
    torch.manual_seed(0)
    return torchvision.models.resnet18(weights=None).state_dict()


@pytest.fixture
def file(state: dict[str, Tensor], tmp_path: Path) -> Path:
    torch.save(state, tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


def ask(*arguments: object) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "trainers.weights", *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    return json.loads(line)


class Hostile:
    """Unpickled the ordinary way, it leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.trace),)


def test_asked_as_a_process_it_answers_with_the_checkpoint(
    file: Path, state: dict[str, Tensor], tmp_path: Path
) -> None:
    answer = ask(file, RESNET18, 64, tmp_path / "checkpoints")
    assert answer["ok"] is True
    saved, network = checkpoints.load(tmp_path / "checkpoints", answer["checkpoint"])
    assert (network.code, network.base_width) == (RESNET18, 64)
    assert tuple(map(len, network.block_ids)) == tuple(map(len, Genotype.parse(RESNET18).stages))
    assert all(name.startswith("backbone.") for name in saved)
    SpNet(RESNET18).load_state_dict(state_of(saved))
    assert all(torch.equal(state_of(saved)[name], tensor) for name, tensor in from_torchvision(state).items())


def test_asked_as_a_process_it_answers_with_what_is_wrong(file: Path, tmp_path: Path) -> None:
    answer = ask(file, RESNET50, 64, tmp_path / "checkpoints")
    assert answer == {"ok": False, "error": answer["error"]}
    assert "it lacks layer1.0.downsample.0.weight; these are the weights of torchvision's resnet18" in answer["error"]
    assert not (tmp_path / "checkpoints").exists()


def test_safetensors_and_both_formats_of_pth_give_the_same_tensors(
    file: Path, state: dict[str, Tensor], tmp_path: Path
) -> None:
    old, other = tmp_path / "old/resnet18.pth", tmp_path / "resnet18.safetensors"
    old.parent.mkdir()
    torch.save(state, old, _use_new_zipfile_serialization=False)
    save_file(state, other)
    assert len({take_in(path, RESNET18, 64, tmp_path / "checkpoints") for path in (file, old, other)}) == 1


def test_files_without_counters_of_batch_norm_are_whole(file: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({name: tensor for name, tensor in state.items() if "num_batches" not in name}, file)
    sha256 = take_in(file, RESNET18, 64, tmp_path)
    SpNet(RESNET18).load_state_dict(state_of(checkpoints.load(tmp_path, sha256)[0]))


def test_half_precision_is_read_as_single(file: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}, file)
    saved, _ = checkpoints.load(tmp_path, take_in(file, RESNET18, 64, tmp_path))
    assert saved["backbone.conv1.weight"].dtype == torch.float32


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_network_that_is_advised_is_torchvisions(name: str) -> None:
    with torch.device("meta"):
        theirs = from_torchvision(torchvision.models.get_model(name, weights=None).state_dict())
        ours = SpNet(TORCHVISION[name]).state_dict()
    assert {key: tensor.shape for key, tensor in ours.items()} == {key: tensor.shape for key, tensor in theirs.items()}


@pytest.mark.parametrize(
    ("code", "base_width", "message"),
    [
        (RESNET34, 64, r"lacks layer1\.2\.conv1\.weight; these are .* resnet18: its code is b_11-21-21-21_0-0-0-0"),
        ("b_11-21-21-2_0-0-0-0", 64, r"it has layer4\.1\.conv1\.weight, which that network has not; .* resnet18"),
        (RESNET18, 32, r"conv1\.weight is \(64, 3, 7, 7\), expected \(32, 3, 7, 7\); .* resnet18: .* base width 64"),
        ("b_11-21-21-21_1-0-0-0", 64, r"lacks branches\.1\.0\..*; .* resnet18"),
        ("resnet18", 64, "no genotype code"),
    ],
)
def test_weights_of_another_network_are_refused_with_the_code_that_fits(
    file: Path, tmp_path: Path, code: str, base_width: int, message: str
) -> None:
    with pytest.raises(WeightsError, match=message):
        take_in(file, code, base_width, tmp_path)


def test_weights_of_no_network_we_know_name_those_we_do(file: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"features.0.weight": state["conv1.weight"]}, file)
    with pytest.raises(WeightsError, match=r"it lacks conv1\.weight; .*resnet18, resnet34, .*name another file"):
        take_in(file, RESNET18, 64, tmp_path)


def test_weights_that_are_no_numbers_are_refused(file: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state | {"layer2.0.bn1.weight": torch.full((128,), torch.nan)}, file)
    with pytest.raises(WeightsError, match=r"layer2\.0\.bn1\.weight holds values that are infinite or not a number"):
        take_in(file, RESNET18, 64, tmp_path)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_that_would_run_code_is_refused_and_runs_nothing(
    state: dict[str, Tensor], tmp_path: Path, zipped: bool
) -> None:
    file, trace = tmp_path / "resnet18.pth", tmp_path / "trace"
    torch.save(state | {"layer5": Hostile(trace)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"asks for \w+\.mkdir, which was not run; a state dict holds tensors"):
        take_in(file, RESNET18, 64, tmp_path)
    assert not trace.exists()
    torch.load(file, weights_only=False)
    assert trace.exists(), "the file was harmless, the test shows nothing"


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's, of files that it did not write
def test_bare_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    file, trace = tmp_path / "resnet18.pth", tmp_path / "trace"
    file.write_bytes(pickle.dumps(Hostile(trace)))
    with pytest.raises(WeightsError, match="can't be read as weights"):
        take_in(file, RESNET18, 64, tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("resnet18.pth", b"", "can't be read as weights"),
        ("resnet18.pth", b"\x80\x02}.", "can't be read as weights"),
        ("resnet18.pth", b"<html>", "can't be read as weights"),
        ("resnet18.safetensors", b"<html><html><html>", "can't be read as weights"),
        ("resnet18.onnx", b"", r"expected .*\.pth or \.safetensors"),
    ],
)
def test_file_that_holds_no_weights_is_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        take_in(tmp_path / name, RESNET18, 64, tmp_path)


@pytest.mark.parametrize("wrapped", ODDITIES)
def test_what_is_not_tensors_by_name_is_refused(file: Path, tmp_path: Path, wrapped: object) -> None:
    torch.save(wrapped, file)
    with pytest.raises(WeightsError, match=r"holds .*expected a state dict"):
        take_in(file, RESNET18, 64, tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"resnet18\.pth: no such file"):
        take_in(tmp_path / "resnet18.pth", RESNET18, 64, tmp_path)
