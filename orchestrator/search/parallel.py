"""Parallel phase: sub-networks beside the stages of a serial network (SP-NAS, CVPR 2020, section 3.3).

Sampling is random: every candidate is the start network plus a few sub-networks, and the probability of adding one is
inversely proportional to its FLOPs. So every candidate's parent is the start, and every birth preserves its function.
"""

from __future__ import annotations

import random

from lineage.architecture import Genotype
from lineage.cost import stage_cost
from lineage.events import Event
from lineage.morphism import Branch, apply
from orchestrator.search.origin import opening
from orchestrator.search.proposal import (
    Draw,
    control_of,
    draw_new,
    exhausted,
    finished,
    generator,
    is_settled,
    next_id,
    proposed,
    sampled,
)
from orchestrator.search.state import Candidate, SearchState
from orchestrator.sections import SearchSpace


def propose(state: SearchState) -> Event | None:
    """The next item of a parallel step, its end, or None while outcomes are awaited."""
    start = opening(state, "p")
    if not isinstance(start, Candidate):
        return start
    number = len(state.items) + 1
    if not is_settled(state, state.items[: max(0, number - state.window)]):
        return None
    done = sampled(state)
    if done >= state.step.search.max_sample:
        return _finish(state, start, f"{done} candidates, as many as max_sample allows")
    return _sample(state, start, generator(state, done + 1))


def _finish(state: SearchState, start: Candidate, reason: str, refused: dict[str, int] | None = None) -> Event | None:
    return finished(state, reason, start, refused) if is_settled(state, state.items) else None


def _sample(state: SearchState, start: Candidate, rng: random.Random) -> Event | None:
    control = None
    if state.step.search.paired and (control := control_of(state, start)) is None:
        return proposed(state, next_id(state, "p"), start.blueprint, start, ("continue",))
    candidate_id = next_id(state, "p")
    weights = stage_weights(start.blueprint.genotype, start.base_width, state.step.search_space)
    drawn, refused = draw_new(
        state, start.ignition, lambda: _branches(start, weights, state.step.search_space, candidate_id, rng)
    )
    if drawn is None:
        return _finish(state, start, exhausted(refused), refused)
    return proposed(
        state,
        candidate_id,
        drawn.blueprint,
        start,
        drawn.morphisms,
        {start.candidate_id: 1.0},
        control_id=control.candidate_id if control else None,
        refused=refused,
    )


def _branches(start: Candidate, weights: tuple[float, ...], space: SearchSpace, owner: str, rng: random.Random) -> Draw:
    """The start with one to as many sub-networks as it has stages, where there is room."""
    blueprint, names = start.blueprint, []
    for _ in range(rng.randint(1, len(weights))):
        open_stages = [s for s, count in enumerate(blueprint.genotype.parallel) if count < space.max_branches]
        if not open_stages:
            break
        branch = Branch(rng.choices(open_stages, [weights[stage] for stage in open_stages])[0])
        blueprint = apply(blueprint, branch, owner)
        names.append(str(branch))
    return Draw(start, blueprint, tuple(names))


def stage_weights(genotype: Genotype, base_width: int, space: SearchSpace) -> tuple[float, ...]:
    """Weight of adding one more sub-network beside each stage: the inverse of its FLOPs."""
    return tuple(
        1 / stage_cost(genotype, base_width, stage, space.image_size).flops for stage in range(len(genotype.stages))
    )
