"""Full training of the best network of the steps before, from its weights, or of a given code from scratch."""

from __future__ import annotations

from lineage.architecture import Genotype
from lineage.events import Event
from lineage.morphism import Blueprint
from orchestrator.search.proposal import finished, is_settled, next_id, proposed, start_of
from orchestrator.search.state import Candidate, SearchState


def propose(state: SearchState) -> Event | None:
    """The one item of a full-training step, its end, or None while the outcome is awaited."""
    if state.items:
        return finished(state, "fully trained") if is_settled(state, state.items) else None
    candidate_id = next_id(state, "f")
    code = state.step.trainer.model_desc
    parent = None if code else _best(state)
    if parent is not None:
        return proposed(state, candidate_id, parent.blueprint, parent, ("full_train",), {parent.candidate_id: 1.0})
    if code is None:
        return finished(state, "there is no network to train: give model_desc, or a search step before this one")
    return proposed(state, candidate_id, Blueprint.seed(Genotype.parse(code), candidate_id), None)


def _best(state: SearchState) -> Candidate | None:
    """Best of the record `model_desc_file` names (the total_list of an earlier step), or of the step before."""
    assert state.config is not None
    record = state.step.trainer.model_desc_file
    for done in reversed(state.finished_steps):
        algorithm = state.config.steps[done.step].search_algorithm
        named = algorithm is not None and algorithm.total_list is not None and record is not None
        if named and record is not None and record.endswith(str(algorithm.total_list if algorithm else "")):
            return state.candidates[done.best_candidate_id] if done.best_candidate_id else None
    return start_of(state)
