"""Stall detection: growth has stalled when the best AP has not improved for n_stuck candidates."""

from __future__ import annotations

from collections.abc import Sequence


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
