"""Parallel phase: sub-networks beside the stages of a serial network (SP-NAS, CVPR 2020, section 3.3).

Sampling is random: every candidate is the start network plus a few sub-networks, and the probability of adding one is
inversely proportional to its FLOPs. So every candidate's parent is the start, and every birth preserves its function.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice, product

from lineage.architecture import Genotype
from lineage.cost import stage_cost
from lineage.events import Event
from lineage.morphism import Branch, apply
from orchestrator.search.origin import opening
from orchestrator.search.proposal import (
    Draw,
    control_for,
    draw_new,
    exhausted,
    finished,
    generator,
    is_settled,
    next_id,
    owed_control,
    proposed,
    sampled,
    tried,
)
from orchestrator.search.state import Candidate, SearchState
from orchestrator.sections import SearchSpace

MAX_LISTED = 10_000  # networks looked at one by one once draws find nothing new


def propose(state: SearchState) -> Event | None:
    """The next item of a parallel step, its end, or None while outcomes are awaited."""
    start = opening(state, "p")
    if not isinstance(start, Candidate):
        return start
    if owed := owed_control(state):
        return owed
    if not is_settled(state, state.items[: max(0, len(state.items) + 1 - state.window)]):
        return None
    done = sampled(state)
    if done >= state.step.search.max_sample:
        return _finish(state, f"{done} candidates, as many as max_sample allows")
    return _sample(state, start, generator(state, done + 1))


def _finish(state: SearchState, reason: str, refused: dict[str, int] | None = None) -> Event | None:
    return finished(state, reason, refused) if is_settled(state, state.items) else None


def _sample(state: SearchState, start: Candidate, rng: random.Random) -> Event | None:
    candidate_id, space = next_id(state, "p"), state.step.search_space
    weights = stage_weights(start.blueprint.genotype, start.base_width, space)
    drawn, refused = draw_new(
        state,
        tried(state, start),
        lambda: _branches(start, weights, space, candidate_id, rng),
        islice(_all_branches(start, space, candidate_id, rng), MAX_LISTED),
    )
    if drawn is None:
        return _finish(state, exhausted(refused), refused)
    return proposed(
        state,
        candidate_id,
        drawn.blueprint,
        start,
        drawn.morphisms,
        {start.candidate_id: 1.0},
        control_id=control_for(state, start, candidate_id),
        refused=refused,
    )


def _branches(start: Candidate, weights: tuple[float, ...], space: SearchSpace, owner: str, rng: random.Random) -> Draw:
    """The start with one to as many sub-networks as it has stages, where there is room."""
    counts, chosen = list(start.blueprint.genotype.parallel), []
    for _ in range(rng.randint(1, len(weights))):
        open_stages = [stage for stage, count in enumerate(counts) if count < space.max_branches]
        if not open_stages:
            break
        stage = rng.choices(open_stages, [weights[stage] for stage in open_stages])[0]
        counts[stage] += 1
        chosen.append(Branch(stage))
    return _with_branches(start, chosen, owner)


def _all_branches(start: Candidate, space: SearchSpace, owner: str, rng: random.Random) -> Iterator[Draw]:
    """The start with every number of further sub-networks beside each stage."""
    rooms = [max(0, space.max_branches - count) for count in start.blueprint.genotype.parallel]
    for numbers in product(*(rng.sample(range(room + 1), room + 1) for room in rooms)):
        yield _with_branches(
            start, [Branch(stage) for stage, number in enumerate(numbers) for _ in range(number)], owner
        )


def _with_branches(start: Candidate, branches: Sequence[Branch], owner: str) -> Draw:
    blueprint = start.blueprint
    for branch in branches:
        blueprint = apply(blueprint, branch, owner)
    return Draw(start, blueprint, tuple(map(str, branches)))


def stage_weights(genotype: Genotype, base_width: int, space: SearchSpace) -> tuple[float, ...]:
    """Weight of adding one more sub-network beside each stage: the inverse of its FLOPs."""
    return tuple(
        1 / stage_cost(genotype, base_width, stage, space.image_size).flops for stage in range(len(genotype.stages))
    )
