"""Full training of the best network of the steps before, from its weights, or of a given code from scratch."""

from __future__ import annotations

from lineage.architecture import Genotype
from lineage.events import Event
from lineage.morphism import Blueprint
from orchestrator.search.proposal import finished, is_settled, next_id, proposed, start_of
from orchestrator.search.state import SearchState


def propose(state: SearchState) -> Event | None:
    """The one item of a full-training step, its end, or None while the outcome is awaited."""
    if state.items:
        if not is_settled(state, state.items):
            return None
        trained = state.subject(state.items[0]).outcome == "done"
        return finished(state, "fully trained" if trained else "its network could not be trained")
    candidate_id = next_id(state, "f")
    code = state.step.trainer.model_desc
    parent = None if code else start_of(state)
    if parent is not None:
        return proposed(state, candidate_id, parent.blueprint, parent, ("full_train",), {parent.candidate_id: 1.0})
    assert code is not None  # the configuration was checked for it
    return proposed(state, candidate_id, Blueprint.seed(Genotype.parse(code), candidate_id), None)
