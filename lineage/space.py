"""How large a search space is: how many codes a phase can reach from its start, in closed form.

Serial growth (SP-NAS, section 3.2) keeps every block it has, in order: `1` blocks come in anywhere behind the first block
(expand puts them inside a stage, swap lets borders pass), and every new stage is a `1` block at the end. So a code that is
reached in S stages, with so many new blocks beyond those of its new stages, is a choice of two things that don't hang
together: how the new blocks are spread over the D + 1 gaps that the D doublings behind the first block leave (blocks of a
gap look alike), and where the S - 1 borders are.
The parallel phase (section 3.3) adds sub-networks beside each stage up to the limit, the start itself not counted.
"""

from __future__ import annotations

from math import comb, prod

from lineage.architecture import Genotype


def serial_size(
    start: Genotype, max_blocks: int, max_stages: int, *, swap: bool = True, expand: bool = True, add_stage: bool = True
) -> int:
    """Codes that the allowed morphisms reach from `start`, itself included, with at most so many blocks and stages.

    A start beyond `max_stages` keeps its stages; one beyond `max_blocks` still swaps. Where borders can't move, a new block
    comes into one of the gaps that the doublings behind the first block of its stage leave.
    """
    blocks, stages = start.depth, len(start.stages)
    doublings = "".join(start.stages)[1:].count("2")
    gaps = sum(1 + stage[1:].count("2") for stage in start.stages)
    room = max(0, max_blocks - blocks)
    total = 0
    for appended in range(min(room, max(0, max_stages - stages)) + 1 if add_stage else 1):
        for inserted in range(room - appended + 1 if expand else 1):
            if swap:
                borders = comb(blocks + appended + inserted - 1, stages + appended - 1)
                total += comb(inserted + doublings, doublings) * borders
            else:
                total += comb(inserted + gaps + appended - 1, inserted)
    return total


def parallel_size(start: Genotype, max_branches: int) -> int:
    """Codes with at least one more sub-network than `start` and at most `max_branches` beside any stage."""
    return prod(max(0, max_branches - count) + 1 for count in start.parallel) - 1
