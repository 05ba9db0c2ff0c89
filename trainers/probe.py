"""The gradient probe: whether what is new in a newborn detector can learn (SP-NAS, CVPR 2020, section 3.2).

A new part that keeps the function must not be dead: behind two shut gates in a row, or with every norm at zero, no
gradient ever arrives. So the newborn takes two training steps on a few images, with a loss of the pyramid levels alone,
which is all that its heads will see; a parameter is dead if its gradient is zero in both. The steps are then undone.
This module must not know what the parent was, nor how the detector is trained in earnest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from trainers import measure

LARGEST_STEP = 0.01


def dead_tensors(detector: nn.Module, names: Iterable[str], images: Tensor) -> tuple[str, ...]:
    """Which parameters of backbone and neck get no gradient in two steps of plain SGD, in the mode they are trained in.

    The loss is the sum of the pyramid levels times random numbers, always the same ones. The step between is as long as
    moves no weight by more than `LARGEST_STEP`. Zero means zero: a gradient of rounding errors counts as one, such as
    that of a bias whose effect the next batch norm takes away. Afterwards weights, buffers and modes are what they were,
    bit for bit; gradients and the random state are not touched.

    Args:
        names: the parameters to judge; others, and those that are frozen, are passed over.
        images: (B, 3, H, W), normalised, on the detector's device.
    """
    parts = nn.ModuleDict({"backbone": detector.backbone, "neck": detector.neck})
    learning = {name: parameter for name, parameter in parts.named_parameters() if parameter.requires_grad}
    judged = [name for name in names if name in learning]
    if not judged:
        return ()
    with _undone(parts):
        parts.train()
        first = _gradients(parts, learning, images)
        _descend(learning, first)
        second = _gradients(parts, learning, images)
    return tuple(name for name in judged if not first[name].any() and not second[name].any())


def _gradients(parts: nn.ModuleDict, learning: dict[str, nn.Parameter], images: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator(images.device).manual_seed(0)
    _, levels = measure.features(parts, images)
    loss = sum((level * torch.randn(level.shape, generator=generator, device=level.device)).mean() for level in levels)
    gradients = torch.autograd.grad(loss, list(learning.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(learning, gradients, strict=True))


@torch.no_grad()
def _descend(learning: dict[str, nn.Parameter], gradients: dict[str, Tensor]) -> None:
    largest = torch.stack([gradient.abs().max() for gradient in gradients.values()]).max().item()
    if 0 < largest < math.inf:
        for name, gradient in gradients.items():
            learning[name].sub_(gradient, alpha=LARGEST_STEP / largest)


@contextmanager
def _undone(parts: nn.Module) -> Iterator[None]:
    """Give every weight, buffer and mode back at the end."""
    kept = [(tensor, tensor.detach().clone()) for tensor in chain(parts.parameters(), parts.buffers())]
    modes = [(module, module.training) for module in parts.modules()]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, before in kept:
                tensor.copy_(before)
        for module, training in modes:
            module.training = training
