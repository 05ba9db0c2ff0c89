"""Analytic cost of a genotype, without torch: parameters, FLOPs and activation memory of backbone and neck.

FLOPs are multiply-adds of convolutions, for one image. Feature maps of odd size round up, as convolutions with padding do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lineage.architecture import BlockShape, Genotype

FLOAT_BYTES = 4


@dataclass(slots=True)
class _Tally:
    params: int = 0
    flops: int = 0
    activations: int = field(default=0)

    def conv(
        self, ins: int, outs: int, kernel: int, size: tuple[int, int], groups: int = 1, bias: bool = False
    ) -> None:
        weights = ins // groups * outs * kernel**2
        self.params += weights + (outs if bias else 0)
        self.flops += weights * size[0] * size[1]
        self.activations += outs * size[0] * size[1]

    def conv_norm(self, ins: int, outs: int, kernel: int, size: tuple[int, int], groups: int = 1) -> None:
        self.conv(ins, outs, kernel, size, groups)
        self.params += 2 * outs
        self.activations += outs * size[0] * size[1]

    def block(self, genotype: Genotype, shape: BlockShape, size: tuple[int, int]) -> None:
        """A residual block whose input has `size` (height, width)."""
        out = _halved(size) if shape.stride == 2 else size
        if genotype.block.kind == "b":
            self.conv_norm(shape.in_channels, shape.inner_channels, 3, out)
            self.conv_norm(shape.inner_channels, shape.out_channels, 3, out)
        else:
            self.conv_norm(shape.in_channels, shape.inner_channels, 1, size)
            self.conv_norm(shape.inner_channels, shape.inner_channels, 3, out, genotype.block.groups)
            self.conv_norm(shape.inner_channels, shape.out_channels, 1, out)
        if shape.has_projection:
            self.conv_norm(shape.in_channels, shape.out_channels, 1, out)


@dataclass(frozen=True, slots=True)
class Cost:
    """Parameters, multiply-adds an image, and bytes of float32 activations an image keeps for the backward pass."""

    params: int
    flops: int
    activation_bytes: int


def cost(genotype: Genotype, base_width: int, image_size: tuple[int, int], neck_channels: int = 256) -> Cost:
    """Cost of backbone and neck at `image_size` (height, width)."""
    tally = _Tally()
    size = _halved(image_size)
    tally.conv_norm(3, base_width, 7, size)
    size = _halved(size)
    for stage, blocks in enumerate(genotype.shapes(base_width)):
        source, ins = size, blocks[0].in_channels
        size = _halved(source) if stage else source
        for _ in range(1 + genotype.parallel[stage]):
            for position, shape in enumerate(blocks):
                tally.block(genotype, shape, size if position else source)
        for _ in range(genotype.parallel[stage]):
            tally.conv_norm(blocks[-1].out_channels, ins, 1, size)
        tally.conv(blocks[-1].out_channels, neck_channels, 1, size, bias=True)
        tally.conv(neck_channels, neck_channels, 3, size, bias=True)
    return Cost(tally.params, tally.flops, tally.activations * FLOAT_BYTES)


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return (size[0] + 1) // 2, (size[1] + 1) // 2
