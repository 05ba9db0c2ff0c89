"""What the proposing rules share: who may be seen, seeded draws, and candidates as events."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lineage.architecture import Genotype
from lineage.events import CandidateProposed, Inherited, PhaseFinished
from lineage.morphism import Blueprint
from orchestrator.search.limits import broken_by, predict
from orchestrator.search.state import Candidate, SearchState, rank

MAX_DRAWS = 1000  # draws without a new network before the space counts as exhausted
DUPLICATE = "duplicate"


class Draw(NamedTuple):
    """A network that may become a candidate: its parent and the morphisms between."""

    parent: Candidate
    blueprint: Blueprint
    morphisms: tuple[str, ...]


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


def is_control(state: SearchState, item: str) -> bool:
    """Whether an item is a parent trained further, for its children to be compared with: neither a parent nor a result."""
    candidate = state.candidates.get(item)
    if candidate is None or candidate.morphisms != ("continue",) or candidate.parent_id is None:
        return False
    return state.candidates[candidate.parent_id].outcome != "given"


def control_of(state: SearchState, parent: Candidate) -> Candidate | None:
    """The control of a parent in the current step, whatever came of it."""
    controls = (state.candidates[item] for item in state.items if is_control(state, item))
    return next((control for control in controls if control.parent_id == parent.candidate_id), None)


def sampled(state: SearchState) -> int:
    """Networks that the current step has proposed, without controls."""
    return sum(1 for item in state.items if item in state.candidates and not is_control(state, item))


def draw_new(state: SearchState, ignition: int, draw: Callable[[], Draw]) -> tuple[Draw | None, dict[str, int]]:
    """The first draw that is not tried or in flight yet and keeps the limits, and how many were refused for what."""
    known = {c.blueprint.genotype.code for c in state.candidates.values() if c.ignition == ignition}
    refused: Counter[str] = Counter()
    for _ in range(MAX_DRAWS):
        drawn = draw()
        if drawn.blueprint.genotype.code in known:
            reason: str | None = DUPLICATE
        else:
            width, space = drawn.parent.base_width, state.step.search_space
            reason = broken_by(drawn.blueprint.genotype, width, space, state.heads)
        if reason is None:
            return drawn, dict(refused)
        refused[reason] += 1
    return None, dict(refused)


def exhausted(refused: Mapping[str, int]) -> str:
    """Why a phase ends when no new network can be drawn."""
    reasons = [f"{refused[DUPLICATE]} had been tried"] if refused.get(DUPLICATE) else []
    reasons += [f"{number} break the limit of {name}" for name, number in sorted(refused.items()) if name != DUPLICATE]
    return f"the space is exhausted: of {MAX_DRAWS} networks drawn none is new ({', '.join(reasons)})"


def proposed(
    state: SearchState,
    candidate_id: str,
    blueprint: Blueprint,
    parent: Candidate | None,
    morphisms: tuple[str, ...] = (),
    probabilities: Mapping[str, float] | None = None,
    *,
    base_width: int | None = None,
    reignition_id: str | None = None,
    inherit: Inherited = "detector",
    control_id: str | None = None,
    audited_id: str | None = None,
    refused: Mapping[str, int] | None = None,
) -> CandidateProposed:
    """The event that proposes `blueprint` as a child of `parent`."""
    assert state.current_step is not None
    step = state.step
    width = base_width or (parent.base_width if parent else step.search_space.base_width)
    predicted = predict(blueprint.genotype, width, step.search_space, state.heads)
    return CandidateProposed(
        candidate_id=candidate_id,
        step=state.current_step,
        phase=step.phase,
        code=blueprint.genotype.code,
        block_ids=blueprint.block_ids,
        base_width=width,
        ignition=(parent.ignition if parent else 0) + (reignition_id is not None),
        parent_id=parent.candidate_id if parent else None,
        reignition_id=reignition_id,
        morphisms=morphisms,
        parent_probabilities=dict(probabilities or {}),
        inherit=inherit if parent else "nothing",
        seeds=step.search_algorithm.seeds_per_candidate if step.search_algorithm else 1,
        control_id=control_id,
        refused=dict(refused or {}),
        audited_id=audited_id,
        params=predicted.params,
        flops=predicted.flops,
    )


def finished(
    state: SearchState, reason: str, start: Candidate | None = None, refused: Mapping[str, int] | None = None
) -> PhaseFinished:
    """The event that ends the current step with its best candidate, or `start` where no child beat it.

    Results of serial growth have the blocks and stages that the space asks for; where none has, the best of all goes on.
    """
    assert state.current_step is not None
    own = [state.candidates[item] for item in state.items if item in state.candidates and not is_control(state, item)]
    own = [candidate for candidate in own if candidate.is_result]
    if start is not None and start.is_result and start not in own:
        own.append(start)
    grown = [c for c in own if _is_grown(state, c.blueprint.genotype)]
    if own and not grown:
        space = state.step.search_space
        reason += f"; none has {space.min_blocks} blocks in {state.step.min_stages} stages, so the best of all goes on"
    best = min(grown or own, key=rank, default=None)
    return PhaseFinished(
        step=state.current_step,
        phase=state.step.phase,
        reason=reason,
        best_candidate_id=best.candidate_id if best else None,
        refused=dict(refused or {}),
    )


def _is_grown(state: SearchState, genotype: Genotype) -> bool:
    step = state.step
    if step.phase != "serial":
        return True
    return genotype.depth >= step.search_space.min_blocks and len(genotype.stages) >= step.min_stages
