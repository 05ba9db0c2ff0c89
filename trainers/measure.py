"""Measured costs of a network, and how far a child is from its parent at birth.

A model is a detector (an object with ``backbone`` and ``neck``) or a bare backbone. Costs are those of the whole detector
where the caller says that its heads are ones that can be run on their own, else of backbone and neck.
This module must not know how a network is trained: what a training step is, the caller says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters, and multiply-adds of one image, of backbone and neck."""

    params: int
    flops: int


@dataclass(frozen=True, slots=True)
class Residual:
    """Distance of a child's features from its parent's: `largest` is absolute, `relative` the largest of any level in
    parts of that level's largest feature in the parent.
    """

    largest: float
    relative: float


def residual(child: nn.Module, parent: nn.Module, images: Tensor) -> Residual | None:
    """How far two networks' features are apart, in eval mode; None if they share no level.

    Compared are the backbone stages and pyramid levels that both have with equal shapes. Levels pooled from the last
    stage are left out where the numbers of stages differ.

    Args:
        images: (B, 3, H, W), normalised, on the networks' device.
    """
    # In TF32, convolutions of equal networks may differ by 1e-3 where cuDNN chooses another algorithm.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        with evaluating(child):
            stages, levels = features(child, images)
        with evaluating(parent):
            parent_stages, parent_levels = features(parent, images)
    shared = min(len(stages), len(parent_stages))
    if len(stages) != len(parent_stages):
        levels, parent_levels = levels[:shared], parent_levels[:shared]
    pairs = [*zip(stages[:shared], parent_stages[:shared], strict=True), *zip(levels, parent_levels, strict=True)]
    apart = [_apart(ours, theirs) for ours, theirs in pairs if ours.shape == theirs.shape]
    return Residual(*(max(column) for column in zip(*apart, strict=True))) if apart else None


def _apart(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Largest difference of two features, and its share of their scale; infinite where one is not a number."""
    difference = (ours - theirs).abs().max().nan_to_num(nan=math.inf, posinf=math.inf).item()
    scale = theirs.abs().max().item()
    if not difference:
        return 0.0, 0.0
    return difference, difference / scale if 0 < scale < math.inf else math.inf


def cost(model: nn.Module, image_size: tuple[int, int], whole: bool = False) -> Cost:
    """Parameters and multiply-adds at an image of (height, width), counted by torch; see `latency_ms` for `whole`."""
    parameters = [parameter for part in ([model] if whole else _parts(model)) for parameter in part.parameters()]
    image = torch.zeros(1, 3, *image_size, device=parameters[0].device)
    with evaluating(model), FlopCounterMode(display=False) as counter:
        _predict(model, image, whole)
    return Cost(sum(parameter.numel() for parameter in parameters), counter.get_total_flops() // 2)


def latency_ms(
    model: nn.Module, image_size: tuple[int, int], device: torch.device, passes: int = 15, whole: bool = False
) -> float:
    """Shortest time of a forward pass of one image (height, width), in milliseconds, after one pass to warm up.

    The pass of a `whole` detector is backbone, neck, RPN on every level, and the RoI heads on as many regions as the
    template allows, spread over image and sizes. Its own proposals are not taken, and suppression and pasting of masks
    not timed: how many boxes they meet depends on the weights, which are barely trained in a search, not on the network.
    """
    image = torch.zeros(1, 3, *image_size, device=device)
    with evaluating(model):
        return shortest_ms(lambda: _predict(model, image, whole), device, passes)


def shortest_ms(run: Callable[[], object], device: torch.device, times: int) -> float:
    """Shortest duration of `run` on a device, in milliseconds, of so many times after one to warm up.

    What else the machine does only ever adds to a duration, so the shortest is the one that repeats itself best.
    """
    durations = []
    for _ in range(times + 1):
        _synchronise(device)
        start = time.perf_counter()
        run()
        _synchronise(device)
        durations.append(1000 * (time.perf_counter() - start))
    return min(durations[1:])


def peak_memory_bytes(
    step: Callable[[], object], model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> int:
    """Memory that one training step needs, in bytes.

    On CUDA the allocator's peak during the step. On a CPU what the step has to keep: the tensors saved for the
    backward pass, parameters, buffers, gradients and optimizer state; temporary results inside operators are left out.

    Args:
        step: runs one whole training step of `model` with `optimizer`: forward, backward once, update.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        step()
        return torch.cuda.max_memory_allocated(device)
    weights = _storages(chain(model.parameters(), model.buffers()))
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        saved.update(_storages([tensor]))
        return tensor.detach()  # the tensor itself would make a reference cycle with the graph

    with saved_tensors_hooks(note, lambda tensor: tensor):
        step()
    gradients = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    slots = (slot for slots in optimizer.state.values() for slot in slots.values() if isinstance(slot, Tensor))
    return sum((saved | weights).values()) + gradients + sum(slot.nbytes for slot in slots)


def _storages(tensors: Iterable[Tensor]) -> dict[int, int]:
    """Bytes of each distinct storage, by address."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def _parts(model: nn.Module) -> list[nn.Module]:
    return [model.backbone, model.neck] if hasattr(model, "backbone") else [model]


def features(model: nn.Module, images: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Outputs of the backbone's stages and of the neck's levels; a bare backbone has no levels."""
    backbone, *neck = _parts(model)
    stages = backbone(images)
    return stages, neck[0](stages) if neck else ()


def _predict(model: nn.Module, image: Tensor, whole: bool) -> None:
    _, levels = features(model, image)
    if not whole:
        return
    model.rpn_head(levels)
    roi_head = model.roi_head
    parts = [(roi_head.bbox_roi_extractor, roi_head.bbox_head, model.test_cfg.rpn)]
    if roi_head.with_mask:
        parts.append((roi_head.mask_roi_extractor, roi_head.mask_head, model.test_cfg.rcnn))
    for extractors, heads, limit in parts:
        regions = _regions(limit.max_per_img, image)
        for extractor, head in zip(_each(extractors), _each(heads), strict=True):
            head(extractor(levels[: extractor.num_inputs], regions))


def _each(module: nn.Module) -> Iterable[nn.Module]:
    """The modules of every cascade stage, or the only one."""
    return module if isinstance(module, nn.ModuleList) else [module]


def _regions(count: int, image: Tensor) -> Tensor:
    """`count` square regions (image number, x0, y0, x1, y1), from 16 pixels to the image's side, corner to corner."""
    height, width = image.shape[-2:]
    place = torch.linspace(0, 1, count, device=image.device)
    side = 16 * (max(16, min(height, width)) / 16) ** place
    left, top = (width - side) * place, (height - side) * place
    return torch.stack([torch.zeros_like(side), left, top, left + side, top + side], dim=1)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; every module gets its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
