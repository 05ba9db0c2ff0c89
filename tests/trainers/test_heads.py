"""What is predicted of a whole detector without torch is what torch counts in the one that mmdet builds."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lineage.architecture import Genotype
from lineage.cost import Cost, cost
from lineage.morphism import Blueprint
from trainers import measure
from trainers.backbone import SpNet
from trainers.heads import HeadsUnknown, count_heads
from trainers.neck import SpFPN
from trainers.protocol import NetworkRef
from trainers.template import adapt, load_template

MODELS_OF_MMDET = Path(find_spec("mmdet").origin).parent / ".mim/configs/_base_/models"
PROPOSALS, DETECTIONS, NECK = 12, 7, 16
BOX = {"in_channels": NECK, "fc_out_channels": 24, "num_classes": 5}
BRANCHES = {"type": "ConvFCBBoxHead", "conv_out_channels": 20, "num_shared_convs": 1, "num_cls_convs": 1}
MASK = {"in_channels": NECK, "conv_out_channels": 12, "num_classes": 5}
GN = {"type": "GN", "num_groups": 4}

torch.set_num_threads(1)


def template(base: str, rpn: dict | None = None, box: dict | None = None, mask: dict | None = None) -> Config:
    """A detector of mmdet, made narrow; it keeps exactly PROPOSALS proposals and DETECTIONS detections of any image."""
    config = Config.fromfile(MODELS_OF_MMDET / f"{base}.py")
    model = config.model
    model.neck.out_channels = NECK
    model.rpn_head.update({"in_channels": NECK, "feat_channels": 24, **(rpn or {})})
    roi_head = model.roi_head
    for extractor in (roi_head.bbox_roi_extractor, roi_head.get("mask_roi_extractor")):
        if extractor:
            extractor.out_channels = NECK
    heads = roi_head.bbox_head if isinstance(roi_head.bbox_head, list) else [roi_head.bbox_head]
    for head in heads:
        head.update({**BOX, **(box or {})})
    if roi_head.get("mask_head"):
        roi_head.mask_head.update({**MASK, **(mask or {})})
    keep_all = {"type": "nms", "iou_threshold": 1.0}
    model.test_cfg.rpn.update(max_per_img=PROPOSALS, nms=keep_all)
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=DETECTIONS, nms=keep_all)
    config.train_cfg = {"max_epochs": 1}
    return config


def adapted(config: Config, code: str, base_width: int) -> Config:
    ids = Blueprint.seed(Genotype.parse(code), "s").block_ids
    network = NetworkRef(candidate_id="s", code=code, block_ids=ids, base_width=base_width)
    return adapt(config, network, epochs=1).model


def built(config: Config, code: str, base_width: int) -> nn.Module:
    register_all_modules(init_default_scope=True)
    return MODELS.build(adapted(config, code, base_width)).eval()


def counted(detector: nn.Module, run: Callable[[], object]) -> Cost:
    """All parameters, and FLOPs and outputs of layers during `run`, seen by torch's counter and forward hooks."""
    outputs: list[int] = []
    layers = [m for m in detector.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    hooks = [layer.register_forward_hook(lambda _m, _i, out: outputs.append(out.numel())) for layer in layers]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    for hook in hooks:
        hook.remove()
    params = sum(parameter.numel() for parameter in detector.parameters())
    return Cost(params, counter.get_total_flops() // 2, 4 * sum(outputs))


def predicted(detector: nn.Module, image_size: tuple[int, int]) -> Cost:
    """What mmdet's own prediction of one image costs."""
    height, width = image_size
    shape = {"img_shape": image_size, "ori_shape": image_size, "pad_shape": image_size}
    sample = DetDataSample(metainfo={**shape, "batch_input_shape": image_size, "scale_factor": (1.0, 1.0)})
    return counted(detector, lambda: detector.predict(torch.randn(1, 3, height, width), [sample]))


DETECTORS = {
    "faster": ("faster-rcnn_r50_fpn", {}),
    "softmax classes, class-agnostic boxes": (
        "faster-rcnn_r50_fpn",
        {
            "rpn": {"num_convs": 3, "loss_cls": {"type": "CrossEntropyLoss"}},
            "box": {"reg_class_agnostic": True},
        },
    ),
    "more anchors": (
        "faster-rcnn_r50_fpn",
        {
            "rpn": {
                "anchor_generator": {
                    "type": "AnchorGenerator",
                    "scales": None,
                    "octave_base_scale": 4,
                    "scales_per_octave": 2,
                    "ratios": [0.5, 1, 2],
                    "strides": [4],
                }
            }
        },
    ),
    "four convolutions and norms": (
        "faster-rcnn_r50_fpn",
        {"box": {"type": "Shared4Conv1FCBBoxHead", "conv_out_channels": 20, "norm_cfg": GN}},
    ),
    "branches": ("faster-rcnn_r50_fpn", {"box": {**BRANCHES, "num_reg_convs": 2, "num_reg_fcs": 1}}),
    "pooled branches": ("faster-rcnn_r50_fpn", {"box": {**BRANCHES, "num_cls_fcs": 2, "with_avg_pool": True}}),
    "mask": ("mask-rcnn_r50_fpn", {}),
    "mask, nearest": ("mask-rcnn_r50_fpn", {"mask": {"upsample_cfg": {"type": "nearest", "scale_factor": 2}}}),
    "class-agnostic mask with norms": ("mask-rcnn_r50_fpn", {"mask": {"class_agnostic": True, "norm_cfg": GN}}),
    "cascade": ("cascade-rcnn_r50_fpn", {}),
    "cascade mask": ("cascade-mask-rcnn_r50_fpn", {}),
}


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")  # mmdet, merging a cascade's masks
@pytest.mark.parametrize("name", DETECTORS)
def test_a_whole_detector_costs_what_was_predicted_of_its_template(name: str) -> None:
    base, options = DETECTORS[name]
    config, code, size = template(base, **options), "b_11-12-1-2_0-1-1-0", (101, 75)
    detector = built(config, code, base_width=8)
    prediction = cost(Genotype.parse(code), 8, size, NECK, count_heads(config))
    assert predicted(detector, size) == prediction
    measured = measure.cost(detector, size, whole=True)
    assert (measured.params, measured.flops) == (prediction.params, prediction.flops)


def test_norms_in_the_neck_are_counted_for_every_stage() -> None:
    config, size = template("faster-rcnn_r50_fpn"), (64, 96)
    config.model.neck.norm_cfg = GN
    heads = count_heads(config)
    for code in ("b_1-1_0-0", "r_1-2-1-1-1_0-0-0-1-0"):
        assert predicted(built(config, code, 8), size) == cost(Genotype.parse(code), 8, size, NECK, heads)


def random_code(rng: random.Random) -> str:
    """Any network of the space: 8 to 60 blocks, rather few, 4 to 7 stages, every block type, up to two branches."""
    block = rng.choice(["b", "r", "x(32x4d)", "x(4x16d)"])
    stages, blocks = rng.randint(4, 7), min(rng.randint(8, 60), rng.randint(8, 60))
    doublings = set(rng.sample(range(1, blocks), rng.randint(0, 4)))
    row = "".join("2" if place in doublings else "1" for place in range(blocks))
    borders = [0, *sorted(rng.sample(range(1, blocks), stages - 1)), blocks]
    serial = "-".join(row[start:end] for start, end in pairwise(borders))
    return f"{block}_{serial}_{'-'.join(rng.choice('00012') for _ in range(stages))}"


@pytest.fixture
def weightless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers without memory for weights; norms and activations, which nobody counts, pass on what they get."""
    monkeypatch.setattr(nn.Conv2d, "reset_parameters", lambda layer: None)
    monkeypatch.setattr(nn.BatchNorm2d, "reset_parameters", lambda norm: None)
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda norm, x: x)
    monkeypatch.setattr(nn.functional, "relu_", lambda x: x)
    monkeypatch.setattr(SpNet, "_initialise", lambda net: None)


def test_predictions_hold_over_the_whole_space(weightless: None) -> None:
    """200 networks under the same heads; what the RoI heads do is the same for every one and is measured above."""
    rng, config = random.Random(7), template("mask-rcnn_r50_fpn")
    heads = count_heads(config)
    with torch.device("meta"):
        detector = built(config, "b_1-1_0-0", 8)
    per_image = Cost(0, heads.flops, heads.activation_bytes)
    codes = {random_code(rng) for _ in range(200)}
    for code in codes:
        base_width, size = rng.choice([4, 8, 12]), (rng.randint(64, 300), rng.randint(64, 300))
        with torch.device("meta"):
            detector.backbone = SpNet(code, base_width)
            detector.neck = SpFPN(detector.backbone.out_channels, NECK)
        run = partial(predict_levels, detector, torch.empty(1, 3, *size, device="meta"))
        prediction = cost(Genotype.parse(code), base_width, size, NECK, heads)
        assert counted(detector.eval(), run) + per_image == prediction, (code, base_width, size)
    assert len(codes) == 200


def predict_levels(detector: nn.Module, image: torch.Tensor) -> None:
    detector.rpn_head(detector.extract_feat(image))


def test_latency_is_of_all_heads_on_regions_that_do_not_depend_on_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    detector, seen = built(template("mask-rcnn_r50_fpn"), "b_1-1-1_0-0-0", 8), []
    for head in (detector.roi_head.bbox_head, detector.roi_head.mask_head):
        head.register_forward_hook(lambda _module, arguments, _output: seen.append(len(arguments[0])))
    detector.rpn_head.rpn_cls.bias.data.fill_(float("nan"))  # no proposal could be drawn from these scores
    monkeypatch.setattr(measure, "shortest_ms", lambda run, device, times: run() or 5.0)
    assert measure.latency_ms(detector, (64, 64), torch.device("cpu"), whole=True) == 5.0
    assert seen == [PROPOSALS, DETECTIONS]
    assert measure.latency_ms(detector, (64, 64), torch.device("cpu")) == 5.0
    assert seen == [PROPOSALS, DETECTIONS]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: model.update(type="PanopticFPN"), r"model is PanopticFPN, not FasterRCNN or"),
        (lambda model: model.rpn_head.update(type="GARPNHead"), r"model\.rpn_head is GARPNHead"),
        (lambda model: model.roi_head.update(type="DoubleHeadRoIHead"), r"model\.roi_head is DoubleHeadRoIHead"),
        (lambda model: model.roi_head.update(shared_head={"type": "ResLayer"}), r"shared_head"),
        (lambda model: model.roi_head.bbox_head.update(type="SABLHead"), r"a bbox_head is SABLHead"),
        (
            lambda model: model.roi_head.bbox_head.update(loss_cls={"type": "SeesawLoss", "num_classes": 5}),
            r"loss_cls of a bbox_head is SeesawLoss",
        ),
        (
            lambda model: model.roi_head.bbox_head.update(
                cls_predictor_cfg={"type": "NormedLinear", "tempearture": 20}
            ),
            r"cls_predictor_cfg .*NormedLinear",
        ),
        (lambda model: model.roi_head.bbox_head.update(conv_cfg={"type": "DCN"}), r"conv_cfg .*DCN"),
        (lambda model: model.roi_head.mask_head.update(type="MaskPointHead"), r"a mask_head is MaskPointHead"),
        (lambda model: model.roi_head.mask_head.update(upsample_cfg={"type": "carafe", "scale_factor": 2}), r"carafe"),
        (lambda model: model.roi_head.mask_roi_extractor.update(type="GenericRoIExtractor"), r"GenericRoIExtractor"),
        (lambda model: model.test_cfg.rpn.update(max_per_img=-1), r"model\.test_cfg\.rpn\.max_per_img -1"),
        (lambda model: model.rpn_head.pop("in_channels"), r"missing.*in_channels"),
    ],
)
def test_heads_that_are_not_known_are_not_guessed_at(change: Callable[[Config], None], reason: str) -> None:
    config = template("mask-rcnn_r50_fpn")
    change(config.model)
    with pytest.raises(HeadsUnknown, match=reason):
        count_heads(config)


def test_the_shipped_templates_heads_are_known() -> None:
    shipped = load_template(Path(__file__).parents[2] / "examples/digits/faster_rcnn_r50_fpn_1x.py")
    assert count_heads(shipped).params > 0
