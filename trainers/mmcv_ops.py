"""A stand-in for mmcv's compiled operators, on the kernels that torch and torchvision bring along.

PyPI's mmcv wheel holds no ``mmcv._ext``, and mmdet can't be imported without one. `install` registers a module under
that name whose nms, RoIAlign and sigmoid focal loss are real, on CPU and CUDA; any other operator raises when called.
The operators keep mmcv's calling convention: results are written into tensors that the caller allocated.
This module must not import mmcv.ops or mmdet: it has to run before they do.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Literal, NoReturn

import mmcv
import torch
import torchvision  # noqa: F401 (registers torch.ops.torchvision)
from torch import Tensor

from trainers.errors import OperatorMissing

_EXTENSION = "mmcv._ext"
_AVERAGE = 1  # mmcv's number of the pooling mode "avg"; 0 is "max"


def install() -> Literal["compiled", "standin"]:
    """Make ``mmcv.ops`` importable, and say with which operators; a compiled ``mmcv._ext`` always wins.

    Call it before anything imports mmcv.ops or mmdet.models; calling it again does nothing.
    """
    present = sys.modules.get(_EXTENSION)
    if present is None and importlib.util.find_spec(_EXTENSION) is None:
        present = _StandIn(_EXTENSION)
        present.__spec__ = importlib.machinery.ModuleSpec(_EXTENSION, loader=None)
        for operator in _OPERATORS:
            setattr(present, operator.__name__, operator)
        sys.modules[_EXTENSION] = present
        mmcv._ext = present
    return "standin" if isinstance(present, _StandIn) else "compiled"


class _StandIn(ModuleType):
    """The module behind ``mmcv._ext``; asked for an operator it does not have, it gives one that raises."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        if name.startswith("__"):  # probes such as inspect's have to fail the ordinary way
            raise AttributeError(name)

        def missing(*_args: object, **_kwargs: object) -> NoReturn:
            raise _missing(name)

        return missing


def _missing(operator: str) -> OperatorMissing:
    return OperatorMissing(
        f"mmcv operator {operator!r} was called, but mmcv {mmcv.__version__} is installed without compiled operators "
        "and there is no stand-in for this one. Install an mmcv with compiled operators (the wheel "
        "onedl-mmcv-cu128-torch2-8 for CUDA 12.8 and torch 2.8, or onedl-mmcv built from source with MMCV_WITH_OPS=1), "
        "or choose a template that does not need it."
    )


def nms(bboxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes kept, best first. With `offset` 1 a box is x2 - x1 + 1 wide."""
    if offset:
        bboxes = torch.cat([bboxes[:, :2], bboxes[:, 2:] + offset], dim=1)
    # torchvision's CPU kernel knows no half precision
    return torch.ops.torchvision.nms(bboxes.float(), scores.float(), iou_threshold)


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    _argmax_y: Tensor,
    _argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Pool (N, C, H, W) features in rois (R, 5) into `output` (R, C, aligned_height, aligned_width)."""
    if pool_mode != _AVERAGE:
        raise _missing("roi_align_forward with pool_mode='max'")
    exact = torch.promote_types(input.dtype, torch.float32)
    pooled = torch.ops.torchvision.roi_align(
        input.to(exact), rois.to(exact), spatial_scale, aligned_height, aligned_width, sampling_ratio, aligned
    )
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    _argmax_y: Tensor,
    _argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of `roi_align_forward` by its features, into `grad_input` (N, C, H, W)."""
    if pool_mode != _AVERAGE:
        raise _missing("roi_align_backward with pool_mode='max'")
    exact = torch.promote_types(grad_output.dtype, torch.float32)
    gradient = torch.ops.torchvision._roi_align_backward(
        grad_output.to(exact),
        rois.to(exact),
        spatial_scale,
        aligned_height,
        aligned_width,
        *grad_input.shape,
        sampling_ratio,
        aligned,
    )
    grad_input.copy_(gradient)


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of logits (N, C) and class numbers (N,), into `output` (N, C); class C is background."""
    positive, negative = input.sigmoid(), (-input).sigmoid()
    if_hit = -alpha * negative.pow(gamma) * _safe_log(positive)
    if_miss = -(1 - alpha) * positive.pow(gamma) * _safe_log(negative)
    output.copy_(torch.where(_hits(input, target), if_hit, if_miss) * _row_weights(target, weight))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Gradient of `sigmoid_focal_loss_forward` by its logits, into `grad_input` (N, C)."""
    positive, negative = input.sigmoid(), (-input).sigmoid()
    if_hit = -alpha * negative.pow(gamma) * (negative - gamma * positive * _safe_log(positive))
    if_miss = -(1 - alpha) * positive.pow(gamma) * (gamma * negative * _safe_log(negative) - positive)
    grad_input.copy_(torch.where(_hits(input, target), if_hit, if_miss) * _row_weights(target, weight))


def _safe_log(probability: Tensor) -> Tensor:
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()


def _hits(input: Tensor, target: Tensor) -> Tensor:
    return target[:, None] == torch.arange(input.size(1), device=input.device)


def _row_weights(target: Tensor, weight: Tensor) -> Tensor | float:
    """Weight (N, 1) of each row's class; background has no weight of its own and counts once."""
    return torch.cat([weight, weight.new_ones(1)])[target][:, None] if weight.numel() else 1.0


def get_compiler_version() -> str:
    """What mmcv's environment report prints."""
    return "none (stand-in on torchvision)"


def get_compiling_cuda_version() -> str:
    """What mmcv's environment report prints."""
    return "none (stand-in on torchvision)"


_OPERATORS: tuple[Callable[..., object], ...] = (
    nms,
    roi_align_forward,
    roi_align_backward,
    sigmoid_focal_loss_forward,
    sigmoid_focal_loss_backward,
    get_compiler_version,
    get_compiling_cuda_version,
)
