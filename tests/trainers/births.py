"""Births to test with: small detectors, parents in which every tensor matters, and children that inherit from them."""

from __future__ import annotations

import copy
from itertools import accumulate
from typing import Any

import torch
from torch import nn

from lineage.architecture import Genotype
from lineage.morphism import Blueprint, Morphism, apply
from trainers.backbone import SpNet
from trainers.inheritance import Inheritance, inherit
from trainers.neck import SpFPN

BLOCKS = ("b", "r", "x(4x16d)")
NORMS: dict[str, dict[str, Any]] = {
    "BN": {},
    "BN in eval mode": {"norm_eval": True},
    "GN": {"norm_cfg": {"type": "GN", "num_groups": 4}},
}


class Detector(nn.Module):
    """Backbone, neck and a stand-in for the heads, under the names of mmdet."""

    def __init__(
        self,
        blueprint: Blueprint,
        head_channels: int = 3,
        neck_channels: int = 8,
        neck_norm: dict[str, Any] | None = None,
        **norm: Any,
    ) -> None:
        super().__init__()
        self.backbone = SpNet(blueprint.genotype.code, base_width=8, **norm)
        self.neck = SpFPN(self.backbone.out_channels, neck_channels, norm_cfg=neck_norm)
        self.rpn_head = nn.Conv2d(neck_channels, head_channels, 1)

    def forward(self, images: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        stages = self.backbone(images)
        return stages, self.neck(stages)


def blueprint(code: str) -> Blueprint:
    return Blueprint.seed(Genotype.parse(code), "parent")


def grow(parent: Blueprint, morphisms: tuple[Morphism, ...]) -> Blueprint:
    return list(accumulate(morphisms, lambda network, step: apply(network, step, "child"), initial=parent))[-1]


def trained(blueprint: Blueprint, seed: int = 0, **norm: Any) -> Detector:
    """A parent in which every tensor matters: no gate is shut, no statistic is a default."""
    torch.manual_seed(seed)
    detector = Detector(blueprint, **norm)
    for name, tensor in detector.state_dict().items():
        if not tensor.is_floating_point():
            tensor.fill_(17)
        elif name.endswith(("running_var", "mix")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.dim() == 1:
            tensor.uniform_(0.3, 1.0) if name.endswith("weight") else tensor.normal_(std=0.3)
        else:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
    return detector


def born(child: Blueprint, parent: Blueprint, model: nn.Module, **norm: Any) -> tuple[Detector, Inheritance]:
    torch.manual_seed(1)
    detector = Detector(child, **norm)
    return detector, inherit(detector, child, model.state_dict(), parent)


def probe_images(side: int = 64) -> torch.Tensor:
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(3))


def training_residual(child: Detector, parent: Detector, images: torch.Tensor) -> float:
    """Largest difference of shared stages and levels as they are in training; the models stay as they are."""
    ours, theirs = (copy.deepcopy(model).train()(images) for model in (child, parent))
    shared = len(theirs[0])
    pairs = zip((*ours[0][:shared], *ours[1][:shared]), (*theirs[0], *theirs[1][:shared]), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def never_learning(child: Detector, names: tuple[str, ...], images: torch.Tensor) -> list[str]:
    """Which parameters have no gradient, rounding errors aside, in either of two SGD steps.

    Left out is the bias of a fusing norm before an unpadded 1x1 convolution with batch norm, which takes constants away.
    """
    batch_norm = isinstance(child.backbone.bn1, nn.BatchNorm2d) and not child.backbone.norm_eval
    if batch_norm and child.backbone.genotype.block.kind != "b":
        names = tuple(name for name in names if not name.endswith("fuse.norm.bias"))
    torch.manual_seed(2)
    optimizer = torch.optim.SGD(child.parameters(), lr=0.1)
    parameters = {name: p for name, p in child.named_parameters() if name in names}
    alive: set[str] = set()
    child.train()
    for _ in range(2):
        optimizer.zero_grad()
        sum((level * torch.randn_like(level)).sum() / level[:, 0].numel() for level in child(images)[1]).backward()
        alive |= {name for name, p in parameters.items() if p.grad is not None and p.grad.abs().max() > 1e-7}
        optimizer.step()
    return sorted(parameters.keys() - alive)
