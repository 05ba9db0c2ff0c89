"""Whatever a morphism does to a valid network gives a valid network whose blocks can be traced to the parent's."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from test_architecture import genotypes

from lineage.architecture import Genotype, GenotypeError
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
    preserves_function,
    swaps,
)

RESNET50 = Blueprint.seed(Genotype.parse("r_111-2111-211111-211_0-0-0-0"), "s-0000")


def flat(blueprint: Blueprint) -> list[str]:
    return [block_id for stage in blueprint.block_ids for block_id in stage]


def order(blueprint: Blueprint) -> str:
    return "".join(blueprint.genotype.stages)


@st.composite
def mutated(draw: st.DrawFn) -> tuple[Blueprint, Morphism, Blueprint]:
    """A parent that is itself a child of random morphisms, one more morphism, and the outcome."""
    blueprint = Blueprint.seed(draw(genotypes(max_stages=5)), "s-0000")
    for number in range(1, draw(st.integers(2, 4))):
        choices: list[Morphism] = [*swaps(blueprint), *expansions(blueprint, 3), AddStage()]
        choices += [Branch(stage) for stage in range(len(blueprint.genotype.stages))]
        parent, morphism = blueprint, draw(st.sampled_from(choices))
        blueprint = apply(parent, morphism, f"s-{number:04d}")
    return parent, morphism, blueprint


@given(mutated())
def test_every_mutation_of_every_network_is_a_network(case: tuple[Blueprint, Morphism, Blueprint]) -> None:
    _, _, child = case
    assert Genotype.parse(child.genotype.code) == child.genotype
    assert len(set(flat(child))) == child.genotype.depth


@given(mutated())
def test_no_mutation_loses_or_reorders_a_block_of_the_parent(case: tuple[Blueprint, Morphism, Blueprint]) -> None:
    parent, _, child = case
    assert [block_id for block_id in flat(child) if block_id in flat(parent)] == flat(parent)
    assert len(correspondence(parent, child)) == parent.genotype.depth
    for (stage, index), (old_stage, old_index) in correspondence(parent, child).items():
        assert child.block_ids[stage][index] == parent.block_ids[old_stage][old_index]


@given(mutated())
def test_a_mutation_changes_what_its_name_says_and_nothing_else(case: tuple[Blueprint, Morphism, Blueprint]) -> None:
    parent, morphism, child = case
    before, after = parent.genotype, child.genotype
    match morphism:
        case Swap(stage, blocks):
            assert flat(child) == flat(parent)
            assert order(child) == order(parent)
            assert len(after.stages[stage]) == len(before.stages[stage]) + blocks
            assert 1 <= abs(blocks) <= 3
        case Expand(stage, index, blocks):
            assert index >= 1
            assert after.stages[stage] == before.stages[stage][:index] + "1" * blocks + before.stages[stage][index:]
            assert [child.block_ids[i][0] for i in range(len(after.stages))] == [ids[0] for ids in parent.block_ids]
        case AddStage():
            assert after.stages == (*before.stages, "1")
            assert after.parallel == (*before.parallel, 0)
        case Branch(stage):
            assert child.block_ids == parent.block_ids
            assert after.parallel[stage] == before.parallel[stage] + 1


@given(genotypes())
def test_swapping_back_restores_the_parent(genotype: Genotype) -> None:
    parent = Blueprint.seed(genotype, "s-0000")
    assume(swaps(parent))
    for swap in swaps(parent):
        child = apply(parent, swap, "s-0001")
        assert apply(child, Swap(swap.stage, -swap.blocks), "s-0002") == parent


def test_resnet_50_by_hand() -> None:
    codes = {
        Swap(1, 2): "r_111-211121-1111-211_0-0-0-0",
        Swap(2, -3): "r_111-2111-211-111211_0-0-0-0",
        Expand(0, 1, 2): "r_11111-2111-211111-211_0-0-0-0",
        AddStage(): "r_111-2111-211111-211-1_0-0-0-0-0",
        Branch(2): "r_111-2111-211111-211_0-0-1-0",
    }
    assert {morphism: apply(RESNET50, morphism, "s-0001").genotype.code for morphism in codes} == codes


def test_every_swap_leaves_no_stage_empty() -> None:
    parent = Blueprint.seed(Genotype.parse("b_1-111-11_0-0-0"), "s-0000")
    assert set(swaps(parent)) == {Swap(0, 1), Swap(0, 2), Swap(1, 1), Swap(1, -1), Swap(1, -2)}


def test_new_blocks_are_named_after_the_child_and_never_twice() -> None:
    child = apply(apply(RESNET50, Expand(0, 1, 1), "s-0001"), Expand(0, 1, 1), "s-0001")
    assert child.block_ids[0] == ("s-0000.1", "s-0001.2", "s-0001.1", "s-0000.2", "s-0000.3")


@pytest.mark.parametrize(
    "morphism", [Swap(0, 4), Swap(0, 0), Swap(3, 1), Swap(0, -3), Expand(0, 0, 1), Expand(9, 1, 1), Branch(4)], ids=str
)
def test_a_morphism_that_does_not_fit_is_refused(morphism: Morphism) -> None:
    with pytest.raises(GenotypeError, match="does not fit"):
        apply(RESNET50, morphism, "s-0001")


def test_only_swaps_and_reignitions_change_the_function() -> None:
    for preserving in (Expand(0, 1, 1), AddStage(), Branch(1)):
        assert preserves_function((str(preserving),))
    assert not preserves_function((str(Expand(0, 1, 1)), str(Swap(0, 1))))
    assert not preserves_function(("reignite(i-01)",))


def test_a_blueprint_names_every_block_once() -> None:
    with pytest.raises(GenotypeError, match="block ids per stage"):
        Blueprint(Genotype.parse("b_11_0"), (("a",),))
    with pytest.raises(GenotypeError, match="occurs twice"):
        Blueprint(Genotype.parse("b_11_0"), (("a", "a"),))
    ids = flat(RESNET50)
    assert all(int(a.split(".")[1]) + 1 == int(b.split(".")[1]) for a, b in pairwise(ids))
