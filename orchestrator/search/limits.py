"""Resource limits: refused before training by what is predicted, ruled out after it by what was measured.

FLOPs and parameters are predicted exactly (`lineage.cost`). Memory is predicted from below: a training step holds at least
weights, gradients and every activation of one image. Latency can only be measured.
"""

from __future__ import annotations

from lineage.cost import Cost
from lineage.events import CandidateRuledOut, Resource
from orchestrator.search.state import Candidate
from orchestrator.sections import Limits

_BYTES_PER_PARAM = 8  # float32 weight and gradient


def broken_by(predicted: Cost, limits: Limits) -> Resource | None:
    """The first limit that a network of this cost breaks whatever its training measures."""
    memory = predicted.params * _BYTES_PER_PARAM + predicted.activation_bytes
    for name, amount, allowed in (
        ("flops", predicted.flops, limits.flops),
        ("params", predicted.params, limits.params),
        ("memory", memory, limits.memory),
    ):
        if allowed is not None and amount > allowed:
            return name  # type: ignore[return-value]
    return None


def ruling_out(candidate: Candidate, limits: Limits) -> CandidateRuledOut | None:
    """The event that rules a trained candidate out, where its measurements break a limit."""
    measured = candidate.measurements.values()
    found: tuple[tuple[Resource, float | None, float | None], ...] = (
        ("flops", max((one.flops or 0 for one in measured), default=0), limits.flops),
        ("params", max((one.params or 0 for one in measured), default=0), limits.params),
        ("memory", max((one.peak_memory_bytes or 0 for one in measured), default=0), limits.memory),
        ("latency", candidate.latency_ms, limits.latency),
    )
    for name, amount, allowed in found:
        if amount is not None and allowed is not None and amount > allowed:
            return CandidateRuledOut(candidate_id=candidate.candidate_id, limit=name, measured=amount, allowed=allowed)
    return None
