"""What the proposing rules share: who may be seen, seeded draws, and candidates as events."""

from __future__ import annotations

import random

from lineage.cost import cost
from lineage.events import CandidateProposed, PhaseFinished
from lineage.morphism import Blueprint
from orchestrator.search.state import Candidate, SearchState, rank


def generator(state: SearchState, number: int) -> random.Random:
    """Random draws of the `number`-th item of the current step: the same for the same run seed, always."""
    return random.Random(f"{state.seed}/{state.current_step}/{number}")


def next_id(state: SearchState, prefix: str) -> str:
    """``s-0007``: the prefix of its kind and its number in the run."""
    known = state.candidates if prefix != "r" else state.reignitions
    return f"{prefix}-{sum(1 for item in known if item.startswith(prefix)) + 1:04d}"


def is_settled(state: SearchState, items: tuple[str, ...]) -> bool:
    """Whether all of `items` have an outcome."""
    return all(state.subject(item).outcome != "pending" for item in items)


def proposed(
    state: SearchState,
    candidate_id: str,
    blueprint: Blueprint,
    parent: Candidate | None,
    morphisms: tuple[str, ...] = (),
    probabilities: dict[str, float] | None = None,
    reignition_id: str | None = None,
) -> CandidateProposed:
    """The event that proposes `blueprint` as a child of `parent`."""
    assert state.current_step is not None
    space = state.step.search_space
    base_width = parent.base_width if parent else space.base_width
    predicted = cost(blueprint.genotype, base_width, space.image_size, space.neck_channels)
    return CandidateProposed(
        candidate_id=candidate_id,
        step=state.current_step,
        phase=state.step.phase,
        code=blueprint.genotype.code,
        block_ids=blueprint.block_ids,
        base_width=base_width,
        ignition=(parent.ignition if parent else 0) + (reignition_id is not None),
        parent_id=parent.candidate_id if parent else None,
        reignition_id=reignition_id,
        morphisms=morphisms,
        parent_probabilities=probabilities or {},
        params=predicted.params,
        flops=predicted.flops,
    )


def finished(state: SearchState, reason: str) -> PhaseFinished:
    """The event that ends the current step with its best candidate (the start, where no child beat it)."""
    assert state.current_step is not None
    own = [c for c in state.candidates.values() if c.step == state.current_step and c.outcome == "done"]
    start = start_of(state)
    if start is not None and state.step.phase == "parallel" and own:
        own.append(start)
    best = min(own, key=rank, default=None)
    return PhaseFinished(
        step=state.current_step,
        phase=state.step.phase,
        reason=reason,
        best_candidate_id=best.candidate_id if best else None,
    )


def start_of(state: SearchState) -> Candidate | None:
    """The candidate the current step starts from: the best of the step it names, else of the step before."""
    assert state.config is not None
    assert state.current_step is not None
    source = state.config.source_of(state.current_step)
    best = {done.step: done.best_candidate_id for done in state.finished_steps}.get(source or "")
    return state.candidates[best] if best else None
