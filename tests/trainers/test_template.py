"""A detector template: which ones are taken, what a searched network changes in them, and how the others are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lineage.cost import Heads
from trainers.errors import TemplateError
from trainers.heads import count_heads
from trainers.protocol import NetworkRef
from trainers.template import adapt, load_template

SHIPPED = Path(__file__).parents[2] / "examples/digits/faster_rcnn_r50_fpn_1x.py"
BASES = Path(find_spec("mmdet").origin).parent / ".mim/configs/_base_"  # as mmdet::_base_, but found at once
COCO = f"""
_base_ = [
    "{BASES}/models/{{model}}.py",
    "{BASES}/datasets/coco_detection.py",
    "{BASES}/schedules/schedule_1x.py",
    "{BASES}/default_runtime.py",
]
"""
MMDET_1 = """
model = dict(
    type="FasterRCNN",
    pretrained="torchvision://resnet50",
    backbone=dict(type="ResNet", depth=50),
    neck=dict(type="FPN", in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
    rpn_head=dict(type="RPNHead", in_channels=256, anchor_scales=[8], anchor_strides=[4, 8, 16, 32, 64]),
    bbox_roi_extractor=dict(type="SingleRoIExtractor", featmap_strides=[4, 8, 16, 32]),
    bbox_head=dict(type="SharedFCBBoxHead", num_classes=81),
)
train_cfg = dict(rpn=dict())
data = dict(imgs_per_gpu=2, workers_per_gpu=2, train=dict(type="CocoDataset"))
optimizer = dict(type="SGD", lr=0.02)
lr_config = dict(policy="step", step=[8, 11])
total_epochs = 12
"""


def network(code: str) -> NetworkRef:
    stages = code.split("_")[1].split("-")
    ids = tuple(tuple(f"s.{stage}.{block}" for block in range(len(blocks))) for stage, blocks in enumerate(stages))
    return NetworkRef(candidate_id="s-0001", code=code, block_ids=ids, base_width=16)


def write(folder: Path, text: str) -> Path:
    path = folder / "template.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("code", "strides", "channels"),
    [
        ("b_11-21-21-21_0-0-0-0", [4, 8, 16, 32, 64], [16, 32, 64, 128]),
        ("r_1-2-2-1-1_0-0-0-0-1", [4, 8, 16, 32, 64, 128], [64, 128, 256, 256, 256]),
    ],
)
def test_what_hangs_on_the_stages_follows_the_code(code: str, strides: list[int], channels: list[int]) -> None:
    model = adapt(load_template(SHIPPED), network(code), epochs=1).model
    assert (model.backbone.type, model.backbone.code, model.backbone.base_width) == ("SpNet", code, 16)
    assert (model.neck.type, model.neck.in_channels, model.neck.out_channels) == ("SpFPN", channels, 32)
    assert model.rpn_head.anchor_generator.strides == strides
    assert model.roi_head.bbox_roi_extractor.featmap_strides == strides[:-1]


@pytest.mark.parametrize(
    ("base", "extractors"),
    [
        ("faster-rcnn_r50_fpn", ["bbox_roi_extractor"]),
        ("mask-rcnn_r50_fpn", ["bbox_roi_extractor", "mask_roi_extractor"]),
        ("cascade-rcnn_r50_fpn", ["bbox_roi_extractor"]),
        ("cascade-mask-rcnn_r50_fpn", ["bbox_roi_extractor", "mask_roi_extractor"]),
    ],
)
def test_two_stage_detectors_of_mmdet_are_adapted(tmp_path: Path, base: str, extractors: list[str]) -> None:
    template = load_template(write(tmp_path, COCO.format(model=base)))
    model = adapt(template, network("r_1-1-1-1-1_0-0-0-0-0"), epochs=1).model
    assert [model.roi_head[name].featmap_strides for name in extractors] == [[4, 8, 16, 32, 64]] * len(extractors)
    assert model.neck.out_channels == 256


def test_the_templates_norm_layers_are_kept_and_its_pretrained_weights_are_not(tmp_path: Path) -> None:
    norm = 'model = dict(backbone=dict(norm_cfg=dict(_delete_=True, type="GN", num_groups=8)))'
    template = load_template(write(tmp_path, COCO.format(model="faster-rcnn_r50_fpn") + norm))
    backbone = adapt(template, network("b_1-1_0-0"), epochs=1).model.backbone
    assert backbone.norm_cfg == {"type": "GN", "num_groups": 8}
    assert "init_cfg" not in backbone


def test_adapting_leaves_the_template_alone() -> None:
    template = load_template(SHIPPED)
    before = template.to_dict()
    adapt(template, network("r_1-2-2-1-1_0-0-0-0-1"), epochs=3)
    assert template.to_dict() == before


def test_schedule_by_epochs_is_stretched_and_warm_up_by_iterations_stays(tmp_path: Path) -> None:
    template = load_template(write(tmp_path, COCO.format(model="faster-rcnn_r50_fpn")))  # 12 epochs, drops at 8 and 11
    adapted = adapt(template, network("b_1-1_0-0"), epochs=24)
    warm_up, drops = adapted.param_scheduler
    assert (warm_up.by_epoch, warm_up.end) == (False, 500)
    assert (drops.milestones, drops.end) == ([16, 22], 24)
    assert adapted.train_cfg.max_epochs == 24
    brief = adapt(load_template(SHIPPED), network("b_1-1_0-0"), epochs=1)
    assert (brief.param_scheduler[1].T_max, brief.train_cfg.max_epochs) == (1, 1)


def test_batches_in_parts_are_as_many_iterations_and_steps_of_the_optimizer(tmp_path: Path) -> None:
    template = load_template(write(tmp_path, COCO.format(model="faster-rcnn_r50_fpn")))
    adapted = adapt(template, network("b_1-1_0-0"), epochs=12, batch_parts=2)
    assert adapted.optim_wrapper.accumulative_counts == 2
    warm_up, drops = adapted.param_scheduler
    assert (warm_up.end, drops.milestones) == (1000, [8, 11])


def test_impossible_code_is_refused() -> None:
    with pytest.raises(TemplateError, match=r"s-0001.*parallel digits"):
        adapt(load_template(SHIPPED), network("b_1-1_0"), epochs=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model = dict(\n", r"template\.py, line 1: .*never closed"),
        ("a = 1\nmodel = dict(type=FasterRCNN)\n", r"template\.py, line 2: NameError: .*FasterRCNN"),
        ("a = 1\n_base_ = ['./missing.py']\n", r"template\.py, line 2 \(_base_\): .*missing\.py"),
        ("_base_ = ['mmdet::_base_/models/no-such.py']\n", r"template\.py, line 1 \(_base_\): .*no-such\.py"),
        ("with read_base():\n    from .model import *\n", r"line 1: `with read_base\(\)` is not supported"),
        ("lr = 0.02\n", r"template\.py: .*needs model, train_dataloader"),
        (MMDET_1, r"mmdet 1\.x or 2\.x \(found imgs_per_gpu, optimizer.*examples/digits/faster_rcnn_r50_fpn_1x\.py"),
        (COCO.format(model="retinanet_r50_fpn"), r"model\.rpn_head is not a dict: only two-stage detectors"),
        (
            COCO.format(model="faster-rcnn_r50_fpn") + "model = dict(neck=[dict(type='FPN'), dict(type='BFP')])\n",
            r"template\.py.*neck",
        ),
        (
            COCO.format(model="faster-rcnn_r50_fpn") + "val_evaluator = dict(type='VOCMetric', _delete_=True)\n",
            r"not one CocoMetric",
        ),
        (
            COCO.format(model="faster-rcnn_r50_fpn") + "train_cfg = dict(_delete_=True, by_epoch=False, max_iters=9)\n",
            r"no max_epochs",
        ),
        (
            COCO.format(model="faster-rcnn_r50_fpn") + "model = dict(backbone=dict(norm_cfg=dict(type='LN')))\n",
            r"template\.py: model\.backbone\.norm_cfg is .*'LN'.*one of BN, .*GN",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        load_template(write(tmp_path, text))


def test_error_in_a_base_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text("a = 1\nb = 1 / 0\n")
    with pytest.raises(TemplateError, match=r"base\.py, line 2: ZeroDivisionError"):
        load_template(write(tmp_path, "_base_ = ['./base.py']\n"))


def test_missing_file_is_refused_and_the_shipped_one_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"no such template; .*spnas-orch init"):
        load_template(tmp_path / "template.py")


def answer(path: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "trainers.template", *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    return json.loads(done.stdout)


def test_asked_on_the_command_line_it_answers_with_one_line_of_json(tmp_path: Path) -> None:
    noisy = write(tmp_path, f"_base_ = ['{SHIPPED}']\nprint('hello')\n")
    facts = answer(noisy)
    heads = facts.pop("heads")
    known = {"ok": True, "detector": "FasterRCNN", "classes": 10, "neck_channels": 32, "epochs": 12}
    assert facts == {**known, "heads_unknown": None}
    assert Heads(**heads) == count_heads(load_template(SHIPPED))
    images = answer(noisy, "--images")
    assert (images["train_images"], images["val_images"]) == (None, None)  # the data are not there
    refused = answer(write(tmp_path, "model = 1 +\n"))
    assert refused["ok"] is False
    assert "template.py, line 1" in str(refused["error"])


def test_asking_takes_neither_torch_nor_mmdet() -> None:
    program = (
        "import sys, pathlib; from trainers.template import load_template; load_template(pathlib.Path(sys.argv[1]));"
        "print(sorted({'torch', 'mmdet', 'mmcv'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(SHIPPED)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "text", ["x = 1\n" * 200_000, "(" * 100_000, "x = " + "-" * 100_000 + "1", "x = [" * 99 + "\xff"]
)
def test_a_template_that_no_parser_can_take_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.py"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(TemplateError, match=r"t\.py") as caught:
        load_template(path)
    assert len(str(caught.value)) < 400
