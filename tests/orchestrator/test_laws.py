"""What holds of every search, whatever its configuration: found out over random ones with simulated trainings."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
from given import configuration, decisions, finish, folded, network_given, of, run_started, search
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lineage.architecture import Genotype
from lineage.events import (
    CandidateProposed,
    Event,
    JobFinished,
    NetworkGiven,
    PhaseFinished,
    ReignitionProposed,
    RunFinished,
    RunResumed,
    WorkerStarted,
)
from orchestrator.search.evolve import evolve
from orchestrator.search.limits import broken_by
from orchestrator.search.proposal import is_control
from orchestrator.search.state import Candidate, SearchState, rank
from orchestrator.sections import SearchSpace, Step

LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "flops": st.integers(33_000_000, 60_000_000),
        "params": st.integers(750_000, 2_000_000),
        "latency": st.floats(5.0, 5.1),
    },
)


@st.composite
def searches(draw: st.DrawFn) -> tuple[dict[str, Any], list[NetworkGiven]]:
    """A configuration, and the networks that its steps are given."""
    reignite = draw(
        st.none()
        | st.fixed_dictionaries(
            {
                "n_stuck": st.integers(1, 4),
                "min_delta": st.sampled_from([0.0, 0.02]),
                "max_reignitions": st.integers(0, 2),
                "data": st.just("d"),
            }
        )
    )
    settings = {
        "num_mutate": draw(st.integers(1, 3)),
        "addstage_ratio": draw(st.sampled_from([0.0, 0.2, 0.6])),
        "expand_ratio": draw(st.sampled_from([0.0, 0.3])),
        "max_stages": draw(st.integers(4, 6)),
    }
    noise = {"seeds_per_candidate": draw(st.integers(1, 3)), "paired": draw(st.booleans())}
    config = configuration(
        max_sample=draw(st.integers(1, 8)),
        max_optimal=draw(st.integers(1, 4)),
        serial_settings=settings,
        reignite=reignite,
        **noise,
    )
    space = {"limits": draw(LIMITS), "max_blocks": draw(st.integers(9, 14)), "min_blocks": 8}
    if draw(st.booleans()):
        config["pipeline"].insert(1, "again")
        config["again"] = deepcopy(config["serial"])
        config["again"]["search_algorithm"] |= {"total_list": "a.csv", "last_search_result": "s.csv"}
        config["again"]["search_space"]["min_stages"] = draw(st.integers(4, settings["max_stages"]))
    given_networks = []
    for number, step in enumerate(config["pipeline"][:-1], 1):
        algorithm = config[step]["search_algorithm"]
        config[step]["search_space"] = {**config[step]["search_space"], **space}
        if step == "parallel":
            algorithm |= noise
        weights = draw(st.sampled_from(["run", "given", "given weights"]))
        if weights != "run":
            algorithm["last_search_result"] = "elsewhere.csv"
            checkpoint = "c" * 64 if weights == "given weights" else None
            given_networks.append(
                network_given(
                    step, candidate_id=f"i-{number:04d}", phase=algorithm["sample_level"], checkpoint=checkpoint
                )
            )
        if reignite is not None and (weights != "run" or step != "serial"):
            algorithm["regnition"] = draw(st.booleans())
    return config, given_networks


def check(log: list[Event], config: dict[str, Any]) -> None:
    state = folded(log)
    networks = of(log, CandidateProposed)
    (end,) = of(log, RunFinished)
    assert end.outcome == "completed" or of(log, PhaseFinished)[-1].best_candidate_id is None
    known: set[tuple[str, int]] = set()
    for event in networks:
        candidate = state.candidates[event.candidate_id]
        space = SearchSpace.model_validate(config[event.step].get("search_space", {}))
        if event.parent_id is not None:
            assert state.candidates[event.parent_id].outcome != "abandoned"
            assert not state.candidates[event.parent_id].ruled_out
            assert not is_control(state, event.parent_id)
        if event.morphisms and event.morphisms[0] not in ("continue", "reignite", "full_train"):
            assert (event.code, event.ignition) not in known, "proposed twice"
            assert broken_by(candidate.blueprint.genotype, event.base_width, space, None) is None
            assert candidate.blueprint.genotype.depth <= space.max_blocks
            known.add((event.code, event.ignition))
    for phase in of(log, PhaseFinished):
        if phase.best_candidate_id is not None:
            best = state.candidates[phase.best_candidate_id]
            assert best.is_result
            assert not is_control(state, best.candidate_id)
    for item in state.candidates:
        assert not is_control(state, item) or any(one.control_id == item for one in state.candidates.values())
    check_ends(log)
    check_stalls(log, config["serial"]["search_algorithm"].get("reignite"))
    trained = [event.job_id for event in of(log, JobFinished)]
    assert len(trained) == len(set(trained))
    assert sum(one.seeds for one in networks) + len(of(log, ReignitionProposed)) == len(trained)


def check_ends(log: list[Event]) -> None:
    """A search within whose limits its start lies returns nothing worse; growth, nothing worse that is grown."""
    state = SearchState()
    for event in log:
        if isinstance(event, PhaseFinished) and state.step.search_algorithm is not None:
            start, space = state.origin, state.step.search_space
            if start is not None and start.is_result and _keeps(start, space) and _is_grown(start, state.step):
                assert event.best_candidate_id is not None
                assert rank(state.candidates[event.best_candidate_id]) <= rank(start)
        state = evolve(state, event)


def _keeps(start: Candidate, space: SearchSpace) -> bool:
    genotype, allowed = start.blueprint.genotype, space.limits.latency
    within = allowed is None or (start.latency_ms or 0) <= allowed
    return within and broken_by(genotype, start.base_width, space, None) is None


def _is_grown(start: Candidate, step: Step) -> bool:
    genotype = start.blueprint.genotype
    return step.phase != "serial" or (genotype.depth >= 8 and len(genotype.stages) >= step.min_stages)


def check_stalls(log: list[Event], reignite: dict[str, Any] | None) -> None:
    """A stall is found once everything proposed has an outcome, and it is the best of growth that is reignited."""
    state, stalls = SearchState(), Counter[str]()
    for event in log:
        if isinstance(event, ReignitionProposed) and event.trigger == "stall":
            stalls[event.step] += 1
            own = [state.candidates[item] for item in state.items if item in state.candidates]
            assert all(one.outcome != "pending" for one in own)
            family = own if state.origin is None else [state.origin, *own]
            results = [one for one in family if one.is_result and not is_control(state, one.candidate_id)]
            best = min((one for one in results if one.ignition == max(r.ignition for r in results)), key=rank)
            assert event.candidate_id == best.candidate_id
            assert event.candidates_since_best >= event.n_stuck
            assert all(gain <= event.min_delta for gain in event.gains)
            assert len(event.gains) in (0, event.candidates_since_best)
        state = evolve(state, event)
    assert max(stalls.values(), default=0) <= (reignite["max_reignitions"] if reignite else 0)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(searches(), st.integers(1, 3), st.data())
def test_every_search_ends_and_keeps_the_laws_and_is_the_same_after_a_kill(
    case: tuple[dict[str, Any], list[NetworkGiven]], slots: int, data: st.DataObject
) -> None:
    config, networks = case
    log = search(config, slots=slots, window=slots, given=networks)
    check(log, config)
    assert decisions(search(config, slots=slots, window=slots, given=networks, last_first=True)) == decisions(log)
    cut = data.draw(st.integers(len(networks) + 1, len(log) - 1), "events before the kill")
    again = finish([*log[:cut], RunResumed(), WorkerStarted(device="other:0", name="")])
    assert decisions(again) == decisions(log)
    check(again, config)


@pytest.mark.parametrize("first", ["b_1_0", "r_12-2_0-0", "x(4x16d)_1-2-1_0-0-0"])
def test_the_smallest_networks_grow_too(first: str) -> None:
    config = configuration(max_sample=12)
    config["serial"]["search_space"] = {**config["serial"]["search_space"], "start": first}
    log = [run_started(config), WorkerStarted(device="sim:0", name="")]
    grown = [event.code for event in of(finish(log), CandidateProposed) if event.phase == "serial"]
    assert len(grown) == 12
    assert all(Genotype.parse(code).block == Genotype.parse(first).block for code in grown)
