"""Costs counted from the code are those of the published networks, and of small ones counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_architecture import genotypes

from lineage.architecture import Genotype
from lineage.cost import Cost, backbone_cost, cost, neck_cost, stage_cost, stage_sizes
from lineage.morphism import Blueprint, Expand, apply


@pytest.mark.parametrize(
    ("code", "params"),
    [  # torchvision's models without their last layer
        ("b_11-21-21-21_0-0-0-0", 11_176_512),
        ("b_111-2111-211111-211_0-0-0-0", 21_284_672),
        ("r_111-2111-211111-211_0-0-0-0", 23_508_032),
        ("r_111-2111-21111111111111111111111-211_0-0-0-0", 42_500_160),
        ("x(32x4d)_111-2111-211111-211_0-0-0-0", 22_979_904),
    ],
    ids=["resnet18", "resnet34", "resnet50", "resnet101", "resnext50_32x4d"],
)
def test_parameters_are_those_of_the_published_networks(code: str, params: int) -> None:
    assert backbone_cost(Genotype.parse(code), 64, (224, 224)).params == params


@pytest.mark.parametrize(
    ("code", "gigaflops"),
    [
        ("b_11-21-21-21_0-0-0-0", 1.81),
        ("r_111-2111-211111-211_0-0-0-0", 4.09),
        ("x(32x4d)_111-2111-211111-211_0-0-0-0", 4.23),
    ],
)
def test_flops_are_the_published_multiply_adds(code: str, gigaflops: float) -> None:
    assert backbone_cost(Genotype.parse(code), 64, (224, 224)).flops / 1e9 == pytest.approx(gigaflops, abs=0.005)


def test_one_basic_block_by_hand() -> None:
    stem, block = 3 * 4 * 49, 4 * 4 * 9
    assert backbone_cost(Genotype.parse("b_1_0"), 4, (16, 12)) == Cost(
        params=stem + 8 + 2 * (block + 8),
        flops=stem * 8 * 6 + 2 * block * 4 * 3,
        activation_bytes=4 * 4 * (8 * 6 + 2 * 4 * 3),
    )


def test_a_branch_costs_its_stage_again_and_the_convolution_that_fuses_it() -> None:
    plain, branched = (backbone_cost(Genotype.parse(f"b_1-2_0-{count}"), 8, (64, 64)) for count in (0, 2))
    stage = stage_cost(Genotype.parse("b_1-2_0-0"), 8, 1, (64, 64))
    fuse = Cost(params=16 * 8 + 16, flops=16 * 8 * 8 * 8, activation_bytes=4 * 8 * 8 * 8)
    assert branched == plain + stage + fuse + stage + fuse


def test_the_neck_has_two_convolutions_with_bias_a_stage() -> None:
    levels = [(8 * 5 + 5, 16 * 16), (16 * 5 + 5, 8 * 8)]
    assert neck_cost(Genotype.parse("b_1-2_0-0"), 8, (64, 64), 5) == Cost(
        params=sum(lateral + 5 * 5 * 9 + 5 for lateral, _ in levels),
        flops=sum((lateral - 5 + 5 * 5 * 9) * pixels for lateral, pixels in levels),
        activation_bytes=sum(2 * 5 * 4 * pixels for _, pixels in levels),
    )


def test_odd_sizes_are_rounded_up() -> None:
    assert stage_sizes(Genotype.parse("b_1-1-1_0-0-0"), (97, 50)) == ((25, 13), (13, 7), (7, 4))


@given(genotypes(max_stages=5), st.integers(0, 4))
def test_deeper_is_never_cheaper(genotype: Genotype, stage: int) -> None:
    stage %= len(genotype.stages)
    before = cost(genotype, 16, (65, 96))
    after = cost(apply(Blueprint.seed(genotype, "s"), Expand(stage, 1, 1), "t").genotype, 16, (65, 96))
    assert after.params > before.params
    assert after.flops > before.flops
    assert after.activation_bytes > before.activation_bytes
