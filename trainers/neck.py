"""SpFPN: the feature pyramid over an SpNet, with one level per stage and one more by max-pool.

mmdet's FPN (Lin et al., CVPR 2017) with what an inherited network relies on fixed: a lateral and an output convolution
per stage under the same index, and no further weights. This module must not know how a backbone is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS

from trainers import mmcv_ops

mmcv_ops.install()

from mmdet.models.necks import FPN  # noqa: E402 (mmdet.models needs mmcv's operators)


@MODELS.register_module()
class SpFPN(FPN):
    """Pyramid over any number of stages: features (B, in_channels[i], H, W) -> `num_outs` features of `out_channels`.

    Args:
        in_channels: channels of each stage.
        out_channels: channels of every level.
        num_outs: levels; at least one per stage, further ones by max-pool; by default stages + 1.
        norm_cfg: mmcv configuration of norm layers after the convolutions; None for none.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int | None = None,
        norm_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(list(in_channels), out_channels, num_outs or len(in_channels) + 1, norm_cfg=norm_cfg)
