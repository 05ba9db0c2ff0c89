"""What a detector costs, counted from the genotype of its backbone: parameters, FLOPs, activations.

FLOPs are multiply-adds of convolutions and linear layers, as the SP-NAS paper counts them; norms, activations and pooling
are left out. Must not know torch; the networks counted are `trainers.backbone` and `trainers.neck`, and the heads that
`trainers.heads` read off a template.
"""

from __future__ import annotations

from dataclasses import dataclass

from lineage.architecture import BlockShape, Genotype

_FLOAT_BYTES = 4

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a network for one image. `activation_bytes` counts the output of every layer with weights once, in float32."""

    params: int = 0
    flops: int = 0
    activation_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.params + other.params, self.flops + other.flops, self.activation_bytes + other.activation_bytes
        )


@dataclass(frozen=True, slots=True)
class Heads:
    """What a detector costs beside backbone and neck: the same for every genotype, but for the sizes of the levels.

    The RPN works on every pixel of every level (per-pixel figures), the RoI heads on a number of proposals.
    `params_per_stage` is what norms in the neck add, for each stage, to the biases they replace.
    """

    params: int
    flops_per_pixel: int
    activation_bytes_per_pixel: int
    flops: int
    activation_bytes: int
    params_per_stage: int = 0


def cost(
    genotype: Genotype, base_width: int, image_size: Size, neck_channels: int = 256, heads: Heads | None = None
) -> Cost:
    """Cost of a detector for one image of `image_size` (height, width) in pixels; without `heads` of backbone and neck."""
    total = backbone_cost(genotype, base_width, image_size) + neck_cost(genotype, base_width, image_size, neck_channels)
    return total if heads is None else total + heads_cost(genotype, image_size, heads)


def heads_cost(genotype: Genotype, image_size: Size, heads: Heads) -> Cost:
    """Cost of RPN and RoI heads over the pyramid of a genotype: one level a stage, and one more of half the size."""
    sizes = stage_sizes(genotype, image_size)
    pixels = sum(height * width for height, width in (*sizes, _halved(sizes[-1])))
    return Cost(
        heads.params + heads.params_per_stage * len(genotype.stages),
        heads.flops + heads.flops_per_pixel * pixels,
        heads.activation_bytes + heads.activation_bytes_per_pixel * pixels,
    )


def backbone_cost(genotype: Genotype, base_width: int, image_size: Size) -> Cost:
    """Cost of stem, stages and parallel branches."""
    size = _halved(image_size)
    total = _convolution(3, base_width, 7, size)
    stages = genotype.shapes(base_width)
    for index, output_size in enumerate(stage_sizes(genotype, image_size)):
        total += stage_cost(genotype, base_width, index, image_size)
        fuse = _convolution(stages[index][-1].out_channels, stages[index][0].in_channels, 1, output_size)
        for _ in range(genotype.parallel[index]):
            total += stage_cost(genotype, base_width, index, image_size) + fuse
        if index:  # each branch that runs the stage before too weighs its own output there with one scalar
            total += Cost(params=min(genotype.parallel[index - 1], genotype.parallel[index]))
    return total


def stage_cost(genotype: Genotype, base_width: int, stage: int, image_size: Size) -> Cost:
    """Cost of the blocks of one stage, run once."""
    sizes = (_halved(_halved(image_size)), *stage_sizes(genotype, image_size))
    size, total = sizes[stage], Cost()
    for shape in genotype.shapes(base_width)[stage]:
        total += _block(genotype, shape, size)
        size = sizes[stage + 1]
    return total


def neck_cost(genotype: Genotype, base_width: int, image_size: Size, channels: int) -> Cost:
    """Cost of a feature pyramid: a 1x1 and a 3x3 convolution with bias for each stage; the level on top is pooled."""
    total = Cost()
    for inputs, size in zip(genotype.stage_channels(base_width), stage_sizes(genotype, image_size), strict=True):
        total += _convolution(inputs, channels, 1, size, norm=False) + Cost(params=channels)
        total += _convolution(channels, channels, 3, size, norm=False) + Cost(params=channels)
    return total


def stage_sizes(genotype: Genotype, image_size: Size) -> tuple[Size, ...]:
    """(height, width) of each stage's output; odd sizes are rounded up."""
    sizes = [_halved(_halved(image_size))]
    while len(sizes) < len(genotype.stages):
        sizes.append(_halved(sizes[-1]))
    return tuple(sizes)


def _block(genotype: Genotype, shape: BlockShape, size: Size) -> Cost:
    output_size = _halved(size) if shape.stride == 2 else size
    inputs, inner, outputs = shape.in_channels, shape.inner_channels, shape.out_channels
    if genotype.block.kind == "b":
        total = _convolution(inputs, inner, 3, output_size) + _convolution(inner, outputs, 3, output_size)
    else:
        total = (
            _convolution(inputs, inner, 1, size)
            + _convolution(inner, inner, 3, output_size, groups=genotype.block.groups)
            + _convolution(inner, outputs, 1, output_size)
        )
    if shape.has_projection:
        total += _convolution(inputs, outputs, 1, output_size)
    return total


def _convolution(inputs: int, outputs: int, kernel: int, size: Size, groups: int = 1, norm: bool = True) -> Cost:
    weights = inputs // groups * outputs * kernel * kernel
    pixels = size[0] * size[1]
    norm_params = 2 * outputs if norm else 0
    return Cost(weights + norm_params, weights * pixels, outputs * pixels * _FLOAT_BYTES)


def _halved(size: Size) -> Size:
    return (size[0] + 1) // 2, (size[1] + 1) // 2
