"""What is known of a candidate, in words and lines. Pure."""

from __future__ import annotations

from lineage.architecture import Genotype
from lineage.wording import amount
from tui.candidates import Candidate


def facts(candidate: Candidate) -> dict[str, str]:
    """Name and value of each that is known."""
    known = {
        "code": candidate.code,
        "step": f"{candidate.step} ({candidate.phase})",
        "state": f"{candidate.state} ({candidate.reason})" if candidate.reason else candidate.state,
        "AP": _number(candidate.ap),
        "FLOPs": amount("flops", candidate.flops),
        "parameters": amount("params", candidate.params),
        "memory": "" if candidate.memory_bytes is None else amount("memory", candidate.memory_bytes),
        "latency": "" if candidate.latency_ms is None else amount("latency", candidate.latency_ms),
        "parent": candidate.parent_id or "",
        "by": " ".join(candidate.morphisms),
        "residual": "" if candidate.residual is None else f"{candidate.residual:.3g}",
    }
    event = candidate.inherited
    if event is not None:
        known["tensors"] = (
            f"{event.tensors_copied} copied, {event.tensors_adapted} adapted, {event.tensors_new} new, "
            f"{event.tensors_dropped} dropped ({candidate.share_inherited:.0%} inherited)"
        )
    if candidate.is_control:
        known["role"] = "control: its parent trained further, to compare with"
    return {name: value for name, value in known.items() if value}


def stages(candidate: Candidate) -> list[str]:
    """Each stage: its blocks, channels at its end, stride against the image, sub-networks beside it."""
    genotype = Genotype.parse(candidate.code)
    channels = genotype.stage_channels(candidate.base_width)
    drawn = []
    for number, blocks in enumerate(genotype.stages):
        beside = f", {genotype.parallel[number]} beside" if genotype.parallel[number] else ""
        drawn.append(f"{blocks}, {channels[number]} channels, stride {stride(number)}{beside}")
    return drawn


def stride(stage: int) -> int:
    """Of a stage, from 0, against the image: the stem has 4, each later stage halves."""
    return 4 << stage


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
