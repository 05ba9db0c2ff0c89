"""Parent selection: drawn from the best candidates, better ones likelier."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.search.state import Candidate, rank


def parent_probabilities(candidates: Iterable[Candidate], max_optimal: int) -> dict[str, float]:
    """Probability of each of the `max_optimal` best to be the parent: linear in rank, m for the best and 1 for the m-th."""
    best = sorted(candidates, key=rank)[:max_optimal]
    total = len(best) * (len(best) + 1) // 2
    return {candidate.candidate_id: (len(best) - place) / total for place, candidate in enumerate(best)}
