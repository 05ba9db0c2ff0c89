"""Full training of the best network of a step, a record or a run, or of a code: from its weights, from a reignited
backbone, or from scratch.
"""

from __future__ import annotations

from lineage.architecture import Genotype
from lineage.events import Event
from lineage.morphism import Blueprint
from orchestrator.search.origin import kindled
from orchestrator.search.proposal import finished, is_settled, next_id, proposed
from orchestrator.search.state import Candidate, Reignition, SearchState


def propose(state: SearchState) -> Event | None:
    """The network of a full-training step, its end, or None while the outcome is awaited."""
    start, lit = state.origin, None
    if state.step.starts_reignited:
        outcome = kindled(state, start)
        if not isinstance(outcome, Reignition):
            return outcome
        lit = outcome
    if state.items and state.items[-1] in state.candidates:
        if not is_settled(state, state.items):
            return None
        trained = state.subject(state.items[-1]).outcome == "done"
        return finished(state, "fully trained" if trained else "its network could not be trained")
    return _network(state, start, lit)


def _network(state: SearchState, start: Candidate | None, lit: Reignition | None) -> Event:
    candidate_id = next_id(state, "f")
    if start is None:
        code = state.step.trainer.model_desc
        assert code is not None  # the configuration was checked for it
        return proposed(state, candidate_id, Blueprint.seed(Genotype.parse(code), candidate_id), None)
    reignited = lit is not None and lit.outcome == "done"
    if state.step.trainer.weights == "scratch" or (start.checkpoint is None and not reignited):
        return proposed(state, candidate_id, start.blueprint, None, base_width=start.base_width)
    return proposed(
        state,
        candidate_id,
        start.blueprint,
        start,
        ("reignite", "full_train") if reignited else ("full_train",),
        {start.candidate_id: 1.0},
        reignition_id=lit.reignition_id if lit is not None and reignited else None,
    )
