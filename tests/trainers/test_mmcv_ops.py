"""The stand-in for mmcv's compiled operators agrees with brute force, and says so when it can't help."""

import itertools
import math
import subprocess
import sys

import pytest
import torch

from trainers import mmcv_ops
from trainers.errors import OperatorMissing

KIND = mmcv_ops.install()

from mmcv.ops import RoIAlign, batched_nms, nms, roi_align, sigmoid_focal_loss  # noqa: E402 (after install)

torch.set_num_threads(1)
standin_only = pytest.mark.skipif(KIND == "compiled", reason="mmcv has its compiled operators here")


def random_boxes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 60
    sizes = 1 + torch.rand(count, 2, generator=generator) * 30
    return torch.cat([corners, corners + sizes], dim=1), torch.rand(count, generator=generator)


def brute_force_nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float, offset: int) -> list[int]:
    def iou(a: list[float], b: list[float]) -> float:
        width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
        height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
        areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
        return width * height / (sum(areas) - width * height)

    rows, kept = boxes.tolist(), []
    for candidate in scores.argsort(descending=True).tolist():
        if all(iou(rows[candidate], rows[better]) <= threshold for better in kept):
            kept.append(candidate)
    return kept


@pytest.mark.parametrize(
    ("offset", "threshold", "count"), list(itertools.product((0, 1), (0.1, 0.3, 0.5, 0.7), (1, 20, 80)))
)
def test_nms_keeps_the_boxes_brute_force_keeps(offset, threshold, count):
    boxes, scores = random_boxes(count, seed=count)
    detections, kept = nms(boxes, scores, iou_threshold=threshold, offset=offset)
    assert kept.tolist() == brute_force_nms(boxes, scores, threshold, offset)
    assert torch.equal(detections, torch.cat([boxes[kept], scores[kept, None]], dim=1))


def test_an_offset_of_one_can_change_what_is_kept():
    boxes, scores = torch.tensor([[0.0, 0, 4, 4], [0, 2, 4, 6]]), torch.tensor([0.9, 0.8])
    assert len(nms(boxes, scores, iou_threshold=0.4, offset=0)[1]) == 2
    assert len(nms(boxes, scores, iou_threshold=0.4, offset=1)[1]) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nms_works_in_half_precision(dtype):
    boxes, scores = random_boxes(40, seed=1)
    boxes, scores = boxes.round().to(dtype), torch.linspace(0.1, 0.9, 40).to(dtype)
    assert nms(boxes, scores, iou_threshold=0.5)[1].tolist() == brute_force_nms(boxes, scores, 0.5, 0)


def test_nms_of_no_boxes_is_empty():
    detections, kept = nms(torch.zeros(0, 4), torch.zeros(0), iou_threshold=0.5)
    assert detections.shape == (0, 5)
    assert kept.shape == (0,)


def test_batched_nms_keeps_classes_apart():
    boxes, scores = torch.tensor([[0.0, 0, 9, 9]] * 3), torch.tensor([0.9, 0.8, 0.7])
    _, kept = batched_nms(boxes, scores, torch.tensor([0, 1, 0]), {"type": "nms", "iou_threshold": 0.5})
    assert kept.tolist() == [0, 1]


