"""Serial growth: swap, expand, add stage, and reignition when growth stalls (SP-NAS, CVPR 2020, section 3.2)."""

from __future__ import annotations

import random

from lineage.architecture import GenotypeError
from lineage.events import Event, ReignitionProposed
from lineage.morphism import AddStage, Blueprint, Morphism, apply, expansions, swaps
from orchestrator.search.origin import opening, reignition
from orchestrator.search.proposal import (
    Draw,
    control_of,
    draw_new,
    exhausted,
    finished,
    generator,
    is_control,
    is_settled,
    next_id,
    proposed,
    sampled,
)
from orchestrator.search.selection import parent_probabilities
from orchestrator.search.stall import candidates_since_best, candidates_since_gain
from orchestrator.search.state import Candidate, SearchState, rank
from orchestrator.sections import Reignite, SearchSpace, SerialSettings

MAX_NEW_BLOCKS = 2  # blocks one expansion inserts at most


def propose(state: SearchState) -> Event | None:
    """The next item of a serial step, its end, or None while outcomes are awaited."""
    root = opening(state, "s")
    if not isinstance(root, Candidate):
        return root
    seen = state.items[: max(_last_root(state), len(state.items) + 1 - state.window)]
    if not is_settled(state, seen):
        return None
    last = state.reignitions.get(state.items[-1]) if state.items else None
    if last is not None and last.outcome == "done":
        parent = state.candidates[last.candidate_id]
        return proposed(
            state, next_id(state, "s"), parent.blueprint, parent, ("reignite",), reignition_id=last.reignition_id
        )
    done = sampled(state)
    if done >= state.step.search.max_sample:
        return _finish(state, f"{done} candidates, as many as max_sample allows")
    settings = state.step.search.reignite
    if settings is not None and (stall := _stall(state, _family(state, root, seen), settings)) is not None:
        return stall if isinstance(stall, ReignitionProposed) else _finish(state, stall)
    return _grow(state, root, seen)


def _last_root(state: SearchState) -> int:
    """Number of the last item everything after it must wait for: the first one, a reignition, the network it lights."""
    roots = (
        number
        for number, item in enumerate(state.items, 1)
        if number == 1 or item in state.reignitions or state.candidates[item].reignition_id is not None
    )
    return max(roots, default=0)


def _family(state: SearchState, root: Candidate, seen: tuple[str, ...]) -> list[Candidate]:
    """Results growth goes on from, in the order of decision: those with the most reignitions behind them, no controls."""
    own = [state.candidates[item] for item in seen if item in state.candidates and not is_control(state, item)]
    results = [candidate for candidate in (own if root in own else [root, *own]) if candidate.is_result]
    ignition = max(candidate.ignition for candidate in results)
    return [candidate for candidate in results if candidate.ignition == ignition]


def _stall(state: SearchState, family: list[Candidate], settings: Reignite) -> ReignitionProposed | str | None:
    """A reignition that is due, by a stall or by request; why growth ends, where there were enough; None: grow on."""
    best = min(family, key=rank)
    if state.step.search.paired:
        since = candidates_since_gain(family, state.candidates, settings.min_delta)
    else:
        since = candidates_since_best([candidate.ap for candidate in family], settings.min_delta)
    if state.reignition_requested:
        return reignition(state, best, "request", since)
    lit = [number for number, item in enumerate(state.items) if item in state.reignitions]
    after = set(state.items[lit[-1] :]) if lit else set(state.items)  # one that failed is not tried again at once
    since = min(since, sum(candidate.candidate_id in after for candidate in family))
    if since < settings.n_stuck:
        return None
    spent = sum(state.reignitions[state.items[number]].trigger == "stall" for number in lit)
    if spent >= settings.max_reignitions:
        return f"growth stalled again after {spent} reignitions"
    return reignition(state, best, "stall", since)


def _finish(state: SearchState, reason: str, refused: dict[str, int] | None = None) -> Event | None:
    return finished(state, reason, refused=refused) if is_settled(state, state.items) else None


def _grow(state: SearchState, root: Candidate, seen: tuple[str, ...]) -> Event | None:
    """A mutant of one of the best that were seen; where none is new, of the best of all once all are settled."""
    number = sampled(state) + sum(item in state.reignitions for item in state.items) + 1
    event, refused = _mutant(state, _family(state, root, seen), generator(state, number))
    if event is not None:
        return event
    if not is_settled(state, state.items):
        return None
    if len(seen) < len(state.items):
        event, refused = _mutant(state, _family(state, root, state.items), generator(state, number))
    return event or _finish(state, exhausted(refused), refused)


def _mutant(state: SearchState, family: list[Candidate], rng: random.Random) -> tuple[Event | None, dict[str, int]]:
    algorithm, space = state.step.search, state.step.search_space
    probabilities = parent_probabilities(family, algorithm.max_optimal)
    candidate_id = next_id(state, "s")

    def draw() -> Draw:
        parent_id = rng.choices(list(probabilities), list(probabilities.values()))[0]
        parent = state.candidates[parent_id]
        return Draw(parent, *_mutate(parent.blueprint, candidate_id, algorithm.serial_settings, space, rng))

    drawn, refused = draw_new(state, family[0].ignition, draw)
    if drawn is None:
        return None, refused
    parent, control = drawn.parent, None
    if algorithm.paired and (control := control_of(state, parent)) is None:
        return proposed(state, candidate_id, parent.blueprint, parent, ("continue",)), refused
    return (
        proposed(
            state,
            candidate_id,
            drawn.blueprint,
            parent,
            drawn.morphisms,
            probabilities,
            control_id=control.candidate_id if control else None,
            refused=refused,
        ),
        refused,
    )


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
    """Add stage, expand or swap with their configured probabilities; what does not fit leaves its share to the others."""
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
