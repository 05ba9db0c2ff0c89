"""Serial growth: swap, expand, add stage, and reignition when growth stalls (SP-NAS, CVPR 2020, section 3.2)."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lineage.events import Event, ReignitionProposed
from lineage.morphism import AddStage, Blueprint, Morphism, apply, expansions, swaps
from orchestrator.search.origin import opening, reignition
from orchestrator.search.proposal import (
    Draw,
    control_for,
    draw_new,
    exhausted,
    finished,
    generator,
    is_control,
    is_settled,
    next_id,
    owed_control,
    proposed,
    sampled,
    tried,
)
from orchestrator.search.selection import parent_probabilities
from orchestrator.search.stall import candidates_since_best, gains_since_success
from orchestrator.search.state import Candidate, SearchState, rank
from orchestrator.sections import Reignite, SearchSpace, SerialSettings

MAX_NEW_BLOCKS = 2  # blocks one expansion inserts at most


def propose(state: SearchState) -> Event | None:
    """The next item of a serial step, its end, or None while outcomes are awaited."""
    root = opening(state, "s")
    if not isinstance(root, Candidate):
        return root
    if owed := owed_control(state):
        return owed
    seen = state.items[: max(_last_root(state), len(state.items) + 1 - state.window)]
    if not is_settled(state, seen):
        return None
    last = state.reignitions.get(state.items[-1]) if state.items else None
    if last is not None and last.outcome == "done":
        parent = state.candidates[last.candidate_id]
        return proposed(
            state, next_id(state, "s"), parent.blueprint, parent, ("reignite",), reignition_id=last.reignition_id
        )
    done, settings = sampled(state), state.step.search.reignite
    if done >= state.step.search.max_sample:
        return _finish(state, f"{done} candidates, as many as max_sample allows")
    if settings is not None and _stall(state, root, seen, settings) is not None:
        if not is_settled(state, state.items):  # what is in flight may end the stall, or be the better to reignite
            return None
        seen = state.items
        if (stall := _stall(state, root, seen, settings)) is not None:
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


def _stall(
    state: SearchState, root: Candidate, seen: tuple[str, ...], settings: Reignite
) -> ReignitionProposed | str | None:
    """A reignition that is due, by a stall or by request; why growth ends, where there were enough; None: grow on."""
    family, gains = _family(state, root, seen), tuple[float, ...]()
    if state.step.search.paired:
        earlier = state.candidates.keys() - set(state.items)
        controls = {item: state.candidates[item] for item in (*earlier, *seen) if is_control(state, item)}
        trained = {item: control for item, control in controls.items() if control.outcome == "done"}
        gains = gains_since_success(family, trained, settings.min_delta)
        since = len(gains)
    else:
        since = candidates_since_best([candidate.ap for candidate in family], settings.min_delta)
    best = min(family, key=rank)
    if state.reignition_requested:
        return reignition(state, best, "request", since, gains)
    lit = [number for number, item in enumerate(state.items) if item in state.reignitions]
    after = set(state.items[lit[-1] :]) if lit else set(state.items)  # one that failed is not tried again at once
    since = min(since, sum(candidate.candidate_id in after for candidate in family))
    if since < settings.n_stuck:
        return None
    spent = sum(state.reignitions[state.items[number]].trigger == "stall" for number in lit)
    if spent >= settings.max_reignitions:
        return f"growth stalled again after {spent} reignition{'s' * (spent > 1)}" if spent else "growth stalled"
    return reignition(state, best, "stall", since, gains[-since:])


def _finish(state: SearchState, reason: str, refused: dict[str, int] | None = None) -> Event | None:
    return finished(state, reason, refused) if is_settled(state, state.items) else None


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
        blueprint, names = _mutate(parent.blueprint, candidate_id, algorithm.serial_settings, space, rng)
        return Draw(parent, blueprint, names, probabilities)

    near = _neighbours(family, candidate_id, algorithm.serial_settings, space, rng)
    drawn, refused = draw_new(state, tried(state, family[0]), draw, near)
    if drawn is None:
        return None, refused
    event = proposed(
        state,
        candidate_id,
        drawn.blueprint,
        drawn.parent,
        drawn.morphisms,
        drawn.probabilities,
        control_id=control_for(state, drawn.parent, candidate_id),
        refused=refused,
    )
    return event, refused


def _neighbours(
    family: list[Candidate], owner: str, settings: SerialSettings, space: SearchSpace, rng: random.Random
) -> Iterator[Draw]:
    """Every network one morphism away from one of the family, the best one's first."""
    for parent in sorted(family, key=rank):
        morphisms = [morphism for _, some in _options(parent.blueprint, settings, space) for morphism in some]
        for morphism in rng.sample(morphisms, len(morphisms)):
            yield Draw(parent, apply(parent.blueprint, morphism, owner), (str(morphism),))


def _mutate(
    blueprint: Blueprint, owner: str, settings: SerialSettings, space: SearchSpace, rng: random.Random
) -> tuple[Blueprint, tuple[str, ...]]:
    """`num_mutate` morphisms in a row, fewer where nothing fits any more."""
    names: list[str] = []
    for _ in range(settings.num_mutate):
        options = _options(blueprint, settings, space)
        if not options:
            break
        chosen = rng.choices([morphisms for _, morphisms in options], [weight for weight, _ in options])[0]
        morphism = rng.choice(chosen)
        blueprint = apply(blueprint, morphism, owner)
        names.append(str(morphism))
    return blueprint, tuple(names)


def _options(
    blueprint: Blueprint, settings: SerialSettings, space: SearchSpace
) -> list[tuple[float, tuple[Morphism, ...]]]:
    """Add stage, expand and swap with their configured probabilities; what does not fit leaves its share to the others."""
    room = space.max_blocks - blueprint.genotype.depth
    options: list[tuple[float, tuple[Morphism, ...]]] = [
        (settings.addstage_ratio, (AddStage(),) if room > 0 and len(blueprint.block_ids) < settings.max_stages else ()),
        (settings.expand_ratio, expansions(blueprint, min(room, MAX_NEW_BLOCKS))),
        (settings.swap_ratio, swaps(blueprint)),
    ]
    return [(weight, morphisms) for weight, morphisms in options if weight > 0 and morphisms]
