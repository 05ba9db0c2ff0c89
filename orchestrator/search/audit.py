"""An audit: candidates of another run trained again for as long, from scratch and with the backbone alone inherited.

It asks how much of a candidate's AP it owes to its parent's weights, and whether the search's order holds without them.
"""

from __future__ import annotations

from lineage.events import Event
from orchestrator.search.proposal import finished, is_settled, next_id, proposed
from orchestrator.search.state import SearchState


def propose(state: SearchState) -> Event | None:
    """The next training of an audit, its end, or None while outcomes are awaited."""
    assert state.step.audit is not None
    wanted = [(candidate, way) for candidate in state.step.audit.candidates for way in ("nothing", "backbone")]
    number = len(state.items)
    if number == len(wanted):
        done = is_settled(state, state.items)
        return finished(state, f"{len(wanted) // 2} candidates trained again in two ways") if done else None
    if not is_settled(state, state.items[: max(0, number + 1 - state.window)]):
        return None
    audited_id, way = wanted[number]
    audited = state.candidates[audited_id]
    candidate_id = next_id(state, "a")
    if way == "nothing":
        return proposed(
            state, candidate_id, audited.blueprint, None, base_width=audited.base_width, audited_id=audited_id
        )
    assert audited.parent_id is not None
    return proposed(
        state,
        candidate_id,
        audited.blueprint,
        state.candidates[audited.parent_id],
        audited.morphisms,
        inherit="backbone",
        audited_id=audited_id,
    )
