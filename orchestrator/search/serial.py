"""Serial growth: swap, expand, add stage, and reignition when growth stalls (SP-NAS, CVPR 2020, section 3.2)."""

from __future__ import annotations

import random

from lineage.architecture import GenotypeError
from lineage.events import Event, ReignitionProposed
from lineage.morphism import AddStage, Blueprint, Morphism, apply, expansions, swaps
from orchestrator.search.proposal import finished, generator, is_settled, next_id, proposed
from orchestrator.search.selection import parent_probabilities
from orchestrator.search.stall import candidates_since_best
from orchestrator.search.state import Candidate, SearchState
from orchestrator.sections import Reignite, SearchSpace, SerialSettings

MAX_DRAWS = 500  # draws without a new network before the space counts as exhausted
MAX_NEW_BLOCKS = 2  # blocks one expansion inserts at most


def propose(state: SearchState) -> Event | None:
    """The next item of a serial step, its end, or None while outcomes are awaited."""
    number = len(state.items) + 1
    if number == 1:
        return _seed(state)
    seen = state.items[: max(_last_root(state), number - state.window)]
    if not is_settled(state, seen):
        return None
    last = state.reignitions.get(state.items[-1])
    if last is not None and last.outcome == "done":
        parent = state.candidates[last.candidate_id]
        return proposed(
            state, next_id(state, "s"), parent.blueprint, parent, ("reignite",), reignition_id=last.reignition_id
        )
    family = _family(state, seen)
    if not family:
        return finished(state, "its first network could not be trained")
    algorithm = state.step.search
    sampled = sum(1 for item in state.items if item in state.candidates)
    if sampled >= algorithm.max_sample:
        return _finish(state, f"{sampled} candidates, as many as max_sample allows")
    if algorithm.reignite is not None and (stall := _stall(state, family, algorithm.reignite)) is not None:
        return stall if isinstance(stall, ReignitionProposed) else _finish(state, stall)
    return _mutant(state, family, generator(state, number))


def _seed(state: SearchState) -> Event:
    genotype = state.step.search_space.first
    candidate_id = next_id(state, "s")
    return proposed(state, candidate_id, Blueprint.seed(genotype, candidate_id), None)


def _last_root(state: SearchState) -> int:
    """Number of the last item everything after it must wait for: the seed, a reignition, the network it lights."""
    return max(
        number
        for number, item in enumerate(state.items, 1)
        if number == 1 or item in state.reignitions or state.candidates[item].reignition_id is not None
    )


def _family(state: SearchState, seen: tuple[str, ...]) -> list[Candidate]:
    """Trained candidates growth goes on from, in the order of decision: those with the most reignitions behind them."""
    done = [state.candidates[item] for item in seen if item in state.candidates]
    done = [candidate for candidate in done if candidate.outcome == "done"]
    ignition = max((candidate.ignition for candidate in done), default=0)
    return [candidate for candidate in done if candidate.ignition == ignition]


def _stall(state: SearchState, family: list[Candidate], settings: Reignite) -> ReignitionProposed | str | None:
    lit = [number for number, item in enumerate(state.items) if item in state.reignitions]
    after = set(state.items[lit[-1] :]) if lit else set(state.items)  # one that failed is not tried again at once
    since = min(
        candidates_since_best([candidate.ap for candidate in family], settings.min_delta),
        sum(1 for candidate in family if candidate.candidate_id in after),
    )
    spent = len(lit)
    if since < settings.n_stuck:
        return None
    if spent >= settings.max_reignitions:
        return f"growth stalled again after {spent} reignitions"
    best = min(family, key=lambda candidate: (-candidate.ap, candidate.flops, candidate.candidate_id))
    assert state.current_step is not None
    return ReignitionProposed(
        reignition_id=next_id(state, "r"),
        step=state.current_step,
        candidate_id=best.candidate_id,
        n_stuck=settings.n_stuck,
        candidates_since_best=since,
        best_ap=best.ap,
        min_delta=settings.min_delta,
    )


def _finish(state: SearchState, reason: str) -> Event | None:
    return finished(state, reason) if is_settled(state, state.items) else None


def _mutant(state: SearchState, family: list[Candidate], rng: random.Random) -> Event | None:
    algorithm = state.step.search
    probabilities = parent_probabilities(family, algorithm.max_optimal)
    candidate_id = next_id(state, "s")
    ignition = family[0].ignition
    known = {c.blueprint.genotype.code for c in state.candidates.values() if c.ignition == ignition}
    for _ in range(MAX_DRAWS):
        parent_id = rng.choices(list(probabilities), list(probabilities.values()))[0]
        parent = state.candidates[parent_id]
        blueprint, morphisms = _mutate(
            parent.blueprint, candidate_id, algorithm.serial_settings, state.step.search_space, rng
        )
        if blueprint.genotype.code not in known:
            return proposed(state, candidate_id, blueprint, parent, morphisms, probabilities)
    return _finish(state, f"the space is exhausted: {MAX_DRAWS} draws gave no network that was not tried yet")


def _mutate(
    blueprint: Blueprint, owner: str, settings: SerialSettings, space: SearchSpace, rng: random.Random
) -> tuple[Blueprint, tuple[str, ...]]:
    """`num_mutate` morphisms in a row, fewer where nothing fits any more."""
    names: list[str] = []
    for _ in range(settings.num_mutate):
        morphism = _draw(blueprint, settings, space, rng)
        if morphism is None:
            break
        try:
            blueprint = apply(blueprint, morphism, owner)
        except GenotypeError:  # beyond what can be built at all
            continue
        names.append(str(morphism))
    return blueprint, tuple(names)


def _draw(blueprint: Blueprint, settings: SerialSettings, space: SearchSpace, rng: random.Random) -> Morphism | None:
    room = space.max_blocks - blueprint.genotype.depth
    options: list[tuple[float, tuple[Morphism, ...]]] = [
        (settings.addstage_ratio, (AddStage(),) if room > 0 and len(blueprint.block_ids) < settings.max_stages else ()),
        (settings.expand_ratio, expansions(blueprint, min(room, MAX_NEW_BLOCKS))),
        (1 - settings.addstage_ratio - settings.expand_ratio, swaps(blueprint)),
    ]
    possible = [(weight, morphisms) for weight, morphisms in options if weight > 0 and morphisms]
    if not possible:
        return None
    chosen = rng.choices([morphisms for _, morphisms in possible], [weight for weight, _ in possible])[0]
    return rng.choice(chosen)
