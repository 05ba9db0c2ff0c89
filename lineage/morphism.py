"""Morphisms: how a child network comes from its parent, and which of its blocks keep which of the parent's weights.

SP-NAS, CVPR 2020, section 3.2 (swap, expand) and 3.3 (parallel). A `Blueprint` is a genotype whose main-path blocks
have ids. A block keeps its id through every morphism, so the correspondence of any two blueprints of one family is the
equality of ids: nothing needs to remember the morphisms in between.

| morphism | on the code | promises |
| --- | --- | --- |
| swap | a stage border moves by 1 to 3 blocks; block order and widths stay | every block's convolutions fit |
| expand | ``1`` blocks are inserted inside a stage, not at its head | the same function at birth |
| add stage | ``-1`` is appended | the old stages' outputs stay the same |
| branch | a parallel digit grows by one | the same function at birth |

Pure: no randomness here (the search draws), no weights here (the trainers copy tensors by the correspondence).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lineage.architecture import Genotype, GenotypeError

MAX_SWAP = 3


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A genotype and the id of every block of its main path, stage by stage."""

    genotype: Genotype
    block_ids: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        expected = tuple(map(len, self.genotype.stages))
        found = tuple(map(len, self.block_ids))
        if expected != found:
            raise GenotypeError(f"{self.genotype}: block ids per stage {found}, expected {expected}")
        flat = [block_id for stage in self.block_ids for block_id in stage]
        if len(set(flat)) != len(flat):
            raise GenotypeError(f"{self.genotype}: a block id occurs twice in {flat}")

    @classmethod
    def seed(cls, genotype: Genotype, owner: str) -> Blueprint:
        """Blueprint of a network without a parent; its blocks are called ``<owner>.1``, ``<owner>.2``, ..."""
        ids = _fresh_ids(owner)
        return cls(genotype, tuple(tuple(next(ids) for _ in stage) for stage in genotype.stages))

    @property
    def positions(self) -> dict[str, tuple[int, int]]:
        """(stage, index) of each block id."""
        return {
            block_id: (stage, index) for stage, ids in enumerate(self.block_ids) for index, block_id in enumerate(ids)
        }


@dataclass(frozen=True, slots=True)
class Swap:
    """Move `blocks` blocks across the border between `stage` and `stage` + 1; negative: back into `stage` + 1."""

    stage: int
    blocks: int

    def __str__(self) -> str:
        return f"swap({self.stage}|{self.stage + 1} {self.blocks:+d})"


@dataclass(frozen=True, slots=True)
class Expand:
    """Insert `blocks` width-keeping blocks into `stage` before position `index` (at least 1: not at the head)."""

    stage: int
    index: int
    blocks: int

    def __str__(self) -> str:
        return f"expand({self.stage}@{self.index} +{self.blocks})"


@dataclass(frozen=True, slots=True)
class AddStage:
    """Append a stage of one width-keeping block."""

    def __str__(self) -> str:
        return "add_stage"


@dataclass(frozen=True, slots=True)
class Branch:
    """Run one more copy of `stage` in parallel."""

    stage: int

    def __str__(self) -> str:
        return f"branch({self.stage})"


Morphism = Swap | Expand | AddStage | Branch

PRESERVING = (Expand, AddStage, Branch)


def preserves_function(morphisms: tuple[str, ...]) -> bool:
    """Whether a chain of morphisms, as recorded in an event, promises the parent's outputs at birth."""
    return not any(name.startswith(("swap", "reignite")) for name in morphisms)


def apply(parent: Blueprint, morphism: Morphism, owner: str) -> Blueprint:
    """The child of `parent` after one morphism; new blocks are named after `owner` (the child candidate).

    Raises:
        GenotypeError: the morphism does not fit the parent, for example a swap that would empty a stage.
    """
    match morphism:
        case Swap():
            return _swap(parent, morphism)
        case Expand():
            return _expand(parent, morphism, owner)
        case AddStage():
            return _add_stage(parent, owner)
        case Branch():
            return _branch(parent, morphism)


