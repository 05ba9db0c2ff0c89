"""The detector template: an ordinary mmdet 3.x configuration in which a searched backbone and neck take their place.

What hangs on the stages follows the code (SP-NAS, section 3): with n stages, the neck takes n feature maps and gives
n + 1, the RPN's anchors stand at strides 2^2 .. 2^(n+2), and the RoI heads read strides 2^2 .. 2^(n+1). Anything else
is the template's word. Two-stage detectors with one RPN and RoI extractors over a pyramid (Faster, Cascade, Mask R-CNN)
can be adapted; whatever can't is refused with its reason.

    python -m trainers.template [--images] PATH

answers with one line, ``{"ok": true, "classes": 10, ...}`` or ``{"ok": false, "error": "..."}``, and exit code 0; with
--images, which may take seconds, also how many images an epoch of training and a validation see. It imports neither torch
nor mmdet, so a process that must stay light can ask it.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config

from lineage.architecture import Genotype, GenotypeError
from trainers.errors import TemplateError
from trainers.heads import NORMS, HeadsUnknown, count_heads
from trainers.image_count import count_images
from trainers.parent import end_with_parent

if TYPE_CHECKING:
    from trainers.protocol import NetworkRef

SHIPPED = "examples/digits/faster_rcnn_r50_fpn_1x.py (`spnas-orch init` writes a copy)"
REQUIRED = ("model", "train_dataloader", "val_dataloader", "val_evaluator", "optim_wrapper", "train_cfg")
MAX_BYTES = 2**20
ROI_EXTRACTORS = ("bbox_roi_extractor", "mask_roi_extractor")


def load_template(path: Path) -> Config:
    """Read and check a template; its `custom_imports` are left to whoever builds from it.

    Raises:
        TemplateError: the file is missing, is not Python, does not run, or describes what can't be adapted.
    """
    if not path.is_file():
        raise TemplateError(f"{path}: no such template; the one we ship is {SHIPPED}")
    if path.suffix != ".py":
        raise TemplateError(f"{path}: a template is a Python file (.py) of mmdet 3.x, like {SHIPPED}")
    tree = _parse(path)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            config = Config.fromfile(path, import_custom_modules=False, lazy_import=False)
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        raise TemplateError(f"{_place(path, tree, error)}: {_reason(error)}") from error
    try:
        check(config)
    except TemplateError as error:
        raise TemplateError(f"{path}: {error}") from None
    return config


def check(config: Config) -> None:
    """Refuse a configuration that a searched network can't be put into.

    Raises:
        TemplateError: what is missing or can't be adapted; no file name.
    """
    _refuse_older_mmdet(config)
    missing = [key for key in REQUIRED if not config.get(key)]
    if missing:
        raise TemplateError(f"a template of mmdet 3.x needs {', '.join(missing)}; compare {SHIPPED}")
    if "max_epochs" not in config.train_cfg:
        raise TemplateError("train_cfg has no max_epochs: only training by epochs can be searched with")
    evaluator = config.val_evaluator
    if not isinstance(evaluator, dict) or evaluator.get("type") != "CocoMetric":
        raise TemplateError(
            "val_evaluator is not one CocoMetric: candidates are ranked by COCO's box AP, so "
            "val_evaluator = dict(type='CocoMetric', ann_file=..., metric='bbox')"
        )
    if "bbox" not in _listed(evaluator.get("metric", "bbox")):
        raise TemplateError(f"val_evaluator measures {evaluator.metric!r}: candidates are ranked by 'bbox', add it")
    _check_model(config.model)


def adapt(config: Config, network: NetworkRef, epochs: int, batch_parts: int = 1) -> Config:
    """A copy of a checked template with `network` as its backbone, a pyramid neck to match, and `epochs` to train.

    Schedules by epoch are stretched from the template's epochs to `epochs`; those by iteration (a warm-up) stay, or last
    for as many batches where each is an iteration in every one of its parts, after which their gradients are applied.

    Raises:
        TemplateError: the network's code is no genotype.
    """
    try:
        genotype = Genotype.parse(network.code)
    except GenotypeError as error:
        raise TemplateError(f"candidate {network.candidate_id}: {error}") from error
    adapted = Config(config.to_dict())
    model = adapted.model
    strides = [4 * 2**level for level in range(len(genotype.stages) + 1)]
    norm_cfg = model.backbone.get("norm_cfg") or {"type": "BN"}
    model.backbone = {
        "type": "SpNet",
        "code": network.code,
        "base_width": network.base_width,
        "norm_cfg": norm_cfg,
    }
    model.neck = {
        "type": "SpFPN",
        "in_channels": list(genotype.stage_channels(network.base_width)),
        "out_channels": model.neck.out_channels,
        "norm_cfg": model.neck.get("norm_cfg"),
    }
    model.rpn_head.anchor_generator.strides = strides
    for extractor in _roi_extractors(model.roi_head):
        extractor.featmap_strides = strides[:-1]
    adapted.param_scheduler = _stretched(
        _listed(config.get("param_scheduler")), epochs / config.train_cfg.max_epochs, batch_parts
    )
    if batch_parts > 1:
        adapted.optim_wrapper.accumulative_counts = batch_parts * config.optim_wrapper.get("accumulative_counts", 1)
    adapted.train_cfg = {"type": "EpochBasedTrainLoop", "max_epochs": epochs, "val_interval": 1}
    return adapted


def describe(config: Config) -> dict[str, Any]:
    """What a planner may want to know of a checked template, as JSON.

    `heads` are the fields of `lineage.cost.Heads`; where they can't be counted it is None, and `heads_unknown` says why.
    """
    heads, unknown = None, None
    try:
        heads = asdict(count_heads(config))
    except HeadsUnknown as error:
        unknown = str(error)
    return {
        "detector": config.model.type,
        "classes": _listed(config.model.roi_head.bbox_head)[0].num_classes,
        "neck_channels": config.model.neck.out_channels,
        "epochs": config.train_cfg.max_epochs,
        "heads": heads,
        "heads_unknown": unknown,
    }


def _stretched(schedulers: list[Any], epochs_factor: float, iterations_factor: int) -> list[dict[str, Any]]:
    stretched = []
    for scheduler in schedulers:
        ours = dict(scheduler)
        factor = epochs_factor if ours.get("by_epoch", True) else iterations_factor
        for key in ("T_max", "end", "step_size", "total_iters"):
            if key in ours:
                ours[key] = max(1, round(ours[key] * factor))
        if "begin" in ours:
            ours["begin"] = round(ours["begin"] * factor)
        if "milestones" in ours:
            ours["milestones"] = sorted({max(1, round(place * factor)) for place in ours["milestones"]})
        if ours.get("begin", 0) < ours.get("end", float("inf")):
            stretched.append(ours)
    return stretched


def _parse(path: Path) -> ast.Module:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise TemplateError(
                f"{path}: more than {MAX_BYTES >> 20} MiB, and no template is so large: name another file"
            )
        tree = ast.parse(content.decode(), str(path))
    except SyntaxError as error:
        raise TemplateError(f"{path}, line {error.lineno}: {error.msg}") from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise TemplateError(f"{path}: not readable as Python: {str(error) or type(error).__name__}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "read_base":
            raise TemplateError(
                f"{path}, line {node.lineno}: `with read_base()` is not supported; name base files in _base_ = [...]"
            )
    return tree


def _place(path: Path, tree: ast.Module, error: Exception) -> str:
    """The file and line an exception came from, as far as it is one of the template's own files."""
    if isinstance(error, SyntaxError):
        return f"{path}, a base file's line {error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.name == "<module>" and Path(frame.filename).is_file():
            return f"{frame.filename}, line {frame.lineno}"
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "_base_" for t in node.targets):
            return f"{path}, line {node.lineno} (_base_)"
    return str(path)


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else "no message"
    return text if isinstance(error, OSError | SyntaxError) else f"{type(error).__name__}: {text}"


