"""How a step begins: what it starts from, and its first network of its own.

A step starts from the best of an earlier step, from a network that was given (a record, another run, a file of weights),
or from a code. What was given has to be trained here once before anything is compared with it; `regnition: True` sends
its backbone to classification before that.
"""

from __future__ import annotations

from lineage.events import Event, ReignitionProposed
from lineage.morphism import Blueprint
from orchestrator.search.proposal import finished, next_id, proposed
from orchestrator.search.state import Candidate, Reignition, SearchState


def opening(state: SearchState, prefix: str) -> Candidate | Event | None:
    """The trained network that a step grows from, the event that brings it about, or None while it is awaited."""
    start = state.origin
    reignites = state.step.starts_reignited
    if start is not None and start.outcome == "done" and not reignites:
        return start
    before, lit = 0, None
    if reignites:
        outcome = kindled(state, start)
        if not isinstance(outcome, Reignition):
            return outcome
        if outcome.outcome == "abandoned" and start is not None and start.outcome == "done":
            return start
        before, lit = 1, outcome
    if len(state.items) == before:
        return _first(state, start, lit, prefix)
    root = state.candidates[state.items[before]]
    if root.outcome == "pending":
        return None
    if root.is_result:
        return root
    fate = "breaks a limit" if root.ruled_out else "could not be trained"
    return finished(state, f"its first network could not be used: {root.candidate_id} {fate}")


def kindled(state: SearchState, start: Candidate | None) -> Reignition | Event | None:
    """The step's first reignition once it has an outcome, the event that asks for it, or None while it is awaited."""
    assert start is not None  # a code that is to be reignited is given as a network
    if not state.items:
        return reignition(state, start, "start")
    lit = state.reignitions[state.items[0]]
    return None if lit.outcome == "pending" else lit


def reignition(
    state: SearchState, candidate: Candidate, trigger: str, since: int = 0, gains: tuple[float, ...] = ()
) -> ReignitionProposed:
    """The event that sends a backbone to classification."""
    assert state.config is not None
    assert state.current_step is not None
    settings = state.config.reignite_of(state.current_step)
    assert settings is not None
    return ReignitionProposed(
        reignition_id=next_id(state, "r"),
        step=state.current_step,
        candidate_id=candidate.candidate_id,
        n_stuck=settings.n_stuck,
        candidates_since_best=since,
        best_ap=candidate.ap,
        min_delta=settings.min_delta,
        trigger=trigger,
        gains=gains,
    )


def _first(state: SearchState, start: Candidate | None, lit: Reignition | None, prefix: str) -> Event:
    candidate_id = next_id(state, prefix)
    if start is None:
        genotype = state.step.search_space.first
        return proposed(state, candidate_id, Blueprint.seed(genotype, candidate_id), None)
    if lit is not None and lit.outcome == "done":
        return proposed(state, candidate_id, start.blueprint, start, ("reignite",), reignition_id=lit.reignition_id)
    if start.checkpoint is None:
        return proposed(state, candidate_id, start.blueprint, None, base_width=start.base_width)
    return proposed(state, candidate_id, start.blueprint, start, ("continue",))
