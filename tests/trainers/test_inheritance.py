"""A child takes its parent's tensors: growth keeps the function, what is new learns, and no tensor goes missing."""

import copy

import pytest
import torch
from births import (
    BLOCKS,
    NORMS,
    Detector,
    blueprint,
    born,
    grow,
    never_learning,
    probe_images,
    trained,
    training_residual,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

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
from trainers.errors import CheckpointError, TrainerError
from trainers.inheritance import Inheritance, inherit
from trainers.measure import residual
from trainers.probe import dead_tensors

torch.set_num_threads(1)

GROWTH = {
    "expand behind the first head": (Expand(0, 1, 1),),
    "expand at the end of the first stage": (Expand(0, 2, 2),),
    "expand in the middle": (Expand(1, 1, 1),),
    "expand before the last block": (Expand(2, 1, 1),),
    "expand after the last block": (Expand(2, 2, 1),),
    "expand a stage twice": (Expand(1, 1, 1), Expand(1, 1, 1)),
    "add a stage": (AddStage(),),
    "add two stages": (AddStage(), AddStage()),
    "grow a new stage": (AddStage(), Expand(3, 1, 1), Branch(3)),
    "branch beside the first stage": (Branch(0),),
    "branch beside the last stage": (Branch(2),),
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

BN = [(block, "BN") for block in BLOCKS]
NETWORKS = [*BN, *((block, "BN in eval mode") for block in BLOCKS), ("b", "GN"), ("x(4x16d)", "GN")]


def check_account(taken: Inheritance, child: nn.Module, parent: nn.Module) -> None:
    ours = [*taken.copied, *taken.adapted, *taken.new]
    assert sorted(ours) == sorted(child.state_dict())
    assert set(taken.dropped) <= set(parent.state_dict())


def check_growth(parent: Blueprint, morphisms: tuple[Morphism, ...], norm: str = "BN") -> None:
    """The child computes what its parent does, in evaluation and as it is trained, and all that is new learns."""
    model = trained(parent, **NORMS[norm])
    child = grow(parent, morphisms)
    detector, taken = born(child, parent, model, **NORMS[norm])
    images = probe_images()
    difference = residual(detector, model, images).largest
    assert difference <= 1e-4, f"{child.genotype}: in eval mode the child differs by {difference:.1e}"
    difference = training_residual(detector, model, images)
    assert difference <= 1e-4, f"{child.genotype}: in training mode the child differs by {difference:.1e}"
    check_account(taken, detector, model)
    assert taken.dropped == ()
    assert never_learning(detector, taken.new, images) == []


@pytest.mark.parametrize(("block", "norm"), NETWORKS)
@pytest.mark.parametrize("growth", GROWTH)
def test_growth_keeps_the_function_and_what_is_new_learns(block, growth, norm):
    check_growth(blueprint(f"{block}_12-21-11_0-0-0"), GROWTH[growth], norm)


@pytest.mark.parametrize(("block", "norm"), NETWORKS)
@pytest.mark.parametrize("growth", PARALLEL_GROWTH)
def test_a_parallel_network_grows_without_changing_its_function(block, growth, norm):
    check_growth(blueprint(f"{block}_11-21-11_0-1-0"), PARALLEL_GROWTH[growth], norm)


@pytest.mark.parametrize("code", ["b_1_0", "r_1_0", "x(4x16d)_1_0"])
def test_the_smallest_network_grows_at_its_only_block(code):
    check_growth(blueprint(code), (Expand(0, 1, 1),))
    check_growth(blueprint(code), (AddStage(),))
    check_growth(blueprint(code), (Branch(0),))


def test_a_pyramid_with_norms_grows_without_changing_its_function():
    parent = blueprint("b_12-21_0-0")
    model, child = trained(parent, neck_norm={"type": "BN"}), grow(parent, (AddStage(), AddStage()))
    detector, taken = born(child, parent, model, neck_norm={"type": "BN"})
    assert residual(detector, model, probe_images()).largest <= 1e-4
    assert training_residual(detector, model, probe_images()) <= 1e-4
    assert dead_tensors(detector, taken.new, probe_images()) == ()


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


@pytest.mark.parametrize(("block", "norm"), [*BN, ("b", "GN"), ("r", "BN in eval mode")])
@pytest.mark.parametrize("swap", swaps(blueprint("b_1121-11-211_0-0-0")), ids=str)
def test_a_swap_inherits_every_convolution_of_every_block_and_what_is_new_learns(block, swap, norm):
    parent = blueprint(f"{block}_1121-11-211_1-0-1")
    model = trained(parent, **NORMS[norm])
    child = grow(parent, (swap,))
    detector, taken = born(child, parent, model, **NORMS[norm])
    images = probe_images()
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


def test_behind_a_fusing_norm_that_a_swap_made_new_a_deeper_branch_learns():
    parent = blueprint("x(4x16d)_11-122-121_2-1-2")
    detector, taken = born(grow(parent, (Swap(1, -1),)), parent, trained(parent))
    assert {f"backbone.branches.{path}.2.fuse.conv.weight" for path in (1, 2)} <= set(taken.new)
    assert never_learning(detector, taken.new, probe_images()) == []


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


@pytest.mark.parametrize("whole", [True, False], ids=["of a detector", "in a checkpoint of its own"])
def test_from_a_backbone_alone_neck_and_heads_stay_as_they_were_initialised(whole):
    parent = blueprint("b_11-21_0-0")
    model = trained(parent)
    child = grow(parent, (Expand(1, 1, 1), AddStage()))
    detector = Detector(child)
    fresh = {name: t.clone() for name, t in detector.state_dict().items() if not name.startswith("backbone.")}
    state = {name: t for name, t in model.state_dict().items() if whole or name.startswith("backbone.")}
    taken = inherit(detector, child, state, parent, backbone_only=whole)
    assert residual(detector.backbone, model.backbone, probe_images()).largest == 0
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in detector.state_dict().items() if name in fresh)
    assert set(fresh) <= set(taken.new)
    assert set(taken.dropped) == {name for name in state if not name.startswith("backbone.")}
    assert dead_tensors(detector, taken.new, probe_images()) == ()


def test_a_backbone_that_never_was_in_a_detector_is_inherited_from():
    parent = blueprint("b_11-21_0-0")
    reignited = trained(parent).backbone
    detector = Detector(parent)
    taken = inherit(detector, parent, {}, parent, reignited.state_dict())
    assert residual(detector.backbone, reignited, probe_images()).largest == 0
    assert taken.dropped == ()
    assert {name.split(".")[0] for name in taken.new} == {"neck", "rpn_head"}


def test_from_another_detector_comes_what_has_the_same_shape():
    parent = blueprint("b_11-21_0-0")
    model = trained(parent)
    child = grow(parent, (AddStage(),))
    detector = Detector(child, head_channels=5, neck_channels=16)
    fresh = {name: t.clone() for name, t in detector.state_dict().items() if not name.startswith("backbone.")}
    taken = inherit(detector, child, model.state_dict(), parent)
    assert residual(detector.backbone, model.backbone, probe_images()).largest == 0
    assert all(torch.equal(tensor, fresh[name]) for name, tensor in detector.state_dict().items() if name in fresh)
    assert {name.split(".")[0] for name in taken.dropped} == {"neck", "rpn_head"}
    assert dead_tensors(detector, taken.new, probe_images()) == ()


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
def chains(draw: st.DrawFn) -> tuple[Blueprint, tuple[Morphism, ...], str]:
    """A small parent, one to four morphisms that fit, and a norm."""
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
    return parent, tuple(chain), draw(st.sampled_from(list(NORMS)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chains())
def test_after_any_chain_every_tensor_is_accounted_for_and_what_is_new_learns(case):
    parent, chain, norm = case
    model = trained(parent, **NORMS[norm])
    child = grow(parent, chain)
    detector, taken = born(child, parent, model, **NORMS[norm])
    check_account(taken, detector, model)
    known = tuple(f"backbone.stages.{i}.{j}." for i, j in correspondence(parent, child))
    assert all(".downsample." in name for name in taken.new if name.startswith(known))
    assert all(".downsample." in name or ".branches." in name for name in taken.dropped)
    assert dead_tensors(detector, taken.new, probe_images()) == ()
    if not any(isinstance(step, Swap) for step in chain):
        assert residual(detector, model, probe_images()).largest <= 1e-4
        assert taken.dropped == ()
