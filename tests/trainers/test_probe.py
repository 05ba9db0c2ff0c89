"""The gradient probe finds what can't learn, and leaves no trace."""

import pytest
import torch
from births import BLOCKS, NORMS, Detector, blueprint, born, grow, probe_images, trained
from torch import nn

from lineage.morphism import AddStage, Branch, Expand
from trainers import measure
from trainers.probe import dead_tensors

torch.set_num_threads(1)


def parameters(module: nn.Module, prefix: str) -> set[str]:
    return {f"{prefix}.{name}" for name, _ in module.named_parameters()}


def grown(code: str, *morphisms, **norm) -> tuple[Detector, tuple[str, ...]]:
    """A child of a trained parent, and what is new in it."""
    parent = blueprint(code)
    detector, taken = born(grow(parent, morphisms), parent, trained(parent, **norm), **norm)
    return detector, taken.new


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", BLOCKS)
def test_nothing_new_is_dead_after_growth(block, norm):
    detector, new = grown(f"{block}_12-21_0-0", Expand(1, 2, 1), AddStage(), Branch(0), **NORMS[norm])
    assert dead_tensors(detector, new, probe_images()) == ()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_new_block_with_every_norm_at_zero_is_dead_but_for_one_bias(block, norm):
    detector, new = grown(f"{block}_11-21_0-0", Expand(0, 1, 1), **NORMS[norm])
    added = detector.backbone.stages[0][1]
    for name, parameter in added.named_parameters():
        if "bn" in name and name.endswith("weight"):
            nn.init.zeros_(parameter)
    alive = {"backbone.stages.0.1.bn2.bias" if block == "b" else "backbone.stages.0.1.bn3.bias"}
    assert set(dead_tensors(detector, new, probe_images())) == parameters(added, "backbone.stages.0.1") - alive


def test_a_zeroed_shortcut_kills_what_is_behind_it():
    detector, new = grown("r_11-21_0-0", AddStage())
    head = detector.backbone.stages[2][0]
    for norm in (head.bn3, head.downsample[1]):
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    dead = set(dead_tensors(detector, new, probe_images()))
    assert parameters(head, "backbone.stages.2.0") <= dead
    assert "neck.lateral_convs.2.conv.weight" in dead  # it sees zeros


def test_two_shut_gates_in_a_row_hold_up_what_is_behind_the_second():
    detector, new = grown("b_11-21_0-0", Branch(0), Branch(0))
    deeper = detector.backbone.branches["2"]["0"]
    assert dead_tensors(detector, new, probe_images()) == ()
    nn.init.zeros_(deeper.fuse["norm"].weight)
    assert dead_tensors(detector, new, probe_images()) == ("backbone.branches.2.0.fuse.conv.weight",)


def test_frozen_stages_and_heads_are_not_judged():
    detector = trained(blueprint("b_11-21_0-0"), frozen_stages=1)
    for parameter in (*detector.backbone.stages[1].parameters(), *detector.rpn_head.parameters()):
        nn.init.zeros_(parameter)
    names = [name for name, _ in detector.named_parameters()]
    dead = dead_tensors(detector, names, probe_images())
    assert any(name.startswith("backbone.stages.1.") for name in dead)
    assert not any(name.startswith(("backbone.conv1", "backbone.stages.0.", "rpn_head.")) for name in dead)


def test_only_the_named_parameters_are_judged():
    detector, new = grown("b_11-21_0-0", Expand(0, 1, 1))
    for parameter in detector.backbone.stages[0][1].parameters():
        nn.init.zeros_(parameter)
    [one] = dead_tensors(detector, [name for name in new if name.endswith("0.1.conv1.weight")], probe_images())
    assert one == "backbone.stages.0.1.conv1.weight"
    assert dead_tensors(detector, (), probe_images()) == ()


def traces(detector: Detector) -> tuple[dict[str, torch.Tensor], list[object], torch.Tensor]:
    tensors = {**dict(detector.named_parameters()), **dict(detector.named_buffers())}
    gradients = {f"grad of {n}": p.grad for n, p in detector.named_parameters() if p.grad is not None}
    modes = [(module.training, [p.requires_grad for p in module.parameters()]) for module in detector.modules()]
    return {name: t.detach().clone() for name, t in (tensors | gradients).items()}, modes, torch.get_rng_state()


def same(left, right) -> bool:
    return (
        left[0].keys() == right[0].keys()
        and all(torch.equal(tensor, right[0][name]) for name, tensor in left[0].items())
        and left[1] == right[1]
        and torch.equal(left[2], right[2])
    )


@pytest.mark.parametrize("norm", NORMS)
def test_it_leaves_weights_buffers_gradients_modes_and_randomness_as_they_were(norm):
    detector, new = grown("b_11-21_0-0", Expand(0, 1, 1), Branch(1), **NORMS[norm])
    detector.neck(detector.backbone(probe_images()))[0].sum().backward()  # some parameters have gradients, some not
    detector.backbone.stages[1].eval()
    before = traces(detector)
    dead_tensors(detector, new, probe_images())
    assert same(before, traces(detector))


def test_a_probe_that_fails_half_way_is_undone_too(monkeypatch):
    detector, new = grown("b_11-21_0-0", Expand(0, 1, 1))
    before, passes, features = traces(detector), [], measure.features

    def fail_second_time(*arguments):
        passes.append(not same(before, traces(detector)))
        if len(passes) == 2:
            raise MemoryError
        return features(*arguments)

    monkeypatch.setattr(measure, "features", fail_second_time)
    with pytest.raises(MemoryError):
        dead_tensors(detector, new, probe_images())
    assert passes[1], "the second pass was to see other weights"
    assert same(before, traces(detector))


def test_it_says_the_same_every_time():
    detector, new = grown("r_11-21_0-0", Branch(0), Branch(1))
    nn.init.zeros_(detector.backbone.branches["1"]["0"].fuse["conv"].weight)
    first = dead_tensors(detector, new, probe_images())
    torch.rand(3)
    assert dead_tensors(detector, new, probe_images()) == first


def test_a_network_that_gets_no_gradient_at_all_is_dead_throughout():
    detector = trained(blueprint("b_11-21_0-0"))
    for parameter in detector.neck.parameters():
        nn.init.zeros_(parameter)
    names = [name for name, _ in detector.named_parameters() if name.startswith("backbone.")]
    assert dead_tensors(detector, names, probe_images()) == tuple(names)
