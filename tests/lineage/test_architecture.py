"""A genotype is its code: every code reads back, every shape follows from it, and what is no network is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.architecture import BlockType, Genotype, GenotypeError

RESNET50 = "r_111-2111-211111-211_0-0-0-0"


@st.composite
def genotypes(draw: st.DrawFn, max_stages: int = 6, max_branches: int = 3) -> Genotype:
    kind = draw(st.sampled_from("brx"))
    block = BlockType("x", draw(st.integers(1, 64)), draw(st.integers(1, 64))) if kind == "x" else BlockType(kind)
    stages = draw(st.lists(st.text("1", min_size=1, max_size=6), min_size=1, max_size=max_stages))
    doubled = draw(st.lists(st.booleans(), min_size=len(stages), max_size=len(stages)))
    at = [draw(st.integers(0, len(stage) - 1)) for stage in stages]
    widths = [f"{s[:i]}2{s[i + 1 :]}" if double else s for s, i, double in zip(stages, at, doubled, strict=True)]
    parallel = draw(st.lists(st.integers(0, max_branches), min_size=len(stages), max_size=len(stages)))
    return Genotype(block, tuple(widths), tuple(parallel))


@given(genotypes())
def test_a_code_reads_back_as_the_same_genotype(genotype: Genotype) -> None:
    assert Genotype.parse(genotype.code) == genotype


@given(genotypes(), st.sampled_from([16, 64]))
def test_blocks_fit_together_and_stages_halve_the_resolution(genotype: Genotype, base_width: int) -> None:
    stages = genotype.shapes(base_width)
    blocks = [block for stage in stages for block in stage]
    assert [block.in_channels for block in blocks] == [base_width, *(block.out_channels for block in blocks[:-1])]
    assert [[block.stride for block in stage] for stage in stages] == [
        [2 if index and not position else 1 for position in range(len(stage))]
        for index, stage in enumerate(genotype.stages)
    ]
    assert [stage[-1].out_channels for stage in stages] == list(genotype.stage_channels(base_width))


def test_resnet_50_has_the_widths_and_strides_of_the_paper() -> None:
    genotype = Genotype.parse(RESNET50)
    assert genotype.stage_channels(64) == (256, 512, 1024, 2048)
    assert [len(stage) for stage in genotype.stages] == [3, 4, 6, 3]
    assert [stage[0].stride for stage in genotype.shapes(64)] == [1, 2, 2, 2]
    assert [stage[0].has_projection for stage in genotype.shapes(64)] == [True] * 4
    assert not any(block.has_projection for stage in genotype.shapes(64) for block in stage[1:])


def test_the_width_doubles_wherever_a_2_stands() -> None:
    assert Genotype.parse("b_12-12_0-0").stage_channels(16) == (32, 64)
    assert [block.out_channels for block in Genotype.parse("b_121_0").shapes(16)[0]] == [16, 32, 32]


def test_resnext_inner_width_is_groups_times_the_scaled_base_width() -> None:
    stages = Genotype.parse("x(32x4d)_111-2111-211111-211_0-0-0-0").shapes(64)
    assert [stage[-1].inner_channels for stage in stages] == [128, 256, 512, 1024]


def test_branch_k_runs_the_stages_whose_digit_is_at_least_k() -> None:
    assert Genotype.parse("b_1-1-1-1_0-2-1-3").branches == ((1, 2, 3), (1, 3), (3,))
    assert Genotype.parse("b_1-1_0-0").branches == ()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "no genotype code"),
        ("q_11_0", "no genotype code"),
        ("r_11-11_0", "2 stages but 1 parallel"),
        ("r_11--11_0-0-0", "at least one block"),
        ("r_131_0", "no genotype code"),
        ("x_11_0", "no genotype code"),
        ("r_11_0\n", "no genotype code"),
        ("b_1_12", "one digit a stage"),
        ("b_" + "1" * 201 + "_0", "201 blocks: at most 200"),
        ("b_" + "-".join("1" * 10) + "_" + "-".join("0" * 10), "10 stages: at most 9"),
        ("b_" + "2" * 13 + "_0", "13 doublings"),
    ],
)
def test_what_is_no_network_is_refused_with_the_reason(code: str, why: str) -> None:
    with pytest.raises(GenotypeError, match=why):
        Genotype.parse(code)
