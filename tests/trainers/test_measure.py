"""What is measured is what the words say."""

import pytest
import torch
from torch import nn

from lineage import cost as prediction
from lineage.architecture import Genotype
from trainers import measure
from trainers.backbone import SpNet
from trainers.neck import SpFPN

torch.set_num_threads(1)
CPU = torch.device("cpu")


class Detector(nn.Module):
    def __init__(self, code: str, levels: int = 8) -> None:
        super().__init__()
        self.backbone = SpNet(code, base_width=8)
        self.neck = SpFPN(self.backbone.out_channels, levels)
        self.rpn_head = nn.Conv2d(levels, 3, 1)


def test_params_and_multiply_adds_are_those_of_backbone_and_neck():
    detector = Detector("b_1-2_0-0")
    convolutions = [  # in, out, kernel, output side of a 64 pixel image
        *((3, 8, 7, 32), (8, 8, 3, 16), (8, 8, 3, 16)),
        *((8, 16, 3, 8), (16, 16, 3, 8), (8, 16, 1, 8)),
        *((8, 8, 1, 16), (16, 8, 1, 8), (8, 8, 3, 16), (8, 8, 3, 8)),
    ]
    weights = sum(i * o * k * k for i, o, k, _ in convolutions)
    norms, biases = 2 * (8 * 3 + 16 * 3), 4 * 8
    cost = measure.cost(detector, (64, 64))
    assert cost.flops == sum(i * o * k * k * side**2 for i, o, k, side in convolutions)
    assert cost.params == weights + norms + biases


def test_a_backbone_can_be_measured_alone_and_a_branch_costs():
    plain = measure.cost(SpNet("b_11-21_0-0", base_width=8), (64, 64))
    parallel = measure.cost(SpNet("b_11-21_1-0", base_width=8), (64, 64))
    assert parallel.flops > plain.flops
    assert parallel.params > plain.params


@pytest.mark.parametrize("code", ["b_11-21-2_0-0-0", "r_12-1-21_2-1-1", "x(4x16d)_1-211-1-2_1-0-2-0"])
def test_the_cost_predicted_without_torch_is_the_measured_one(code):
    detector = Detector(code)
    measured = measure.cost(detector, (96, 72))
    predicted = prediction.cost(Genotype.parse(code), 8, (96, 72), neck_channels=8)
    assert (predicted.flops, predicted.params) == (measured.flops, measured.params)


def test_measuring_leaves_modes_statistics_and_gradients_alone():
    detector = Detector("b_1-2_0-0").train()
    detector.backbone.bn1.eval()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    modes = [module.training for module in detector.modules()]
    measure.cost(detector, (64, 64))
    measure.latency_ms(detector, (64, 64), CPU)
    measure.residual(detector, detector, torch.randn(2, 3, 64, 64))
    assert [module.training for module in detector.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())
    assert all(parameter.grad is None for parameter in detector.parameters())


def test_the_residual_is_the_largest_difference_of_any_shared_level():
    child, parent = Detector("b_1-2_0-0"), Detector("b_1-2_0-0")
    child.load_state_dict(parent.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert measure.residual(child, parent, images) == measure.Residual(0, 0)
    child.neck.fpn_convs[1].conv.bias.data += 0.5  # in the second level and in the one pooled from it
    assert measure.residual(child, parent, images).largest == pytest.approx(0.5, abs=1e-5)


def test_a_level_pooled_from_another_stage_is_not_compared():
    child, parent = Detector("b_1-2-1_0-0-0"), Detector("b_1-2_0-0")
    child.backbone.load_state_dict(child.backbone.state_dict() | parent.backbone.state_dict())
    child.neck.load_state_dict(child.neck.state_dict() | parent.neck.state_dict())
    for parameter in child.neck.lateral_convs[2].parameters():
        parameter.data.zero_()
    child.neck.fpn_convs[2].conv.bias.data.fill_(9)
    assert measure.residual(child, parent, torch.randn(1, 3, 64, 64)).largest == 0


def test_the_relative_residual_is_that_of_the_level_that_departs_most_for_its_size():
    child, parent = Detector("b_1-2_0-0"), Detector("b_1-2_0-0")
    child.load_state_dict(parent.state_dict())
    for detector in (child, parent):
        for level, bias in enumerate((1000.0, 2.0)):
            detector.neck.fpn_convs[level].conv.weight.data.zero_()
            detector.neck.fpn_convs[level].conv.bias.data.fill_(bias)
    child.neck.fpn_convs[0].conv.bias.data += 1
    child.neck.fpn_convs[1].conv.bias.data += 0.5
    images = torch.randn(1, 3, 64, 64)
    assert measure.residual(child, parent, images) == measure.Residual(largest=1.0, relative=0.25)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_features_that_are_no_numbers_are_infinitely_far_apart(value):
    child, parent = Detector("b_1-2_0-0"), Detector("b_1-2_0-0")
    child.load_state_dict(parent.state_dict())
    child.neck.fpn_convs[0].conv.bias.data.fill_(value)
    residual = measure.residual(child, parent, torch.randn(1, 3, 64, 64))
    assert residual == measure.Residual(torch.inf, torch.inf)


def test_networks_without_a_level_in_common_have_no_residual():
    wide, narrow = SpNet("b_1-2_0-0", base_width=8), SpNet("b_1-2_0-0", base_width=4)
    assert measure.residual(wide, narrow, torch.randn(1, 3, 64, 64)) is None


def test_latency_is_the_shortest_pass_in_milliseconds(monkeypatch):
    clock = iter([0.0, 9.0, 10.0, 10.010, 20.0, 20.500, 30.0, 30.020])  # the first pass warms up
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    latency_ms = measure.latency_ms(SpNet("b_1_0", base_width=8), (32, 32), CPU, passes=3)
    assert latency_ms == pytest.approx(10.0)


def test_peak_memory_on_a_cpu_is_what_a_step_has_to_keep():
    model = nn.Sequential(nn.Linear(100, 50, bias=False), nn.ReLU(), nn.Linear(50, 10, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batch = torch.randn(32, 100)

    def step() -> None:
        model(batch).pow(2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    weights = 100 * 50 + 50 * 10
    kept = 32 * (100 + 50 + 10)  # the batch, relu's output (saved by two operators, one storage), the squared output
    bytes_ = measure.peak_memory_bytes(step, model, optimizer, CPU)
    assert bytes_ == 4 * (3 * weights + kept)


def test_a_larger_batch_needs_more_memory():
    net = SpNet("b_11-21_1-0", base_width=8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def bytes_for(batch: int) -> int:
        images = torch.randn(batch, 3, 64, 64)
        return measure.peak_memory_bytes(
            lambda: sum(feature.sum() for feature in net(images)).backward(), net, optimizer, CPU
        )

    small, large = bytes_for(1), bytes_for(4)
    constant = (4 * small - large) / 3
    weights = 4 * sum(parameter.numel() for parameter in net.parameters())
    assert large > 2 * small
    assert 2 * weights < constant < 3 * weights


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_peak_memory_is_the_allocators():
    device = torch.device("cuda")
    net = SpNet("b_11-21_1-0", base_width=8).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    images = torch.randn(8, 3, 128, 128, device=device)
    peak = measure.peak_memory_bytes(
        lambda: sum(feature.sum() for feature in net(images)).backward(), net, optimizer, device
    )
    assert peak == torch.cuda.max_memory_allocated(device)
    assert peak > images.nbytes
    assert measure.latency_ms(net, (128, 128), device) > 0
