"""Residual blocks and the sub-networks made of them: what SpNet's main path and its branches are built from.

Blocks are those of "Deep Residual Learning" (CVPR 2016) and "Aggregated Residual Transformations" (CVPR 2017), with the
stride on the 3x3 convolution and the tensor names of torchvision. A branch stage is SP-NAS's parallel sub-network
(CVPR 2020, section 3.3). This module must not know codes of whole networks, nor where weights come from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from lineage.architecture import BlockShape, BlockType


def norm_layer(norm_cfg: dict[str, Any], channels: int) -> nn.Module:
    """Normalisation layer of an mmcv `norm_cfg`."""
    return build_norm_layer(norm_cfg, channels)[1]


class ResidualBlock(nn.Module, ABC):
    """(B, in, H, W) -> (B, out, H / stride, W / stride): relu(residual(x) + shortcut(x)), the input left untouched.

    `downsample` is the projection shortcut, None where the shortcut is the identity.
    """

    def __init__(self, shape: BlockShape, norm_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.downsample = None
        if shape.has_projection:
            self.downsample = nn.Sequential(
                nn.Conv2d(shape.in_channels, shape.out_channels, 1, shape.stride, bias=False),
                norm_layer(norm_cfg, shape.out_channels),
            )

    @property
    @abstractmethod
    def last_norm(self) -> nn.Module:
        """The norm that ends the residual: with a zero gamma the block is its shortcut."""

    @abstractmethod
    def residual(self, x: Tensor) -> Tensor:
        """The part that is added to the shortcut."""

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu_(self.residual(x) + shortcut)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions."""

    def __init__(self, shape: BlockShape, norm_cfg: dict[str, Any]) -> None:
        super().__init__(shape, norm_cfg)
        self.conv1 = nn.Conv2d(shape.in_channels, shape.inner_channels, 3, shape.stride, padding=1, bias=False)
        self.bn1 = norm_layer(norm_cfg, shape.inner_channels)
        self.conv2 = nn.Conv2d(shape.inner_channels, shape.out_channels, 3, padding=1, bias=False)
        self.bn2 = norm_layer(norm_cfg, shape.out_channels)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn2

    def residual(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(F.relu_(self.bn1(self.conv1(x)))))


class Bottleneck(ResidualBlock):
    """A 3x3 convolution, grouped in ResNeXt, between two 1x1 convolutions."""

    def __init__(self, shape: BlockShape, norm_cfg: dict[str, Any], groups: int = 1) -> None:
        super().__init__(shape, norm_cfg)
        inner = shape.inner_channels
        self.conv1 = nn.Conv2d(shape.in_channels, inner, 1, bias=False)
        self.bn1 = norm_layer(norm_cfg, inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, shape.stride, padding=1, groups=groups, bias=False)
        self.bn2 = norm_layer(norm_cfg, inner)
        self.conv3 = nn.Conv2d(inner, shape.out_channels, 1, bias=False)
        self.bn3 = norm_layer(norm_cfg, shape.out_channels)

    @property
    def last_norm(self) -> nn.Module:
        return self.bn3

    def residual(self, x: Tensor) -> Tensor:
        x = F.relu_(self.bn1(self.conv1(x)))
        x = F.relu_(self.bn2(self.conv2(x)))
        return self.bn3(self.conv3(x))


def build_stage(block: BlockType, shapes: tuple[BlockShape, ...], norm_cfg: dict[str, Any]) -> nn.Sequential:
    """The blocks of one stage, one after another."""
    if block.kind == "b":
        return nn.Sequential(*(BasicBlock(shape, norm_cfg) for shape in shapes))
    return nn.Sequential(*(Bottleneck(shape, norm_cfg, block.groups) for shape in shapes))


class BranchStage(nn.Module):
    """A copy of a stage in a parallel branch, and the fusing layer that brings its output back up one path.

    `follows` says whether the branch runs the stage before, too. Then the input is that stage's output, mixed with the
    main path's: ``mix`` (a scalar, 1 at construction) is the share of the branch's own. A stage that ran before its
    predecessor was born can so keep reading the main path (0) and learn to listen.
    """

    def __init__(
        self, block: BlockType, shapes: tuple[BlockShape, ...], norm_cfg: dict[str, Any], follows: bool
    ) -> None:
        super().__init__()
        self.blocks = build_stage(block, shapes, norm_cfg)
        self.fuse = nn.ModuleDict(
            {
                "conv": nn.Conv2d(shapes[-1].out_channels, shapes[0].in_channels, 1, bias=False),
                "norm": norm_layer(norm_cfg, shapes[0].in_channels),
            }
        )
        self.mix = nn.Parameter(torch.ones(())) if follows else None

    def forward(self, main: Tensor, own: Tensor | None, from_below: Tensor | None) -> tuple[Tensor, Tensor]:
        """Output of this stage, and what it adds to the stage's input on the path above.

        Args:
            main: the main path's input to this stage, (B, in, H, W).
            own: output of this branch's previous stage, if it runs that; same shape.
            from_below: what the next deeper branch adds to this stage's input, if there is one; same shape.
        """
        x = main if own is None else torch.lerp(main, own, self.mix)
        out = self.blocks(x if from_below is None else x + from_below)
        fused = self.fuse["norm"](self.fuse["conv"](out))
        return out, F.interpolate(fused, size=main.shape[-2:], mode="nearest")
