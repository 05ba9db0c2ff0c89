"""Parallel phase: sub-networks beside the stages of the serial winner (SP-NAS, CVPR 2020, section 3.3).

Sampling is random: every candidate is the start network plus a few sub-networks, and the probability of adding one is
inversely proportional to its FLOPs. So every candidate's parent is the start, and every birth preserves its function.
"""

from __future__ import annotations

import random

from lineage.architecture import Genotype
from lineage.cost import stage_cost
from lineage.events import Event
from lineage.morphism import Blueprint, Branch, apply
from orchestrator.search.proposal import finished, generator, is_settled, next_id, proposed, start_of
from orchestrator.search.state import Candidate, SearchState
from orchestrator.sections import SearchSpace

MAX_DRAWS = 500


def propose(state: SearchState) -> Event | None:
    """The next item of a parallel step, its end, or None while outcomes are awaited."""
    number = len(state.items) + 1
    start = start_of(state)
    if start is None:
        if number == 1:
            return _hand_made(state)
        start = state.candidates[state.items[0]]
        if start.outcome == "pending":
            return None
        if start.outcome == "abandoned":
            return finished(state, "its first network could not be trained")
    if not is_settled(state, state.items[: max(0, number - state.window)]):
        return None
    if number > state.step.search.max_sample:
        return _finish(state, f"{number - 1} candidates, as many as max_sample allows")
    return _sample(state, start, generator(state, number))


def _hand_made(state: SearchState) -> Event:
    genotype = state.step.search_space.first
    candidate_id = next_id(state, "p")
    return proposed(state, candidate_id, Blueprint.seed(genotype, candidate_id), None)


def _finish(state: SearchState, reason: str) -> Event | None:
    return finished(state, reason) if is_settled(state, state.items) else None


def _sample(state: SearchState, start: Candidate, rng: random.Random) -> Event | None:
    space = state.step.search_space
    known = {c.blueprint.genotype.code for c in state.candidates.values() if c.ignition == start.ignition}
    candidate_id = next_id(state, "p")
    weights = stage_weights(start.blueprint.genotype, start.base_width, space)
    for _ in range(MAX_DRAWS):
        blueprint, names = start.blueprint, []
        for _ in range(rng.randint(1, len(weights))):
            open_stages = [s for s, count in enumerate(blueprint.genotype.parallel) if count < space.max_branches]
            if not open_stages:
                break
            branch = Branch(rng.choices(open_stages, [weights[stage] for stage in open_stages])[0])
            blueprint = apply(blueprint, branch, candidate_id)
            names.append(str(branch))
        if names and blueprint.genotype.code not in known:
            return proposed(state, candidate_id, blueprint, start, tuple(names), {start.candidate_id: 1.0})
    return _finish(state, f"the space is exhausted: {MAX_DRAWS} draws gave no network that was not tried yet")


def stage_weights(genotype: Genotype, base_width: int, space: SearchSpace) -> tuple[float, ...]:
    """Weight of adding one more sub-network beside each stage: the inverse of its FLOPs."""
    return tuple(
        1 / stage_cost(genotype, base_width, stage, space.image_size).flops for stage in range(len(genotype.stages))
    )
