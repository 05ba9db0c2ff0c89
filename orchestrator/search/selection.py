"""Parent selection: drawn from the best candidates, better ones likelier, and lighter ones."""

from __future__ import annotations

import math
from collections.abc import Iterable

from orchestrator.search.state import Candidate, rank


def parent_probabilities(candidates: Iterable[Candidate], max_optimal: int) -> dict[str, float]:
    """Probability of each of the `max_optimal` best to be the parent.

    It is proportional to the place from the end (m for the best of m, 1 for the last; equal AP and FLOPs share a place)
    and to the inverse square root of the FLOPs: of two neighbours in AP the one four times as heavy loses half.
    """
    best = sorted(candidates, key=rank)[:max_optimal]
    weights = {}
    for candidate in best:
        beaten_by = sum(rank(other)[:2] < rank(candidate)[:2] for other in best)
        weights[candidate.candidate_id] = (len(best) - beaten_by) / math.sqrt(candidate.flops)
    total = sum(weights.values())
    return {candidate_id: weight / total for candidate_id, weight in weights.items()}