def brute_force_roi_align(features, rois, size, scale, samples, aligned):
    def bilinear(plane, y, x):
        height, width = plane.shape
        if not (-1 <= y <= height and -1 <= x <= width):
            return 0.0
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        dy, dx = y - top, x - left
        upper = plane[top, left] * (1 - dx) + plane[top, right] * dx
        lower = plane[bottom, left] * (1 - dx) + plane[bottom, right] * dx
        return float(upper * (1 - dy) + lower * dy)

    pooled = torch.zeros(len(rois), features.size(1), size, size)
    for number, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (corner * scale - (0.5 if aligned else 0) for corner in corners)
        width, height = x2 - x1, y2 - y1
        if not aligned:
            width, height = max(width, 1), max(height, 1)
        across = samples or math.ceil(width / size)
        down = samples or math.ceil(height / size)
        for channel, row, column in itertools.product(range(features.size(1)), range(size), range(size)):
            values = [
                bilinear(
                    features[int(image), channel],
                    y1 + height / size * (row + (i + 0.5) / down),
                    x1 + width / size * (column + (j + 0.5) / across),
                )
                for i, j in itertools.product(range(down), range(across))
            ]
            pooled[number, channel, row, column] = sum(values) / len(values)
    return pooled


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("samples", [0, 2])
def test_roi_align_equals_brute_force(aligned, samples):
    features = torch.randn(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    boxes, _ = random_boxes(6, seed=2)
    rois = torch.cat([torch.tensor([[0.0], [1], [0], [1], [1], [0]]), boxes], dim=1)
    pooled = RoIAlign(3, spatial_scale=0.125, sampling_ratio=samples, aligned=aligned)(features, rois)
    difference = (pooled - brute_force_roi_align(features, rois, 3, 0.125, samples, aligned)).abs().max().item()
    assert difference <= 1e-5, f"largest difference {difference:.1e}"


def test_roi_align_has_the_right_gradient():
    features = torch.randn(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor([[0, 2.3, 1.1, 20.2, 18.4], [0, 5, 6, 11, 9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_align(x, rois, 2, 0.25, 2, "avg", True), (features,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_roi_align_works_in_half_precision(dtype):
    features, rois = torch.randn(1, 2, 8, 8), torch.tensor([[0, 2.0, 2, 20, 24]])
    half = features.to(dtype).requires_grad_()
    pooled = roi_align(half, rois.to(dtype), 2, 0.25, 2, "avg", True)
    pooled.sum().backward()
    assert pooled.dtype == half.grad.dtype == dtype
    torch.testing.assert_close(pooled.float(), roi_align(features, rois, 2, 0.25, 2, "avg", True), atol=0.02, rtol=0.02)


def focal_loss(logits, target, gamma, alpha, weight):
    """Lin et al., ICCV 2017, equation 5, summed; a target that is no class is background."""
    classes = logits.size(1)
    hit = torch.nn.functional.one_hot(target, classes + 1)[:, :classes].to(logits.dtype)
    p = logits.sigmoid()
    p_t, alpha_t = torch.where(hit > 0, p, 1 - p), torch.where(hit > 0, alpha, 1 - alpha)
    rows = torch.cat([weight, torch.ones(1)])[target][:, None] if weight is not None else 1.0
    return (-alpha_t * (1 - p_t) ** gamma * p_t.log() * rows).sum()


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 2.0, 3.0])])
@pytest.mark.parametrize("gamma", [0.0, 2.0, 1.5])
def test_focal_loss_and_its_gradient_equal_the_formula(gamma, weight):
    target = torch.tensor([0, 1, 2, 3, 4, 4, 2])  # 4 is background
    logits = torch.randn(7, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    twin = logits.detach().double().requires_grad_()
    ours = sigmoid_focal_loss(logits, target, gamma, 0.25, weight, "sum")
    expected = focal_loss(twin, target, gamma, 0.25, weight)
    ours.backward()
    expected.backward()
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    difference = (logits.grad - twin.grad).abs().max().item()
    assert difference <= 1e-6, f"largest difference {difference:.1e}"


def test_focal_loss_stays_finite_at_extreme_logits():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, "sum")
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@standin_only
def test_an_operator_without_stand_in_names_itself_and_the_remedy():
    from mmcv.ops import soft_nms

    boxes, scores = random_boxes(3, seed=0)
    with pytest.raises(OperatorMissing, match=r"'softnms'.*onedl-mmcv-cu128"):
        soft_nms(boxes, scores)
    with pytest.raises(OperatorMissing, match="pool_mode='max'"):
        roi_align(torch.zeros(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 2, 2]]), 2, 1.0, 0, "max", True)


@standin_only
def test_the_stand_in_is_no_trap_for_code_that_probes_modules():
    assert not hasattr(sys.modules["mmcv._ext"], "__wrapped__")


def test_installing_twice_changes_nothing():
    before = sys.modules.get("mmcv._ext")
    assert mmcv_ops.install() == KIND
    assert sys.modules.get("mmcv._ext") is before


def test_mmdet_models_can_be_imported_after_install():
    program = (
        "from trainers import mmcv_ops; print(mmcv_ops.install());"
        "import mmdet.models; print(mmdet.models.FasterRCNN.__name__)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout.split() == [KIND, "FasterRCNN"], result.stderr
