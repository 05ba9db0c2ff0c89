"""Which candidates no other beats in AP and cost at once: as the view `pareto_front`, of what a screen knows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from tui.candidates import Candidate, Candidates
from tui.view_models import SearchView

Cost = Literal["flops", "params", "memory", "latency"]
COSTS: tuple[Cost, ...] = get_args(Cost)


class Point(NamedTuple):
    """A candidate as the front weighs it; what it costs is infinite where it was not measured."""

    candidate_id: str
    ap: float
    costs: tuple[float, ...]


def objectives(view: SearchView) -> tuple[Cost, ...]:
    """What the run weighs AP against."""
    general = view.config.get("general")
    named = general.get("objectives") if isinstance(general, dict) else None
    return tuple(cost for cost in COSTS if cost in (named or ())) or ("flops",)


def cost_of(candidate: Candidate, cost: Cost) -> float | None:
    """Multiply-adds, parameters, bytes of a training step, or milliseconds."""
    match cost:
        case "flops":
            return candidate.flops
        case "params":
            return candidate.params
        case "memory":
            return candidate.memory_bytes
        case "latency":
            return candidate.latency_ms


def searched(candidates: Candidates) -> Iterable[Candidate]:
    """Those that are weighed: trained in a search, within its limits; those fully trained are on another scale."""
    for number in range(len(candidates.finished)):
        candidate = candidates.by_id[candidates.finished[number]]
        if (
            candidate.state == "trained"
            and candidate.ap is not None
            and not candidate.is_control
            and candidate.phase in ("serial", "parallel")
        ):
            yield candidate


def points(candidates: Candidates, costs: Sequence[Cost]) -> list[Point]:
    """All that are weighed, in the order they ended."""
    found = []
    for candidate in searched(candidates):
        assert candidate.ap is not None
        weights = (cost_of(candidate, cost) for cost in costs)
        found.append(
            Point(
                candidate.candidate_id, candidate.ap, tuple(math.inf if one is None else float(one) for one in weights)
            )
        )
    return found


def front(points: Iterable[Point]) -> list[Point]:
    """Those that no other dominates, best AP first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda one: (-one.ap, one.costs, one.candidate_id)):
        if not any(_dominates(other, point) for other in found):
            found.append(point)
    return found


def _dominates(one: Point, other: Point) -> bool:
    """At least as good in everything, and better in something."""
    no_worse = one.ap >= other.ap and all(a <= b for a, b in zip(one.costs, other.costs, strict=True))
    return no_worse and (one.ap, one.costs) != (other.ap, other.costs)
