"""Stall detection: growth has stalled when the best AP has not improved for n_stuck candidates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from orchestrator.search.state import Candidate


def candidates_since_best(aps: Sequence[float], min_delta: float) -> int:
    """How many of `aps`, at the end and in the order of decision, came after the last improvement.

    An improvement beats the improvement before it by more than `min_delta`; the first AP is one.
    """
    last, since = -math.inf, 0
    for ap in aps:
        if _gain(ap, last) > min_delta:
            last, since = ap, 0
        else:
            since += 1
    return since


def gains_since_success(
    family: Sequence[Candidate], controls: Mapping[str, Candidate], min_delta: float
) -> tuple[float, ...]:
    """Gains of the last of `family`, in the order of decision, that do not beat their control by more than `min_delta`.

    One whose control is not among `controls` is passed over; one that never had a control, like the first, begins anew.
    """
    gains: list[float] = []
    for candidate in family:
        control = controls.get(candidate.control_id or "")
        if candidate.control_id is None:
            gains = []
        elif control is not None:
            gain = _gain(candidate.ap, control.ap)
            gains = [] if gain > min_delta else [*gains, gain]
    return tuple(gains)


def _gain(ap: float, before: float) -> float:
    """A difference of APs without the rounding of floats, so that 0.035 is not more than 0.03 above 0.005."""
    return round(ap - before, 6)
