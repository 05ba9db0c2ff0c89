"""Weights from outside: a state dict of torchvision's ResNets and ResNeXts becomes a checkpoint that can be inherited from.

    python -P -m trainers.weights FILE CODE BASE_WIDTH CHECKPOINTS_FOLDER

answers with one line, ``{"ok": true, "checkpoint": "<sha256>"}`` or ``{"ok": false, "error": "..."}``, and exit code 0.
A ``.pth`` file is a pickle, and torchvision publishes nothing else: it is read by torch's restricted unpickler, which
makes tensors and plain containers and can't run code. This module must not know searches or detectors.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lineage.architecture import Genotype, GenotypeError
from lineage.morphism import Blueprint
from trainers import checkpoints
from trainers.backbone import PREFIX, SpNet, from_torchvision
from trainers.errors import TrainerError, WeightsError
from trainers.parent import end_with_parent
from trainers.protocol import NetworkRef

TORCHVISION = {
    "resnet18": "b_11-21-21-21_0-0-0-0",
    "resnet34": "b_111-2111-211111-211_0-0-0-0",
    "resnet50": "r_111-2111-211111-211_0-0-0-0",
    "resnet101": f"r_111-2111-2{'1' * 22}-211_0-0-0-0",
    "resnet152": f"r_111-2{'1' * 7}-2{'1' * 35}-211_0-0-0-0",
    "resnext50_32x4d": "x(32x4d)_111-2111-211111-211_0-0-0-0",
    "resnext101_32x8d": f"x(32x8d)_111-2111-2{'1' * 22}-211_0-0-0-0",
    "resnext101_64x4d": f"x(64x4d)_111-2111-2{'1' * 22}-211_0-0-0-0",
}
TORCHVISION_WIDTH = 64


def take_in(file: Path, code: str, base_width: int, folder: Path) -> str:
    """Save the backbone of a file of weights in the folder of checkpoints, and return its sha256.

    Args:
        file: ``.pth`` or ``.safetensors``, tensors under torchvision's names; a classifier ``fc`` is left out.
        code: genotype whose weights they have to be.

    Raises:
        WeightsError: the file can't be read, or is not of that network.
        CheckpointError: the folder can't be written.
    """
    try:
        genotype = Genotype.parse(code)
    except GenotypeError as error:
        raise WeightsError(str(error)) from error
    state, expected = from_torchvision(_read(file)), _shapes(code, base_width)
    if misfit := _misfit(state, expected):
        raise WeightsError(f"{file} does not hold {code} at base width {base_width}: {misfit}; {_advice(state)}")
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{file}: {_theirs(name)} holds values that are infinite or not a number")
    tensors = {PREFIX + name: state[name].float() if name in state else torch.tensor(0) for name in expected}
    network = NetworkRef(
        candidate_id=file.stem,
        code=genotype.code,
        block_ids=Blueprint.seed(genotype, file.stem).block_ids,
        base_width=base_width,
    )
    return checkpoints.save(folder, tensors, network, "backbone")


def _read(file: Path) -> dict[str, Tensor]:
    """The tensors of a file by name; counters of batch norm, which older files lack, are left out."""
    if not file.is_file():
        raise WeightsError(f"{file}: no such file of weights")
    if file.suffix not in (".pth", ".safetensors"):
        raise WeightsError(f"{file}: expected a file of torchvision weights, .pth or .safetensors")
    try:
        content = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} can't be read as weights: {error}") from error
    except Exception as error:  # what a damaged or hostile pickle ends with can be anything
        asked = re.search(r"GLOBAL (\S+)", str(error))
        found = f"it asks for {asked[1]}, which was not run" if asked else f"{type(error).__name__} while reading it"
        raise WeightsError(
            f"{file} can't be read as weights: {found}; a state dict holds tensors by name only"
        ) from error
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{file} holds a {type(content).__name__}; expected a state dict, tensors by name")
    for name, tensor in content.items():
        if not isinstance(name, str) or not _plain(tensor):
            raise WeightsError(
                f"{file} holds {type(tensor).__name__} {str(name)[:80]!r}; expected a state dict as torchvision "
                "publishes it, tensors by name and nothing around them"
            )
    return {name: tensor for name, tensor in content.items() if not name.endswith(".num_batches_tracked")}


def _plain(tensor: Any) -> bool:
    if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.device.type != "cpu":
        return False
    return not tensor.is_quantized and not tensor.is_complex()


def _shapes(code: str, base_width: int) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in SpNet(code, base_width).state_dict().items()}


def _misfit(state: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> str | None:
    """The first tensor that is missing, has another shape, or has no place in the network."""
    for name, shape in expected.items():
        if name.endswith(".num_batches_tracked"):
            continue
        if name not in state:
            return f"it lacks {_theirs(name)}"
        if state[name].shape != shape:
            return f"{_theirs(name)} is {tuple(state[name].shape)}, expected {tuple(shape)}"
    unplaced = next((name for name in state if name not in expected), None)
    return f"it has {_theirs(unplaced)}, which that network has not" if unplaced else None


def _advice(state: Mapping[str, Tensor]) -> str:
    for name, code in TORCHVISION.items():
        if not _misfit(state, _shapes(code, TORCHVISION_WIDTH)):
            return (
                f"these are the weights of torchvision's {name}: its code is {code}, its base width {TORCHVISION_WIDTH}"
            )
    return f"nor is it one of torchvision's {', '.join(TORCHVISION)}: name another file"


def _theirs(name: str) -> str:
    """The name as it is in the file."""
    return re.sub(r"^stages\.(\d+)", lambda match: f"layer{int(match[1]) + 1}", name)


def main() -> int:
    if len(sys.argv) != 5 or not sys.argv[3].isdecimal() or not int(sys.argv[3]):
        sys.stderr.write("usage: python -m trainers.weights FILE CODE BASE_WIDTH CHECKPOINTS_FOLDER\n")
        return 2
    file, code, base_width, folder = sys.argv[1:]
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:  # what a library prints goes elsewhere
        os.dup2(2, 1)
        output.write(json.dumps(_answer(Path(file), code, int(base_width), Path(folder))) + "\n")
    return 0


def _answer(file: Path, code: str, base_width: int, folder: Path) -> dict[str, Any]:
    try:
        return {"ok": True, "checkpoint": take_in(file, code, base_width, folder)}
    except TrainerError as error:
        return {"ok": False, "error": str(error)}


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main())
