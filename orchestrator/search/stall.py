"""Stall detection: growth has stalled when the best AP has not improved for n_stuck candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.search.state import Candidate


def candidates_since_best(aps: Sequence[float], min_delta: float) -> int:
    """How many of `aps`, at the end and in the order of decision, came after the last improvement of the best.

    An improvement beats the best of all before it by more than `min_delta`; the first AP is one.
    """
    best, since = -1.0, 0
    for ap in aps:
        if best < 0 or ap > best + min_delta:
            best, since = ap, 0
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
            gain = round(candidate.ap - control.ap, 6)
            gains = [] if gain > min_delta else [*gains, gain]
    return tuple(gains)