def _refuse_older_mmdet(config: Config) -> None:
    data, model = config.get("data") or {}, config.get("model") or {}
    signs = [key for key in ("imgs_per_gpu", "samples_per_gpu") if isinstance(data, dict) and key in data]
    signs += [key for key in ("optimizer", "optimizer_config", "lr_config", "total_epochs", "runner") if key in config]
    signs += [key for key in ("bbox_roi_extractor", "bbox_head") if "rpn_head" in model and key in model]
    if signs and "train_dataloader" not in config:
        raise TemplateError(
            f"written for mmdet 1.x or 2.x (found {', '.join(signs)}), which mmdet 3.x can't read: classes no longer "
            f"count the background, and data, schedule and RoI head have other names. Start from {SHIPPED}"
        )


def _check_model(model: Any) -> None:
    def need(holder: Any, name: str, key: str) -> Any:
        if not isinstance(holder, dict) or not isinstance(holder.get(key), dict):
            raise TemplateError(
                f"{name}.{key} is not a dict: only two-stage detectors with backbone, one FPN neck, rpn_head and "
                "roi_head (Faster, Cascade, Mask R-CNN) can be searched for"
            )
        return holder[key]

    norm = need(model, "model", "backbone").get("norm_cfg") or {"type": "BN"}
    if not isinstance(norm, dict) or norm.get("type") not in NORMS or not norm.get("affine", True):
        raise TemplateError(
            f"model.backbone.norm_cfg is {norm}: new blocks begin with a zero gain, so a searched backbone's norms are "
            f"one of {', '.join(NORMS)}, affine"
        )
    if "out_channels" not in need(model, "model", "neck"):
        raise TemplateError("model.neck has no out_channels: a pyramid neck like FPN is needed")
    anchors = need(need(model, "model", "rpn_head"), "model.rpn_head", "anchor_generator")
    for key in ("base_sizes", "centers"):
        if anchors.get(key):
            raise TemplateError(f"model.rpn_head.anchor_generator.{key} is given level by level; use scales instead")
    roi_head = need(model, "model", "roi_head")
    if roi_head.get("semantic_head"):
        raise TemplateError("model.roi_head.semantic_head (HTC) reads fixed pyramid levels: it can't be adapted")
    if not roi_head.get("bbox_roi_extractor") or any("featmap_strides" not in e for e in _roi_extractors(roi_head)):
        raise TemplateError("model.roi_head has no bbox_roi_extractor with featmap_strides to adapt")
    if "num_classes" not in (_listed(roi_head.get("bbox_head")) or [{}])[0]:
        raise TemplateError("model.roi_head.bbox_head has no num_classes")


def _roi_extractors(roi_head: Any) -> Iterator[Any]:
    for key in ROI_EXTRACTORS:
        yield from _listed(roi_head.get(key))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def main() -> int:
    *options, path = sys.argv[1:] or [""]
    if not path or options not in ([], ["--images"]):
        sys.stderr.write("usage: python -m trainers.template [--images] PATH\n")
        return 2
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:  # what a template prints goes elsewhere
        os.dup2(2, 1)
        output.write(json.dumps(_answer(Path(path), images=bool(options))) + "\n")
    return 0


def _answer(path: Path, images: bool) -> dict[str, Any]:
    try:
        config = load_template(path)
    except TemplateError as error:
        return {"ok": False, "error": str(error)}
    facts = {"ok": True, **describe(config)}
    if images:
        facts["train_images"] = count_images(config.train_dataloader.get("dataset"))
        facts["val_images"] = count_images(config.val_dataloader.get("dataset"))
    return facts


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main())
