"""A child takes its parent's tensors: growth keeps the function, what is new learns, and no tensor goes missing."""

import copy
from itertools import accumulate

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from lineage.architecture import Genotype
from lineage.morphism import (
    AddStage,
    Blueprint,
    Branch,
    Expand,
    Morphism,
    Swap,
    apply,
    correspondence,
    expansions,
    swaps,
)
from trainers.backbone import SpNet
from trainers.errors import CheckpointError, TrainerError
from trainers.inheritance import Inheritance, inherit
from trainers.measure import residual
from trainers.neck import SpFPN

torch.set_num_threads(1)

BLOCKS = ("b", "r", "x(4x16d)")
GROWTH = {
    "expand inside a stage": (Expand(1, 1, 1),),
    "expand at the end of a stage": (Expand(0, 2, 2),),
    "expand a stage twice": (Expand(1, 1, 1), Expand(1, 1, 1)),
    "add a stage": (AddStage(),),
    "add two stages": (AddStage(), AddStage()),
    "grow a new stage": (AddStage(), Expand(3, 1, 1), Branch(3)),
    "branch": (Branch(0),),
    "branch twice beside one stage": (Branch(2), Branch(2)),
    "branch beside neighbours": (Branch(1), Branch(0)),
    "branch, then expand there": (Branch(1), Expand(1, 1, 1)),
    "all of them": (Expand(0, 1, 1), Branch(0), AddStage(), Branch(0), Branch(2), Expand(2, 1, 2)),
}
PARALLEL_GROWTH = {
    "a stage before one that a branch has": (Branch(0),),
    "a stage after": (Branch(2),),
    "one path deeper": (Branch(1),),
    "two paths deeper": (Branch(1), Branch(1)),
    "expand what branches copy": (Expand(1, 1, 1),),
    "between, and around": (Branch(2), Branch(0), Branch(0), Expand(0, 2, 1), AddStage()),
}


