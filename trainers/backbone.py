"""SpNet: the backbone of a genotype code, as a network that mmdet can build.

Main path: a 7x7 stride-2 stem with max-pool, then the stages of `lineage.architecture.Genotype`; with equal weights it
equals torchvision's ResNets and ResNeXts. Parallel branches as in SP-NAS (CVPR 2020, section 3.3): branch k (from 1)
runs copies of some stages with weights of its own; its output at stage i is added to the input of stage i on path k - 1
(path 0 is the main path). So every stage is evaluated from the deepest path up.
This module must not know where weights come from, nor anything of detection heads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lineage.architecture import Genotype
from trainers.blocks import BranchStage, build_stage, norm_layer

PREFIX = "backbone."  # of a backbone's tensors in a checkpoint


@MODELS.register_module()
class SpNet(BaseModule):
    """Backbone of a genotype: images (B, 3, H, W) -> one feature per stage.

    The feature of stage i is (B, out_channels[i], H / s, W / s) with s = 4 * 2**i, rounded up.

    Args:
        code: genotype code, for example ``r_111-2111-211111-211_0-0-0-0``.
        base_width: channels of the stem.
        norm_cfg: mmcv configuration of every norm layer.
        norm_eval: keep batch norm in eval mode (running statistics) while training.
        frozen_stages: -1 freezes nothing, 0 the stem, n also the first n stages of the main path.
        init_cfg: mmengine initialisation in place of the default (Kaiming normal, norms 1, fusing norms 0).

    Raises:
        GenotypeError: `code` is not a network.
    """

    def __init__(
        self,
        code: str,
        base_width: int = 64,
        norm_cfg: dict[str, Any] | None = None,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        norm_cfg = norm_cfg or {"type": "BN", "requires_grad": True}
        self.genotype = Genotype.parse(code)
        self.base_width = base_width
        self.norm_eval = norm_eval
        self.frozen_stages = frozen_stages
        self.out_channels = self.genotype.stage_channels(base_width)
        block, shapes = self.genotype.block, self.genotype.shapes(base_width)
        self.conv1 = nn.Conv2d(3, base_width, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(norm_cfg, base_width)
        self.stages = nn.ModuleList(build_stage(block, stage, norm_cfg) for stage in shapes)
        self.branches = nn.ModuleDict(
            {
                str(path): nn.ModuleDict(
                    {str(i): BranchStage(block, shapes[i], norm_cfg, follows=i - 1 in stages) for i in stages}
                )
                for path, stages in enumerate(self.genotype.branches, start=1)
            }
        )
        self._initialise()
        self._freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = F.max_pool2d(F.relu_(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        outputs: list[Tensor] = []
        previous: dict[int, Tensor] = {}  # output of the stage before, of the branches that ran it
        for i, stage in enumerate(self.stages):
            current: dict[int, Tensor] = {}
            from_below = None
            for path in range(self.genotype.parallel[i], 0, -1):
                branch = self.branches[str(path)][str(i)]
                current[path], from_below = branch(x, previous.get(path), from_below)
            x = stage(x if from_below is None else x + from_below)
            outputs.append(x)
            previous = current
        return tuple(outputs)

    def init_weights(self) -> None:
        """Initialise every tensor anew; with an `init_cfg` as that says."""
        if self.init_cfg:
            super().init_weights()
        else:
            self._initialise()
            self.is_init = True

    def train(self, mode: bool = True) -> SpNet:
        """Set the mode, except for what is frozen: frozen stages, and batch norm under `norm_eval`."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, _BatchNorm | nn.GroupNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
            elif isinstance(module, BranchStage) and module.mix is not None:
                nn.init.ones_(module.mix)
        for module in self.modules():
            if isinstance(module, BranchStage):
                nn.init.zeros_(module.fuse["norm"].weight)

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        for module in (self.conv1, self.bn1, *self.stages[: self.frozen_stages]):
            module.eval()
            module.requires_grad_(False)


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a torchvision ResNet or ResNeXt under SpNet's names, without its classifier."""

    def rename(match: re.Match[str]) -> str:
        return f"stages.{int(match[1]) - 1}."

    return {
        re.sub(r"^layer(\d+)\.", rename, name): tensor for name, tensor in state.items() if not name.startswith("fc.")
    }


def state_of(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's backbone under SpNet's names, which follow ``backbone.`` there.

    Reignitions of earlier versions wrote a backbone alone without that prefix: then the whole checkpoint is taken.
    """
    prefixed = {name.removeprefix(PREFIX): tensor for name, tensor in checkpoint.items() if name.startswith(PREFIX)}
    return prefixed or dict(checkpoint)
