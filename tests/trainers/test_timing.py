"""Times of networks are measured without data, one measurement for each kind of device, and told on one line."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

from trainers import timing
from trainers.template import load_template

SHIPPED = Path(__file__).parents[2] / "examples/digits/faster_rcnn_r50_fpn_1x.py"
MASK_RCNN = Path(find_spec("mmdet").origin).parent / ".mim/configs/_base_/models/mask-rcnn_r50_fpn.py"
SMALL = {"code": "b_1-1_0-0", "base_width": 4, "image_size": [64, 96]}
LARGE = {"code": "r_11-12-2_1-0-0", "base_width": 32, "image_size": [96, 128]}


def ask(request: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "trainers.timing"]
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def test_asked_on_the_command_line_it_times_each_network_once_for_all_devices_alike() -> None:
    answer = ask({"template": str(SHIPPED), "networks": [SMALL, LARGE], "devices": ["cpu:0", "cpu:1"]})
    (kind,) = answer["kinds"]
    assert (kind["kind"], kind["devices"]) == ("cpu", ["cpu:0", "cpu:1"])
    small, large = kind["networks"]
    assert 0 < small["forward_ms"] < small["training_ms"] < large["training_ms"]


def test_a_template_that_can_not_be_used_is_the_answer() -> None:
    refused = timing.answer({"template": "missing.py", "networks": [], "devices": []})
    assert refused["ok"] is False
    assert refused["error"].startswith("missing.py: no such template")


def test_a_network_that_can_not_be_timed_says_why_and_the_others_are() -> None:
    config, wrong = load_template(SHIPPED), {**SMALL, "code": "b_1-1_0"}
    (kind,) = timing.time_networks(config, [wrong, SMALL], ["cpu:0"])
    failed, timed = kind["networks"]
    assert failed["error"].startswith("GenotypeError: ")
    assert timed["training_ms"] > 0


def test_the_training_that_is_timed_is_the_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its optimizer steps, on batches of its size, and its time is told for one image."""
    config, rows = load_template(SHIPPED), []
    monkeypatch.setattr(timing.measure, "shortest_ms", lambda run, device, times: rows.append(run()) or 80.0)
    monkeypatch.setattr(timing.measure, "latency_ms", lambda *arguments, **options: 1.0)
    config.train_dataloader.batch_size = 5
    (kind,) = timing.time_networks(config, [SMALL], ["cpu:0"])
    assert kind["networks"] == [{"forward_ms": 1.0, "training_ms": 16.0}]
    (losses,) = rows
    assert losses["loss"].isfinite()


def test_masks_are_made_up_where_the_detector_learns_them() -> None:
    config = Config.fromfile(MASK_RCNN)
    shipped = load_template(SHIPPED)
    config.train_dataloader, config.optim_wrapper = shipped.train_dataloader, shipped.optim_wrapper
    config.train_cfg = shipped.train_cfg
    config.model.neck.out_channels = 16
    for head in (config.model.rpn_head, config.model.roi_head.bbox_head, config.model.roi_head.mask_head):
        head.in_channels = 16
    for extractor in (config.model.roi_head.bbox_roi_extractor, config.model.roi_head.mask_roi_extractor):
        extractor.out_channels = 16
    config.model.roi_head.bbox_head.fc_out_channels = config.model.roi_head.mask_head.conv_out_channels = 16
    config.model.test_cfg.rpn.max_per_img = config.model.test_cfg.rcnn.max_per_img = 10
    config.model.train_cfg.rcnn.sampler.num = 20
    (kind,) = timing.time_networks(config, [SMALL], ["cpu:0"])
    assert kind["networks"][0].keys() == {"forward_ms", "training_ms"}, kind


def test_devices_of_one_name_are_measured_together(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"cuda:0": "big", "cuda:1": "small", "cuda:2": "big"}
    monkeypatch.setattr(torch.cuda, "get_device_name", names.get)
    monkeypatch.setattr(timing, "_times", lambda config, network, device: {"on": str(device)})
    kinds = timing.time_networks(load_template(SHIPPED), [SMALL], list(names))
    assert kinds == [
        {"kind": "big", "devices": ["cuda:0", "cuda:2"], "networks": [{"on": "cuda:0"}]},
        {"kind": "small", "devices": ["cuda:1"], "networks": [{"on": "cuda:1"}]},
    ]
