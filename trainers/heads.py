"""What the heads of a template cost beside backbone and neck, read off its configuration, without torch.

Known are mmdet's RPNHead, ConvFCBBoxHead with its two short forms, and FCNMaskHead, one of each or one a cascade stage,
layer by layer as mmdet 3.x builds them. Counted is one prediction: the RPN on every pixel of every level, the box heads
on `test_cfg.rpn.max_per_img` proposals, the mask heads on `test_cfg.rcnn.max_per_img` detections.
This module must not know genotypes: what follows the levels is left per pixel and per stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config

from lineage.cost import Cost, Heads
from trainers.errors import TrainerError

NORMS = ("BN", "BN2d", "SyncBN", "GN")  # two parameters a channel
DETECTORS = ("FasterRCNN", "CascadeRCNN", "MaskRCNN", "TwoStageDetector")
BRANCHES = tuple(f"num_{part}_{kind}" for part in ("shared", "cls", "reg") for kind in ("convs", "fcs"))
BOX_HEADS: dict[str, dict[str, int]] = {
    "ConvFCBBoxHead": {},
    "Shared2FCBBoxHead": {"num_shared_fcs": 2},
    "Shared4Conv1FCBBoxHead": {"num_shared_convs": 4, "num_shared_fcs": 1},
}
_FLOAT_BYTES = 4


class HeadsUnknown(TrainerError):
    """The template's heads can't be counted; the message names what is not known."""


def count_heads(config: Config) -> Heads:
    """Costs of a checked template's heads.

    Raises:
        HeadsUnknown: a class or an option is not known here, so a count could be wrong.
    """
    try:
        return _counted(config.model)
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise HeadsUnknown(f"an option that is missing or of another type ({error})") from error


def _counted(model: Any) -> Heads:
    _kind(model, "model", DETECTORS)
    roi_head = model.roi_head
    cascade = _kind(roi_head, "model.roi_head", ("StandardRoIHead", "CascadeRoIHead")) == "CascadeRoIHead"
    stages = roi_head.num_stages if cascade else 1
    if roi_head.get("shared_head"):
        raise HeadsUnknown("model.roi_head.shared_head")
    box_extractors = _each(roi_head, "bbox_roi_extractor", stages)
    mask_extractors = _each(roi_head, "mask_roi_extractor", stages) or box_extractors
    for extractor in (*box_extractors, *mask_extractors):
        _kind(extractor, "a RoI extractor", ("SingleRoIExtractor",))
        _kind(extractor.get("roi_layer", {}), "its roi_layer", ("RoIAlign",))
    per_pixel = _rpn(model.rpn_head)
    per_image = Cost()
    for head in _each(roi_head, "bbox_head", stages):
        per_image += _repeated(_box_head(head), _regions(model, "rpn"))
    for head, extractor in zip(_each(roi_head, "mask_head", stages), mask_extractors, strict=False):
        per_image += _repeated(_mask_head(head, extractor.roi_layer.output_size), _regions(model, "rcnn"))
    return Heads(
        params=per_pixel.params + per_image.params,
        flops_per_pixel=per_pixel.flops,
        activation_bytes_per_pixel=per_pixel.activation_bytes,
        flops=per_image.flops,
        activation_bytes=per_image.activation_bytes,
        params_per_stage=2 * model.neck.out_channels if _has_norm(model.neck, "model.neck") else 0,
    )


def _rpn(head: Any) -> Cost:
    """One pixel of one level: 3x3 convolutions, then classes and boxes of its anchors."""
    _kind(head, "model.rpn_head", ("RPNHead",))
    anchors = head.anchor_generator
    _kind(anchors, "model.rpn_head.anchor_generator", ("AnchorGenerator", "LegacyAnchorGenerator"))
    scales = len(anchors["scales"]) if anchors.get("scales") else anchors["scales_per_octave"]
    priors = scales * len(anchors["ratios"])
    inputs, features = head["in_channels"], head.get("feat_channels", 256)
    total = Cost()
    for _ in range(max(1, head.get("num_convs", 1))):
        total += _layer(inputs, features, kernel=3)
        inputs = features
    sigmoid = head.get("loss_cls", {"use_sigmoid": True}).get("use_sigmoid", False)
    return total + _layer(features, priors * (1 if sigmoid else 2)) + _layer(features, 4 * priors)


def _box_head(head: Any) -> Cost:
    """One region: shared layers, then those of the classes and of the boxes, each ended by one linear layer."""
    name = "a bbox_head"
    counts = dict.fromkeys(BRANCHES, 0) | {key: head[key] for key in BRANCHES if key in head}
    counts |= BOX_HEADS[_kind(head, name, tuple(BOX_HEADS))]
    _refuse(head, name, "conv_cfg", None)
    for key in ("cls_predictor_cfg", "reg_predictor_cfg"):
        _refuse(head, name, key, {"type": "Linear"})
    _kind(head.get("loss_cls", {"type": "CrossEntropyLoss"}), f"loss_cls of {name}", ("CrossEntropyLoss", "FocalLoss"))
    norm = _has_norm(head, name)
    classes, area = head.get("num_classes", 80), _area(head.get("roi_feat_size", 7))
    flat = 1 if head.get("with_avg_pool") else area

    def branch(part: str, inputs: int, flatten: bool) -> tuple[Cost, int]:
        total, widths = Cost(), (head.get("conv_out_channels", 256), head.get("fc_out_channels", 1024))
        for _ in range(counts[f"num_{part}_convs"]):
            total += _layer(inputs, widths[0], kernel=3, pixels=area, norm=norm)
            inputs = widths[0]
        for place in range(counts[f"num_{part}_fcs"]):
            total += _layer(inputs * (flat if flatten and not place else 1), widths[1])
            inputs = widths[1]
        return total, inputs

    total, shared = branch("shared", head.get("in_channels", 256), True)
    unflattened = not counts["num_shared_fcs"]
    boxes = 4 if head.get("reg_class_agnostic") else 4 * classes
    for part, outputs in (("cls", classes + 1), ("reg", boxes)):
        if head.get(f"with_{part}", True):
            own, width = branch(part, shared, unflattened)
            last = width * (flat if unflattened and not counts[f"num_{part}_fcs"] else 1)
            total += own + _layer(last, outputs)
    return total


def _mask_head(head: Any, output_size: Any) -> Cost:
    """One region: convolutions, an enlargement, and a 1x1 convolution to the classes."""
    name = "a mask_head"
    _kind(head, name, ("FCNMaskHead",))
    _refuse(head, name, "conv_cfg", None)
    _refuse(head, name, "predictor_cfg", {"type": "Conv"})
    upsample = dict(head.get("upsample_cfg") or {"type": "deconv", "scale_factor": 2})
    kernel = head.get("conv_kernel_size", 3)
    if upsample.keys() - {"type", "scale_factor"} or kernel % 2 == 0:
        raise HeadsUnknown(f"upsample_cfg {upsample} or conv_kernel_size {kernel} of {name}")
    pixels, channels = _area(output_size), head.get("in_channels", 256)
    width, norm, total = head.get("conv_out_channels", 256), _has_norm(head, name), Cost()
    for _ in range(head.get("num_convs", 4)):
        total += _layer(channels, width, kernel, pixels, norm)
        channels = width
    if upsample["type"] == "deconv":
        scale = upsample["scale_factor"]
        total += _enlargement(channels, width, scale, pixels)
        channels = width
    elif upsample["type"] not in (None, "nearest", "bilinear"):
        raise HeadsUnknown(f"upsample_cfg.type {upsample['type']} of {name}")
    pixels *= upsample["scale_factor"] ** 2 if upsample["type"] else 1
    return total + _layer(channels, 1 if head.get("class_agnostic") else head.get("num_classes", 80), pixels=pixels)


def _layer(inputs: int, outputs: int, kernel: int = 1, pixels: int = 1, norm: bool = False) -> Cost:
    """A convolution or linear layer with bias, or a convolution and its norm (two parameters a channel)."""
    weights = inputs * outputs * kernel * kernel
    return Cost(weights + outputs * (2 if norm else 1), weights * pixels, outputs * pixels * _FLOAT_BYTES)


def _enlargement(inputs: int, outputs: int, scale: int, pixels: int) -> Cost:
    """A transposed convolution with bias, as wide as its stride: each weight meets each input pixel once."""
    weights = inputs * outputs * scale * scale
    return Cost(weights + outputs, weights * pixels, outputs * pixels * scale * scale * _FLOAT_BYTES)


def _repeated(cost: Cost, regions: int) -> Cost:
    return Cost(cost.params, cost.flops * regions, cost.activation_bytes * regions)


def _regions(model: Any, section: str) -> int:
    """How many proposals (rpn) or detections (rcnn) a prediction has at most."""
    count = ((model.get("test_cfg") or {}).get(section) or {}).get("max_per_img")
    if not isinstance(count, int) or count < 1:
        raise HeadsUnknown(f"model.test_cfg.{section}.max_per_img {count} is no number of regions")
    return count


def _each(roi_head: Any, key: str, stages: int) -> Sequence[Any]:
    """The heads or extractors of every cascade stage; one that is given once serves each of them."""
    value = roi_head.get(key)
    return value if isinstance(value, list) else [value] * stages if value else []


def _has_norm(section: Any, name: str) -> bool:
    norm = section.get("norm_cfg")
    if norm:
        _kind(norm, f"norm_cfg of {name}", NORMS)
    return bool(norm)


def _kind(section: Any, name: str, known: Sequence[str]) -> str:
    kind = str(section.get("type")).removeprefix("mmdet.")
    if kind not in known:
        raise HeadsUnknown(f"{name} is {kind}, not {' or '.join(known)}")
    return kind


def _refuse(section: Any, name: str, key: str, usual: Any) -> None:
    if section.get(key) not in (None, usual):
        raise HeadsUnknown(f"{key} {section[key]} of {name}")


def _area(size: Any) -> int:
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return int(height) * int(width)
