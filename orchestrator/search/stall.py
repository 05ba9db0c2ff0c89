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


def candidates_since_gain(family: Sequence[Candidate], candidates: Mapping[str, Candidate], min_delta: float) -> int:
    """How many of `family`, at the end and in the order of decision, do not beat their control by more than `min_delta`.

    A candidate without a control, like the first one, starts the count.
    """
    since = 0
    for candidate in family:
        control = candidates.get(candidate.control_id or "")
        if control is None:
            since = 0
        elif control.outcome == "done":
            since = 0 if candidate.ap > control.ap + min_delta else since + 1
    return since
