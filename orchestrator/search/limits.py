"""Resource limits: refused before training by what is predicted, ruled out after it by what was measured.

FLOPs and parameters are predicted exactly (`lineage.cost`). Memory is predicted from below: a training step holds at least
weights and gradients, and every activation of backbone and neck for one image, in half precision maybe. Latency can only
be measured.
"""

from __future__ import annotations

from lineage.architecture import Genotype
from lineage.cost import Cost, Heads, cost
from lineage.events import CandidateRuledOut, Resource
from orchestrator.search.state import Candidate
from orchestrator.sections import Limits, SearchSpace

_BYTES_PER_PARAM = 8  # float32 weight and gradient


def predict(genotype: Genotype, base_width: int, space: SearchSpace, heads: Heads | None) -> Cost:
    """Predicted cost of a detector, of backbone and neck alone where its heads are not known."""
    return cost(genotype, base_width, space.image_size, space.neck_channels, heads)


def broken_by(genotype: Genotype, base_width: int, space: SearchSpace, heads: Heads | None) -> Resource | None:
    """The first limit of `space` that a network breaks whatever its training measures."""
    limits = space.limits
    if limits == Limits():
        return None
    predicted = predict(genotype, base_width, space, heads)
    activation_bytes = predict(genotype, base_width, space, None).activation_bytes
    memory = predicted.params * _BYTES_PER_PARAM + activation_bytes // 2
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
