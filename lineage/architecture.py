"""The genotype: what a backbone is, as a value with a short code such as ``r_111-2111-211111-211_0-0-0-0``.

Code = ``<block>_<serial>_<parallel>`` (SP-NAS, CVPR 2020, sections 3.1 and 3.3):

* block: ``b`` BasicBlock, ``r`` Bottleneck, ``x(32x4d)`` ResNeXt bottleneck (groups x base width);
* serial: stages joined by ``-``; each character is a block, ``1`` keeps the width and ``2`` doubles it;
* parallel: one digit a stage, how many sub-networks run beside that stage.

Stage i (from 0) works at stride 4 * 2**i: the stem ends at stride 4, the first block of every later stage has stride 2.
This module must not know torch: the orchestrator plans with it in a process that never imports torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

MAX_BLOCKS = 200  # a sanity bound for parsing; the space's own limits are configured
MAX_STAGES = 9
MAX_BRANCHES = 9
MAX_DOUBLINGS = 12
MAX_CODE = 500  # characters; enough to say of somewhat too many blocks how many they are

_CODE = re.compile(
    r"(?P<block>b|r|x\((?P<groups>[1-9]\d{0,3})x(?P<width>[1-9]\d{0,3})d\))_(?P<serial>[12-]+)_(?P<parallel>[\d-]+)",
    re.ASCII,
)


class LineageError(Exception):
    """Root of this package's errors."""


class GenotypeError(LineageError, ValueError):
    """A code or a change of it that is not a network; the message says what was found and what is expected."""


@dataclass(frozen=True, slots=True)
class BlockType:
    """Kind of residual block: ``b`` (expansion 1), ``r`` or ``x`` (expansion 4, x with grouped 3x3 convolutions)."""

    kind: str
    groups: int = 1
    group_width: int = 64

    @property
    def expansion(self) -> int:
        return 1 if self.kind == "b" else 4

    def inner_width(self, width: int) -> int:
        """Channels of the 3x3 convolution of a block of `width` (the width before expansion)."""
        return max(1, width * self.group_width // 64) * self.groups if self.kind == "x" else width

    def __str__(self) -> str:
        return f"x({self.groups}x{self.group_width}d)" if self.kind == "x" else self.kind


@dataclass(frozen=True, slots=True)
class BlockShape:
    """What one block computes: channels in and out, channels of its 3x3 convolution, stride."""

    in_channels: int
    inner_channels: int
    out_channels: int
    stride: int

    @property
    def has_projection(self) -> bool:
        return self.stride != 1 or self.in_channels != self.out_channels


@dataclass(frozen=True)
class Genotype:
    """An architecture as a value; equal genotypes have equal codes."""

    block: BlockType
    stages: tuple[str, ...]
    parallel: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.stages or any(not stage or set(stage) - {"1", "2"} for stage in self.stages):
            raise GenotypeError(
                f"serial part {'-'.join(self.stages)!r}: every stage needs at least one block, each 1 or 2"
            )
        if len(self.parallel) != len(self.stages):
            raise GenotypeError(
                f"{len(self.stages)} stages but {len(self.parallel)} parallel digits: the code needs one digit a stage"
            )
        for value, bound, what in (
            (self.depth, MAX_BLOCKS, "blocks"),
            (len(self.stages), MAX_STAGES, "stages"),
            (max(self.parallel), MAX_BRANCHES, "branches"),
            ("".join(self.stages).count("2"), MAX_DOUBLINGS, "doublings of the width"),
        ):
            if value > bound:
                raise GenotypeError(f"{value} {what}: at most {bound} can be built")
        if min(self.parallel) < 0:
            raise GenotypeError("parallel digits must not be negative")

    @classmethod
    def parse(cls, code: str) -> Genotype:
        """Genotype of a code.

        Raises:
            GenotypeError: `code` is not of the form ``<block>_<serial>_<parallel>`` or is not a network.
        """
        match = _CODE.fullmatch(code) if len(code) <= MAX_CODE else None
        if match is None:
            raise GenotypeError(
                f"{code[:80]!r} is no genotype code: expected <block>_<serial>_<parallel>, "
                "for example r_111-2111-211111-211_0-0-0-0 (blocks b, r or x(32x4d))"
            )
        block = BlockType(match["block"][0])
        if block.kind == "x":
            block = BlockType("x", int(match["groups"]), int(match["width"]))
        digits = match["parallel"].split("-")
        if any(len(digit) != 1 for digit in digits):
            raise GenotypeError(f"parallel part {match['parallel']!r}: expected one digit a stage, joined by -")
        return cls(block, tuple(match["serial"].split("-")), tuple(int(digit) for digit in digits))

    @property
    def code(self) -> str:
        return f"{self.block}_{'-'.join(self.stages)}_{'-'.join(map(str, self.parallel))}"

    @property
    def depth(self) -> int:
        """Blocks on the main path."""
        return sum(map(len, self.stages))

    def shapes(self, base_width: int) -> tuple[tuple[BlockShape, ...], ...]:
        """Block shapes stage by stage. `base_width` is the stem's channels; width = base * 2**doublings * expansion."""
        width, channels, result = base_width, base_width, []
        for index, stage in enumerate(self.stages):
            blocks = []
            for position, character in enumerate(stage):
                width *= int(character)
                out_channels = width * self.block.expansion
                stride = 2 if index and not position else 1
                blocks.append(BlockShape(channels, self.block.inner_width(width), out_channels, stride))
                channels = out_channels
            result.append(tuple(blocks))
        return tuple(result)

    def stage_channels(self, base_width: int) -> tuple[int, ...]:
        """Output channels of each stage."""
        return tuple(blocks[-1].out_channels for blocks in self.shapes(base_width))

    @cached_property
    def branches(self) -> tuple[tuple[int, ...], ...]:
        """Stages each parallel branch runs: branch k (from 1) runs every stage whose digit is at least k."""
        return tuple(
            tuple(stage for stage, count in enumerate(self.parallel) if count >= branch)
            for branch in range(1, max(self.parallel) + 1)
        )

    def __str__(self) -> str:
        return self.code
