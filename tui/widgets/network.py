"""A network drawn block by block: as wide as its channels, stage by stage with the stride against the image."""

from __future__ import annotations

from textual.content import Content

from lineage.architecture import Genotype
from tui.candidates import Candidate
from tui.facts import stride
from tui.widgets.panel import Panel

LABEL = 12  # cells beside the bars
SIGNS = {"kept": "█", "new": "▓"}


class Network(Panel):
    """New blocks, which the parent had not, look different; sub-networks beside a stage are drawn after its blocks."""

    DEFAULT_CSS = "Network { height: auto; }"

    def __init__(self) -> None:
        super().__init__()
        self._drawn: Candidate | None = None
        self._origin: Candidate | None = None

    def show(self, candidate: Candidate | None, parent: Candidate | None) -> None:
        self._drawn, self._origin = candidate, parent
        self.refresh_lines()

    def lines(self, width: int) -> list[Content]:
        if self._drawn is None:
            return []
        return drawn(self._drawn, self._origin, max(8, width - LABEL))


def drawn(candidate: Candidate, parent: Candidate | None, width: int) -> list[Content]:
    """Lines of at most `width` cells and a label."""
    genotype = Genotype.parse(candidate.code)
    shapes = genotype.shapes(candidate.base_width)
    widest = max(block.out_channels for stage in shapes for block in stage)
    known = None if parent is None else {block for stage in parent.block_ids for block in stage}
    lines = []
    for number, blocks in enumerate(shapes):
        lines.append(Content.styled(f"stage {number + 1}, stride {stride(number)}", "dim"))
        ids = candidate.block_ids[number] if number < len(candidate.block_ids) else ()
        for place, block in enumerate(blocks):
            is_new = known is not None and place < len(ids) and ids[place] not in known
            cells = max(1, round(block.out_channels / widest * width))
            sign, look = (SIGNS["new"], "$accent") if is_new else (SIGNS["kept"], "$primary")
            label = f" {block.out_channels}" + (" new" if is_new else "")
            lines.append(Content.assemble((sign * cells, look), (label, "dim")))
        if beside := genotype.parallel[number]:
            cells = max(1, round(blocks[-1].out_channels / widest * width))
            lines += [Content.assemble(("░" * cells, "$secondary"), (" beside", "dim"))] * beside
    return lines
