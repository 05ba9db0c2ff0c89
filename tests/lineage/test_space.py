"""What growth can reach: every chain of morphisms gives a network, and there are as many as the closed form says."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_architecture import genotypes

from lineage.architecture import Genotype
from lineage.morphism import AddStage, Blueprint, Branch, Expand, Morphism, apply, expansions, swaps
from lineage.space import parallel_size, serial_size


def steps(
    blueprint: Blueprint,
    max_blocks: int,
    max_stages: int,
    swap: bool = True,
    expand: bool = True,
    add_stage: bool = True,
) -> Iterator[Morphism]:
    """Every serial morphism that keeps the limits."""
    if swap:
        yield from swaps(blueprint)
    if blueprint.genotype.depth < max_blocks:
        if expand:
            yield from expansions(blueprint, min(2, max_blocks - blueprint.genotype.depth))
        if add_stage and len(blueprint.block_ids) < max_stages:
            yield AddStage()


def reached(start: Genotype, max_blocks: int, max_stages: int, **allowed: bool) -> set[str]:
    """Codes found by trying every morphism on everything that was found."""
    found, queue = {start.code}, [Blueprint.seed(start, "s")]
    while queue:
        blueprint = queue.pop()
        for morphism in steps(blueprint, max_blocks, max_stages, **allowed):
            child = Blueprint.seed(apply(blueprint, morphism, "c").genotype, "s")
            if child.genotype.code not in found:
                found.add(child.genotype.code)
                queue.append(child)
    return found


@pytest.mark.parametrize(
    ("code", "max_blocks", "max_stages"),
    [
        ("b_1_0", 6, 1),
        ("b_2_0", 5, 3),
        ("b_1-1_0-0", 7, 3),
        ("r_11-2_0-0", 7, 4),
        ("x(4x16d)_1-21-2_0-1-0", 8, 5),
        ("b_2-2-2-2_0-0-0-0", 7, 4),
        ("b_12-21_0-0", 8, 2),
        ("b_1-2-1-2_0-0-0-0", 4, 6),  # full: it only swaps, and a stage of its own needs a block
        ("b_11-2-1_0-0-0", 6, 2),  # more stages than growth may add
        ("b_1-12112_0-0", 4, 3),  # more blocks than growth may add
    ],
)
def test_as_many_codes_are_reached_as_the_closed_form_says(code: str, max_blocks: int, max_stages: int) -> None:
    start = Genotype.parse(code)
    assert serial_size(start, max_blocks, max_stages) == len(reached(start, max_blocks, max_stages))


@pytest.mark.parametrize("code", ["b_11-21-1_0-0-0", "b_1212-2_0-0", "b_2112-121-12_0-0-0"])
@pytest.mark.parametrize("swap", [True, False])
@pytest.mark.parametrize("expand", [True, False])
@pytest.mark.parametrize("add_stage", [True, False])
def test_without_some_morphisms_fewer_codes_are_reached(code: str, swap: bool, expand: bool, add_stage: bool) -> None:
    start, allowed = Genotype.parse(code), {"swap": swap, "expand": expand, "add_stage": add_stage}
    most = start.depth + 3, len(start.stages) + 2
    assert serial_size(start, *most, **allowed) == len(reached(start, *most, **allowed))


def test_the_size_of_a_real_space_is_exact() -> None:
    start = Genotype.parse("b_11-21-21-21_0-0-0-0")
    four_stages = 35 + 4 * 56  # 8 blocks have 35 borders; a ninth goes into one of four gaps, with 56 borders each
    five_stages = 70  # the ninth block is the new stage
    assert serial_size(start, max_blocks=9, max_stages=5) == four_stages + five_stages
    assert serial_size(start, max_blocks=60, max_stages=6) > 10**11


@pytest.mark.parametrize(
    ("code", "max_branches"), [("b_1-1_0-0", 1), ("b_1-1-1_0-1-2", 2), ("b_1-1_3-0", 2), ("b_1-1_2-2", 2)]
)
def test_the_parallel_phase_reaches_every_combination_of_branches(code: str, max_branches: int) -> None:
    start = Blueprint.seed(Genotype.parse(code), "s")
    found, queue = set(), [start]
    while queue:
        blueprint = queue.pop()
        for stage, count in enumerate(blueprint.genotype.parallel):
            if count < max_branches and (child := apply(blueprint, Branch(stage), "c")).genotype.code not in found:
                found.add(child.genotype.code)
                queue.append(child)
    assert parallel_size(start.genotype, max_branches) == len(found)


@given(genotypes(max_stages=5), st.data())
def test_every_chain_of_morphisms_gives_a_network_with_a_code_of_its_own(
    genotype: Genotype, data: st.DataObject
) -> None:
    blueprint = Blueprint.seed(genotype, "s")
    for number in range(data.draw(st.integers(1, 12), label="morphisms")):
        before = blueprint.genotype
        branches = [Branch(stage) for stage, count in enumerate(before.parallel) if count < 4]
        options = [*steps(blueprint, max_blocks=before.depth + 2, max_stages=7), *branches]
        morphism = data.draw(st.sampled_from(options or [Expand(0, 1, 1)]), label="morphism")
        blueprint = apply(blueprint, morphism, f"c{number}")
        after = blueprint.genotype
        assert Genotype.parse(after.code) == after
        assert after.block == before.block
        assert len(after.parallel) == len(after.stages)
        assert [len(stage) for stage in after.shapes(8)] == [len(ids) for ids in blueprint.block_ids]
        doubled, grown = ("".join(g.stages).count("2") for g in (before, after))
        assert doubled == grown
