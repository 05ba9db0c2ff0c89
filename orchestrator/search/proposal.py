"""What the proposing rules share: who may be seen, seeded draws, and candidates as events."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from lineage.architecture import Genotype
from lineage.events import CandidateProposed, Inherited, PhaseFinished
from lineage.morphism import Blueprint
from orchestrator.search.limits import broken_by, predict, ruling_out
from orchestrator.search.state import Candidate, SearchState, rank

MAX_DRAWS = 1000  # draws without a new network before those around are looked at one by one
DUPLICATE = "duplicate"


class Draw(NamedTuple):
    """A network that may become a candidate: its parent, the morphisms between, and what parents were drawn from."""

    parent: Candidate
    blueprint: Blueprint
    morphisms: tuple[str, ...]
    probabilities: Mapping[str, float] = MappingProxyType({})  # empty: it was not drawn


def generator(state: SearchState, number: int) -> random.Random:
    """Random draws of the `number`-th item of the current step: the same for the same run seed, always."""
    return random.Random(f"{state.seed}/{state.current_step}/{number}")


def next_id(state: SearchState, prefix: str) -> str:
    """``s-0007``: the prefix of its kind and the next number in the run; given networks may have brought some along."""
    known = state.candidates if prefix != "r" else state.reignitions
    last = max((int(item.partition("-")[2]) for item in known if item.startswith(f"{prefix}-")), default=0)
    return f"{prefix}-{last + 1:04d}"


def is_settled(state: SearchState, items: tuple[str, ...]) -> bool:
    """Whether all of `items` have an outcome."""
    return all(state.subject(item).outcome != "pending" for item in items)


def is_control(state: SearchState, item: str) -> bool:
    """Whether an item is a parent trained further, for its children to be compared with: neither a parent nor a result."""
    candidate = state.candidates.get(item)
    if candidate is None or candidate.morphisms != ("continue",) or candidate.parent_id is None:
        return False
    return state.candidates[candidate.parent_id].outcome != "given"


def control_for(state: SearchState, parent: Candidate, child_id: str) -> str | None:
    """Id of the control that a child of `parent` is compared with; a new one is proposed right after the child."""
    if not state.step.search.paired:
        return None
    for item, one in state.candidates.items():
        if one.parent_id == parent.candidate_id and is_control(state, item) and _is_as_long(state, one):
            return item
    prefix, number = child_id.split("-")
    return f"{prefix}-{int(number) + 1:04d}"


def _is_as_long(state: SearchState, control: Candidate) -> bool:
    """Whether a control serves in the current step: its own, or a trained one of another with as many epochs and seeds."""
    assert state.config is not None
    if control.step == state.current_step:
        return True
    epochs, seeds = state.config.steps[control.step].trainer.epoch, state.step.search.seeds_per_candidate
    return control.outcome == "done" and (epochs, control.seeds) == (state.step.trainer.epoch, seeds)


def owed_control(state: SearchState) -> CandidateProposed | None:
    """The control that the last child names, where it is not proposed yet."""
    child = state.candidates.get(state.items[-1]) if state.items else None
    if child is None or child.control_id is None or child.control_id in state.candidates:
        return None
    parent = state.candidates[child.parent_id or ""]
    return proposed(state, child.control_id, parent.blueprint, parent, ("continue",))


def sampled(state: SearchState) -> int:
    """Networks that the current step has proposed, without controls."""
    return sum(1 for item in state.items if item in state.candidates and not is_control(state, item))


def tried(state: SearchState, like: Candidate) -> frozenset[str]:
    """Codes trained here or in flight with as many reignitions behind them, and a stem as wide, as `like` has."""
    return frozenset(
        one.blueprint.genotype.code
        for one in state.candidates.values()
        if one.outcome != "given" and (one.ignition, one.base_width) == (like.ignition, like.base_width)
    )


def refusal(state: SearchState, drawn: Draw, known: frozenset[str]) -> str | None:
    """Why a draw can't be proposed: ``duplicate`` or the limit it breaks; None: it can."""
    genotype = drawn.blueprint.genotype
    if genotype.code in known:
        return DUPLICATE
    return broken_by(genotype, drawn.parent.base_width, state.step.search_space, state.heads)


def draw_new(
    state: SearchState, known: frozenset[str], draw: Callable[[], Draw], others: Iterable[Draw]
) -> tuple[Draw | None, dict[str, int]]:
    """The first draw, or else the first of `others`, that can be proposed, and how many were refused for what."""
    refused: Counter[str] = Counter()
    for drawn in chain((draw() for _ in range(MAX_DRAWS)), others):
        reason = refusal(state, drawn, known)
        if reason is None:
            return drawn, dict(refused)
        refused[reason] += 1
    return None, dict(refused)


def exhausted(refused: Mapping[str, int]) -> str:
    """Why a phase ends when no new network can be drawn, nor found by looking at those around one by one."""
    reasons = [f"{refused[DUPLICATE]} tried before"] if refused.get(DUPLICATE) else []
    reasons += [f"{number} break the limit of {name}" for name, number in sorted(refused.items()) if name != DUPLICATE]
    return f"the space is exhausted: {sum(refused.values())} draws gave nothing new ({', '.join(reasons)})"


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


def finished(state: SearchState, reason: str, refused: Mapping[str, int] | None = None) -> PhaseFinished:
    """The event that ends the current step with its best network; for a search that may be what it started from.

    Results of serial growth have the blocks and stages that the space asks for; where none has, the best of all goes on.
    """
    assert state.current_step is not None
    results = [state.candidates[item] for item in state.items if item in state.candidates]
    results = [one for one in results if one.is_result and not is_control(state, one.candidate_id)]
    start = state.origin
    if start is not None and start not in results and _can_go_on(state, start):
        results.append(start)
    ranked = sorted(results, key=rank)
    best = next((one for one in ranked if _is_grown(state, one.blueprint.genotype)), ranked[0] if ranked else None)
    if ranked and best is not None:
        reason += _what_was_missed(state, ranked[0], best)
    return PhaseFinished(
        step=state.current_step,
        phase=state.step.phase,
        reason=reason,
        best_candidate_id=best.candidate_id if best else None,
        refused=dict(refused or {}),
    )


def _can_go_on(state: SearchState, start: Candidate) -> bool:
    """Whether what a search started from may be its result: trained in this run, and within the limits of this step."""
    space = state.step.search_space
    if state.step.search_algorithm is None or not start.is_result:
        return False
    broken = broken_by(start.blueprint.genotype, start.base_width, space, state.heads)
    return broken is None and ruling_out(start, space.limits) is None


def _is_grown(state: SearchState, genotype: Genotype) -> bool:
    step = state.step
    if step.phase != "serial":
        return True
    return genotype.depth >= step.search_space.min_blocks and len(genotype.stages) >= step.min_stages


def _what_was_missed(state: SearchState, highest: Candidate, best: Candidate) -> str:
    """Half a sentence on the blocks and stages that the highest AP, or every network, is short of."""
    wanted = f"{state.step.search_space.min_blocks} blocks in {state.step.min_stages} stages"
    if not _is_grown(state, best.blueprint.genotype):
        return f"; none has {wanted}, so the best of all goes on"
    if highest is not best:
        return f"; {highest.candidate_id} has AP {highest.ap:.3f}, but not {wanted}"
    return ""