class Detector(nn.Module):
    """Backbone, neck and a stand-in for the heads, under the names of mmdet."""

    def __init__(self, blueprint: Blueprint, head_channels: int = 3) -> None:
        super().__init__()
        self.backbone = SpNet(blueprint.genotype.code, base_width=8)
        self.neck = SpFPN(self.backbone.out_channels, 8)
        self.rpn_head = nn.Conv2d(8, head_channels, 1)

    def forward(self, images: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        stages = self.backbone(images)
        return stages, self.neck(stages)


def trained(blueprint: Blueprint, seed: int = 0) -> Detector:
    """A parent in which every tensor matters: no gate is shut, no statistic is a default."""
    torch.manual_seed(seed)
    detector = Detector(blueprint)
    for name, tensor in detector.state_dict().items():
        if not tensor.is_floating_point():
            tensor.fill_(17)
        elif name.endswith(("running_var", "mix")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.dim() == 1:
            tensor.uniform_(0.3, 1.0) if name.endswith("weight") else tensor.normal_(std=0.3)
        else:
            tensor.normal_(std=(2 / tensor[0].numel()) ** 0.5)
    return detector


def blueprint(code: str) -> Blueprint:
    return Blueprint.seed(Genotype.parse(code), "parent")


def grow(parent: Blueprint, morphisms: tuple[Morphism, ...]) -> Blueprint:
    return list(accumulate(morphisms, lambda network, step: apply(network, step, "child"), initial=parent))[-1]


def born(child: Blueprint, parent: Blueprint, model: nn.Module) -> tuple[Detector, Inheritance]:
    torch.manual_seed(1)
    detector = Detector(child)
    return detector, inherit(detector, child, model.state_dict(), parent)


def training_residual(child: Detector, parent: Detector, images: torch.Tensor) -> float:
    """Largest difference of shared stages and levels with batch norm in training mode; the models stay as they are."""
    ours, theirs = (copy.deepcopy(model).train()(images) for model in (child, parent))
    shared = len(theirs[0])
    pairs = zip((*ours[0][:shared], *ours[1][:shared]), (*theirs[0], *theirs[1][:shared]), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def never_learning(child: Detector, names: tuple[str, ...], images: torch.Tensor) -> list[str]:
    """Which parameters have no gradient in either of two SGD steps.

    Left out is the bias of a fusing norm before an unpadded 1x1 convolution with batch norm, which takes constants away.
    """
    if child.backbone.genotype.block.kind != "b":
        names = tuple(name for name in names if not name.endswith("fuse.norm.bias"))
    torch.manual_seed(2)
    optimizer = torch.optim.SGD(child.parameters(), lr=0.01)
    parameters = {name: p for name, p in child.named_parameters() if name in names}
    alive: set[str] = set()
    child.train()
    for _ in range(2):
        optimizer.zero_grad()
        sum((level * torch.randn_like(level)).sum() / level[:, 0].numel() for level in child(images)[1]).backward()
        alive |= {name for name, p in parameters.items() if p.grad is not None and p.grad.abs().max() > 1e-6}
        optimizer.step()
    return sorted(parameters.keys() - alive)


def check_account(taken: Inheritance, child: nn.Module, parent: nn.Module) -> None:
    ours = [*taken.copied, *taken.adapted, *taken.new]
    assert sorted(ours) == sorted(child.state_dict())
    assert set(taken.dropped) <= set(parent.state_dict())


def check_growth(parent: Blueprint, morphisms: tuple[Morphism, ...]) -> Inheritance:
    model = trained(parent)
    child = grow(parent, morphisms)
    detector, taken = born(child, parent, model)
    images = torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(3))
    difference = residual(detector, model, images).largest
    assert difference <= 1e-4, f"{child.genotype}: in eval mode the child differs by {difference:.1e}"
    difference = training_residual(detector, model, images)
    assert difference <= 1e-4, f"{child.genotype}: in training mode the child differs by {difference:.1e}"
    check_account(taken, detector, model)
    assert taken.dropped == ()
    assert never_learning(detector, taken.new, images) == []
    return taken


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("growth", GROWTH)
def test_growth_keeps_the_function_and_what_is_new_learns(block, growth):
    check_growth(blueprint(f"{block}_12-21-11_0-0-0"), GROWTH[growth])


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("growth", PARALLEL_GROWTH)
def test_a_parallel_network_grows_without_changing_its_function(block, growth):
    check_growth(blueprint(f"{block}_11-21-11_0-1-0"), PARALLEL_GROWTH[growth])


def test_filling_a_gap_between_two_branch_stages_keeps_the_function():
    check_growth(blueprint("b_11-21-1-2_1-0-1-0"), (Branch(1),))
    check_growth(blueprint("b_11-21-1-2_2-1-2-0"), (Branch(1), Branch(3)))


def test_the_measure_would_notice_a_lost_tensor():
    parent = blueprint("b_12-21-11_1-0-1")
    model = trained(parent)
    detector, _ = born(parent, parent, model)
    images = torch.randn(2, 3, 96, 96)
    assert residual(detector, model, images).largest == 0
    for name in ("stages.1.1.bn2.running_mean", "branches.1.0.fuse.norm.weight", "branches.1.2.blocks.1.conv1.weight"):
        damaged = copy.deepcopy(detector)
        damaged.backbone.state_dict()[name].mul_(1.5)
        assert residual(damaged, model, images).largest > 1e-3, name


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("swap", swaps(blueprint("b_1121-11-211_0-0-0")), ids=str)
def test_a_swap_inherits_every_convolution_of_every_block(block, swap):
    parent = blueprint(f"{block}_1121-11-211_1-0-1")
    model = trained(parent)
    child = grow(parent, (swap,))
    detector, taken = born(child, parent, model)
    images = torch.randn(4, 3, 96, 96)
    check_account(taken, detector, model)
    lost = [name for name in taken.new if ".conv" in name and "fuse" not in name]
    assert lost == []
    theirs = model.state_dict()
    for block_id, (stage, index) in child.positions.items():
        old_stage, old_index = parent.positions[block_id]
        for name, tensor in detector.backbone.stages[stage][index].state_dict().items():
            source = f"backbone.stages.{old_stage}.{old_index}.{name}"
            if "downsample" not in name:
                assert torch.equal(tensor, theirs[source]), source
    difference = residual(detector, model, images).largest
    assert difference > 1e-3
    assert all(level.isfinite().all() for level in detector(images)[1])
    assert never_learning(detector, taken.new, images) == []


def test_a_block_that_becomes_a_stage_head_gets_a_living_shortcut():
    parent = blueprint("b_11-21_0-0")
    detector, taken = born(grow(parent, (Swap(0, -1),)), parent, trained(parent))
    assert "backbone.stages.1.0.downsample.0.weight" in taken.new
    projection = detector.backbone.stages[1][0].downsample
    x = torch.rand(2, 8, 6, 6)
    assert torch.equal(projection[0](x), x[:, :, ::2, ::2])
    assert (projection[1].weight == 1).all()


def test_a_head_that_becomes_an_inner_block_drops_its_shortcut():
    parent = blueprint("b_1-11-1_0-0-0")
    _, taken = born(grow(parent, (Swap(0, 1),)), parent, trained(parent))
    dropped = {name.removeprefix("backbone.stages.1.0.downsample.").split(".")[0] for name in taken.dropped}
    assert dropped == {"0", "1"}


def test_a_new_block_is_its_shortcut_by_the_gamma_of_its_last_norm_only():
    parent = blueprint("r_11-21_0-0")
    detector, _ = born(grow(parent, (Expand(0, 1, 1),)), parent, trained(parent))
    block = detector.backbone.stages[0][1]
    assert (block.bn3.weight == 0).all()
    assert (block.bn1.weight == 1).all()
    assert (block.bn2.weight == 1).all()
    assert all(conv.weight.std() > 0 for conv in (block.conv1, block.conv2, block.conv3))


def test_a_new_branch_copies_the_main_path_as_it_stands_in_the_child():
    parent = blueprint("b_11-21_0-0")
    model = trained(parent)
    detector, taken = born(grow(parent, (Branch(1),)), parent, model)
    for name, tensor in model.backbone.stages[1].state_dict().items():
        copied = f"backbone.branches.1.1.blocks.{name}"
        assert copied in taken.copied
        assert torch.equal(detector.state_dict()[copied], tensor)
    assert all(".fuse." in name for name in taken.new)


def test_branches_follow_their_blocks_through_a_swap():
    parent = blueprint("b_111-2_1-0")
    model = trained(parent)
    detector, _ = born(grow(parent, (Swap(0, -1), Branch(1))), parent, model)
    branch, theirs = detector.backbone.branches["1"], model.backbone
    assert torch.equal(branch["0"].blocks[1].conv1.weight, theirs.branches["1"]["0"].blocks[1].conv1.weight)
    assert torch.equal(branch["1"].blocks[0].conv1.weight, theirs.branches["1"]["0"].blocks[2].conv1.weight)
    assert torch.equal(branch["1"].blocks[1].conv1.weight, theirs.stages[1][0].conv1.weight)


def test_a_lateral_keeps_the_channels_that_are_still_there():
    parent = blueprint("b_11-21_0-0")
    model = trained(parent)
    detector, taken = born(grow(parent, (Swap(0, 1),)), parent, model)
    name = "neck.lateral_convs.0.conv.weight"
    assert taken.adapted == (name,)
    ours, theirs = detector.state_dict()[name], model.state_dict()[name]
    assert torch.equal(ours[:, :8], theirs)
    assert (ours[:, 8:] == 0).all()
    assert "neck.lateral_convs.0.conv.bias" in taken.copied


def test_the_heads_are_the_parents_where_shapes_agree_and_fresh_elsewhere():
    parent = blueprint("b_11-21_0-0")
    model = trained(parent)
    same, taken = born(parent, parent, model)
    assert torch.equal(same.rpn_head.weight, model.rpn_head.weight)
    assert taken.new == taken.adapted == taken.dropped == ()
    other = Detector(parent, head_channels=5)
    fresh = other.rpn_head.weight.clone()
    taken = inherit(other, parent, model.state_dict(), parent)
    assert set(taken.new) == set(taken.dropped) == {"rpn_head.weight", "rpn_head.bias"}
    assert torch.equal(other.rpn_head.weight, fresh)


def test_a_reignited_child_has_the_new_backbone_and_the_parents_rest():
    parent = blueprint("b_11-21_0-1")
    model, reignited = trained(parent), trained(parent, seed=5).backbone
    child = grow(parent, (Expand(1, 1, 1),))
    detector = Detector(child)
    state = reignited.state_dict() | {"fc.weight": torch.zeros(3)}
    taken = inherit(detector, child, model.state_dict(), parent, state)
    images = torch.randn(2, 3, 64, 64)
    assert residual(detector.backbone, reignited, images).largest == 0
    assert torch.equal(detector.neck.fpn_convs[0].conv.weight, model.neck.fpn_convs[0].conv.weight)
    assert torch.equal(detector.rpn_head.weight, model.rpn_head.weight)
    assert taken.dropped == ("backbone.fc.weight",)


def test_the_parent_is_not_changed_by_its_childs_training():
    parent = blueprint("b_11-21_0-0")
    model = trained(parent)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    detector, taken = born(grow(parent, (Branch(0), AddStage())), parent, model)
    never_learning(detector, taken.new, torch.randn(2, 3, 128, 128))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_of_another_network_are_refused():
    parent, child = blueprint("b_11-21_0-0"), blueprint("b_111-21_0-0")
    with pytest.raises(CheckpointError, match=r"b_111-21_0-0: its weights lack .* backbone\.stages\.0\.2"):
        inherit(Detector(child), child, Detector(parent).state_dict(), child)
    with pytest.raises(TrainerError, match="built as b_11-21_0-0"):
        inherit(Detector(parent), child, Detector(child).state_dict(), child)


@st.composite
def chains(draw: st.DrawFn) -> tuple[Blueprint, tuple[Morphism, ...]]:
    """A small parent, and one to four morphisms that fit."""
    stages = draw(st.lists(st.text("12", min_size=1, max_size=3), min_size=2, max_size=3))
    parallel = draw(st.lists(st.integers(0, 2), min_size=len(stages), max_size=len(stages)))
    code = f"{draw(st.sampled_from(BLOCKS))}_{'-'.join(stages)}_{'-'.join(map(str, parallel))}"
    network = parent = blueprint(code)
    chain = []
    for _ in range(draw(st.integers(1, 4))):
        kinds = (Branch, AddStage, Expand, Swap) if swaps(network) else (Branch, AddStage, Expand)
        kind = draw(st.sampled_from(kinds))
        if kind is Swap:
            chain.append(draw(st.sampled_from(swaps(network))))
        elif kind is Branch:
            chain.append(Branch(draw(st.sampled_from(range(len(network.genotype.stages))))))
        elif kind is Expand:
            chain.append(draw(st.sampled_from(expansions(network, max_new=2))))
        else:
            chain.append(AddStage())
        network = apply(network, chain[-1], "child")
    return parent, tuple(chain)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chains())
def test_after_any_chain_every_tensor_is_accounted_for(case):
    parent, chain = case
    model = trained(parent)
    child = grow(parent, chain)
    detector, taken = born(child, parent, model)
    check_account(taken, detector, model)
    known = tuple(f"backbone.stages.{i}.{j}." for i, j in correspondence(parent, child))
    assert all(".downsample." in name for name in taken.new if name.startswith(known))
    assert all(".downsample." in name or ".branches." in name for name in taken.dropped)
    if not any(isinstance(step, Swap) for step in chain):
        images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
        assert residual(detector, model, images).largest <= 1e-4
        assert taken.dropped == ()
