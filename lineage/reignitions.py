"""Events of reignitions: a backbone that goes back to classification. Read `lineage.events` first."""

from __future__ import annotations

from typing import Literal

from lineage.reports import EventValue, Fault


class ReignitionRequested(EventValue):
    """Somebody asked for a reignition by hand; the search proposes it when growth can go on from it."""

    kind: Literal["ReignitionRequested"] = "ReignitionRequested"
    by: str


class ReignitionProposed(EventValue):
    """The backbone of `candidate_id` goes back to classification. The numbers are what triggered it.

    `trigger`: growth stalled, the configuration asks for it at the start, or somebody requested it. In a paired search
    `candidates_since_best` counts the last children that did not beat their control; `gains` are theirs, in order.
    """

    kind: Literal["ReignitionProposed"] = "ReignitionProposed"
    reignition_id: str
    step: str
    candidate_id: str
    n_stuck: int
    candidates_since_best: int
    best_ap: float
    min_delta: float
    trigger: Literal["stall", "start", "request"] = "stall"
    gains: tuple[float, ...] = ()


class ReignitionAbandoned(EventValue):
    """No attempt at this reignition succeeded; growth goes on without it."""

    kind: Literal["ReignitionAbandoned"] = "ReignitionAbandoned"
    reignition_id: str
    fault: Fault
    message: str
