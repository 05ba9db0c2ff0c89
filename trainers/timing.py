"""How long networks take on this machine's devices: measured on made-up images, without a data set.

    python -m trainers.timing

reads one JSON object, ``{"template": "t.py", "devices": ["cpu:0", "cpu:1"], "networks": [{"code": "b_1-1_0-0",
"base_width": 16, "image_size": [96, 96]}]}``, and answers with one line and exit code 0: ``{"ok": false, "error": "..."}``
or, with one measurement for each kind of device,

    {"ok": true, "kinds": [{"kind": "cpu", "devices": ["cpu:0", "cpu:1"],
                            "networks": [{"forward_ms": 3.1, "training_ms": 14.2}]}]}

with ``{"error": "..."}`` in place of a network that can't be timed. Times are for one image: of a forward pass, and of a
step of training (loss, backward pass, optimizer) on a batch as large as the template's. To load images is not in them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from mmengine.utils import import_modules_from_strings

from lineage.architecture import Genotype
from lineage.morphism import Blueprint
from trainers import mmcv_ops
from trainers.errors import TemplateError
from trainers.parent import end_with_parent
from trainers.protocol import NetworkRef
from trainers.runner import quiet_mmengine
from trainers.template import adapt, describe, load_template

mmcv_ops.install()

from mmdet.registry import MODELS  # noqa: E402 (mmdet.models needs mmcv's operators)
from mmdet.structures import DetDataSample  # noqa: E402
from mmdet.structures.mask import BitmapMasks  # noqa: E402
from mmdet.utils import register_all_modules  # noqa: E402

from trainers import backbone, measure, neck  # noqa: E402, F401 (backbone and neck register)

OBJECTS = 4  # in a made-up image
STEPS = 3

Size = tuple[int, int]


def time_networks(config: Config, networks: list[dict[str, Any]], devices: list[str]) -> list[dict[str, Any]]:
    """Times of each network on each kind of device among `devices`, as the module says."""
    register_all_modules(init_default_scope=True)
    quiet_mmengine()
    if "custom_imports" in config:
        import_modules_from_strings(**config.custom_imports)
    kinds: dict[str, list[str]] = {}
    for device in devices:
        kinds.setdefault(torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu", []).append(device)
    if "cpu" in kinds:
        torch.set_num_threads(1)  # as in a worker
    return [
        {
            "kind": kind,
            "devices": alike,
            "networks": [_times(config, network, _device(alike[0])) for network in networks],
        }
        for kind, alike in kinds.items()
    ]


def _device(name: str) -> torch.device:
    return torch.device(name if name.startswith("cuda") else "cpu")


def _times(config: Config, network: dict[str, Any], device: torch.device) -> dict[str, Any]:
    torch.manual_seed(0)
    facts, size = describe(config), (network["image_size"][0], network["image_size"][1])
    images = config.train_dataloader.get("batch_size", 1)
    try:
        ids = Blueprint.seed(Genotype.parse(network["code"]), "s").block_ids
        ref = NetworkRef(candidate_id="s", code=network["code"], block_ids=ids, base_width=network["base_width"])
        adapted = adapt(config, ref, epochs=1)
        detector = MODELS.build(adapted.model)
        detector.init_weights()
        detector.to(device)
        wrapper = build_optim_wrapper(detector, adapted.optim_wrapper)
        batch = _batch(images, size, facts["classes"], masks=detector.roi_head.with_mask)
        forward_ms = measure.latency_ms(detector, size, device, passes=STEPS, whole=facts["heads"] is not None)
        detector.train()
        step_ms = measure.shortest_ms(lambda: detector.train_step(batch(), wrapper), device, STEPS)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"forward_ms": forward_ms, "training_ms": step_ms / images}


def _batch(images: int, size: Size, classes: int, masks: bool) -> Callable[[], dict[str, Any]]:
    """Makes batches of noise, each image with a few objects; a step of training may change the one it is given."""
    height, width = size
    noise = torch.randint(256, (3, height, width), dtype=torch.uint8)
    side = torch.linspace(min(size) / 8, min(size) / 2, OBJECTS)
    boxes = torch.stack([side / 2, side / 2, side * 3 / 2, side * 3 / 2], dim=1)

    def sample() -> DetDataSample:
        instances = InstanceData(bboxes=boxes, labels=torch.arange(OBJECTS) % classes)
        if masks:
            instances.masks = BitmapMasks(np.ones((OBJECTS, height, width), np.uint8), height, width)
        result = DetDataSample(metainfo={"img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)})
        result.gt_instances = instances
        result.ignored_instances = InstanceData(bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.long))
        return result

    return lambda: {"inputs": [noise] * images, "data_samples": [sample() for _ in range(images)]}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request, as the module says."""
    try:
        config = load_template(Path(request["template"]))
    except TemplateError as error:
        return {"ok": False, "error": str(error)}
    return {"ok": True, "kinds": time_networks(config, request["networks"], request["devices"])}


def main() -> int:
    request = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:  # what libraries print goes elsewhere
        os.dup2(2, 1)
        output.write(json.dumps(answer(request)) + "\n")
    return 0


if __name__ == "__main__":
    end_with_parent()
    sys.exit(main())