def swaps(parent: Blueprint) -> tuple[Swap, ...]:
    """Every swap that fits the parent: 1 to 3 blocks either way, no stage left empty."""
    depths = tuple(map(len, parent.genotype.stages))
    return tuple(
        Swap(stage, blocks)
        for stage in range(len(depths) - 1)
        for blocks in range(-MAX_SWAP, MAX_SWAP + 1)
        if blocks and depths[stage] + blocks >= 1 and depths[stage + 1] - blocks >= 1
    )


def expansions(parent: Blueprint, max_new: int) -> tuple[Expand, ...]:
    """Every expansion by at most `max_new` blocks. Positions inside a run of ``1`` give the same code but other ids."""
    return tuple(
        Expand(stage, index, blocks)
        for stage, characters in enumerate(parent.genotype.stages)
        for index in range(1, len(characters) + 1)
        for blocks in range(1, max_new + 1)
    )


def correspondence(parent: Blueprint, child: Blueprint) -> dict[tuple[int, int], tuple[int, int]]:
    """For each main-path block of the child that the parent has too: child (stage, index) -> parent (stage, index)."""
    theirs = parent.positions
    return {position: theirs[block_id] for block_id, position in child.positions.items() if block_id in theirs}


def _swap(parent: Blueprint, swap: Swap) -> Blueprint:
    if swap not in swaps(parent):
        raise GenotypeError(
            f"{swap} does not fit {parent.genotype}: it moves 1 to {MAX_SWAP} blocks over an inner border "
            "and leaves no stage empty"
        )
    left, stages, ids = swap.stage, list(parent.genotype.stages), list(parent.block_ids)
    border = len(stages[left]) + swap.blocks
    characters, row = stages[left] + stages[left + 1], ids[left] + ids[left + 1]
    stages[left : left + 2] = characters[:border], characters[border:]
    ids[left : left + 2] = row[:border], row[border:]
    return Blueprint(replace(parent.genotype, stages=tuple(stages)), tuple(ids))


def _expand(parent: Blueprint, expand: Expand, owner: str) -> Blueprint:
    stages, ids = list(parent.genotype.stages), list(parent.block_ids)
    if not 0 <= expand.stage < len(stages) or not 1 <= expand.index <= len(stages[expand.stage]) or expand.blocks < 1:
        raise GenotypeError(f"{expand} does not fit {parent.genotype}: blocks go inside a stage, not at its head")
    at = expand.index
    fresh = _unused_ids(parent, owner)
    characters, row = stages[expand.stage], ids[expand.stage]
    stages[expand.stage] = characters[:at] + "1" * expand.blocks + characters[at:]
    ids[expand.stage] = (*row[:at], *(next(fresh) for _ in range(expand.blocks)), *row[at:])
    return Blueprint(replace(parent.genotype, stages=tuple(stages)), tuple(ids))


def _add_stage(parent: Blueprint, owner: str) -> Blueprint:
    genotype = replace(parent.genotype, stages=(*parent.genotype.stages, "1"), parallel=(*parent.genotype.parallel, 0))
    return Blueprint(genotype, (*parent.block_ids, (next(_unused_ids(parent, owner)),)))


def _branch(parent: Blueprint, branch: Branch) -> Blueprint:
    counts = list(parent.genotype.parallel)
    if not 0 <= branch.stage < len(counts):
        raise GenotypeError(f"{branch} does not fit {parent.genotype}: it has {len(counts)} stages")
    counts[branch.stage] += 1
    return Blueprint(replace(parent.genotype, parallel=tuple(counts)), parent.block_ids)


def _fresh_ids(owner: str, start: int = 1) -> Iterator[str]:
    number = start
    while True:
        yield f"{owner}.{number}"
        number += 1


def _unused_ids(parent: Blueprint, owner: str) -> Iterator[str]:
    own = re.compile(re.escape(owner) + r"\.(\d+)")
    taken = [int(match[1]) for block_id in parent.positions if (match := own.fullmatch(block_id))]
    return _fresh_ids(owner, max(taken, default=0) + 1)
