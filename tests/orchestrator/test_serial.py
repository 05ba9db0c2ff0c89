"""Serial growth: who becomes a parent, what morphisms are drawn, when growth stalls, what comes of a reignition."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from given import REIGNITE, configuration, folded, of, resumed, search
from hypothesis import given
from hypothesis import strategies as st

from lineage.architecture import Genotype
from lineage.events import CandidateProposed, PhaseFinished, ReignitionProposed, ReignitionRequested, RunFinished
from lineage.morphism import Blueprint
from lineage.space import serial_size
from orchestrator.requests import why_not_reignite
from orchestrator.search.selection import parent_probabilities
from orchestrator.search.serial import _mutate
from orchestrator.search.stall import candidates_since_best
from orchestrator.search.state import Candidate
from orchestrator.sections import SearchSpace, SerialSettings


def candidate(name: str, ap: float, flops: int) -> Candidate:
    blueprint = Blueprint.seed(Genotype.parse("b_1_0"), name)
    return Candidate(name, "s", "serial", blueprint, 16, 0, None, None, (), 1, flops, outcome="done", ap=ap)


RESULTS = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 10**12)), min_size=1, max_size=12)


@given(RESULTS, st.integers(1, 12))
def test_better_parents_are_likelier_lighter_ones_too_and_only_the_best_are_drawn(
    results: list[tuple[float, int]], max_optimal: int
):
    family = [candidate(f"s-{number}", *result) for number, result in enumerate(results)]
    probabilities = parent_probabilities(family, max_optimal)
    assert len(probabilities) == min(max_optimal, len(family))
    assert sum(probabilities.values()) == pytest.approx(1)
    drawn = [one for one in family if one.candidate_id in probabilities]
    assert all(one.ap <= min(best.ap for best in drawn) for one in family if one not in drawn)
    for one in drawn:
        for other in drawn:
            if one.ap >= other.ap and one.flops <= other.flops:
                more = probabilities[one.candidate_id] - probabilities[other.candidate_id]
                equal = (one.ap, one.flops) == (other.ap, other.flops)
                assert more == pytest.approx(0) if equal else more > 0


def test_a_parent_four_times_as_heavy_is_half_as_likely_as_its_place_says():
    probabilities = parent_probabilities([candidate("light", 0.5, 100), candidate("heavy", 0.4, 400)], 2)
    assert probabilities["light"] / probabilities["heavy"] == pytest.approx(2 / 1 * 2)


def test_the_probabilities_a_parent_was_drawn_with_are_in_the_event():
    proposals = [e for e in of(search(configuration()), CandidateProposed) if e.phase == "serial" and e.parent_id]
    assert all(event.parent_id in event.parent_probabilities for event in proposals)
    assert all(sum(event.parent_probabilities.values()) == pytest.approx(1) for event in proposals)


@pytest.mark.parametrize("spelling", ["expend_ratio", "expand_ratio"])
def test_ratios_are_the_probabilities_of_a_morphism(spelling: str):
    settings = SerialSettings.model_validate({"num_mutate": 1, "addstage_ratio": 0.05, spelling: 0.3, "max_stages": 9})
    blueprint = Blueprint.seed(Genotype.parse("b_11-21-21-21_0-0-0-0"), "s")
    rng = random.Random(0)
    drawn = [_mutate(blueprint, "c", settings, SearchSpace(), rng)[1][0] for _ in range(20_000)]
    shares = {name: number / 20_000 for name, number in Counter(name.partition("(")[0] for name in drawn).items()}
    assert shares == pytest.approx({"add_stage": 0.05, "expand": 0.3, "swap": 0.65}, abs=0.012)


def test_a_candidate_is_num_mutate_morphisms_away_from_its_parent():
    log = search(configuration(serial_settings={"num_mutate": 5}))
    grown = [event for event in of(log, CandidateProposed) if event.phase == "serial" and event.parent_id]
    assert grown
    assert {len(event.morphisms) for event in grown} == {5}


def test_stages_stay_below_max_stages_and_what_does_not_fit_leaves_its_share_to_the_others():
    settings = {"num_mutate": 3, "addstage_ratio": 0.6, "expend_ratio": 0.2, "max_stages": 5}
    log = search(configuration(serial_settings=settings, max_sample=30))
    stages = [len(Genotype.parse(event.code).stages) for event in of(log, CandidateProposed)]
    assert max(stages) == 5
    assert all(
        len(event.morphisms) == 3 for event in of(log, CandidateProposed) if event.morphisms and event.phase == "serial"
    )


def test_the_result_has_the_blocks_and_stages_the_space_asks_for_though_a_smaller_network_was_better():
    settings = {"addstage_ratio": 0.3, "max_stages": 6}
    log = search(configuration(serial_settings=settings, max_sample=20), aps={"s-0001": 0.9})
    (end, *_) = of(log, PhaseFinished)
    best = folded(log).candidates[end.best_candidate_id or ""].blueprint.genotype
    assert len(best.stages) >= 5
    assert best.depth >= 8


def test_growth_that_stays_too_small_hands_on_its_best_and_says_so():
    config = configuration(serial_settings={"addstage_ratio": 0.0})
    (end, *_) = of(search(config, aps={"s-0002": 0.9}), PhaseFinished)
    assert end.best_candidate_id == "s-0002"
    assert end.reason.endswith("none has 8 blocks in 5 stages, so the best of all goes on")


def test_a_small_space_is_searched_to_its_last_network_however_far_proposals_run_ahead():
    config = configuration(serial_settings={"addstage_ratio": 0, "expand_ratio": 0, "num_mutate": 1}, max_sample=50)
    config["serial"]["search_space"] = {**config["serial"]["search_space"], "start": "b_1-2111-1_0-0-0"}
    for window in (1, 4):
        log = search(config, slots=window, window=window)
        codes = {event.code for event in of(log, CandidateProposed) if event.phase == "serial"}
        assert len(codes) == 10  # two borders among five gaps
        assert "the space is exhausted" in of(log, PhaseFinished)[0].reason


def test_an_exhausted_space_is_exhausted_to_its_last_network_though_draws_are_of_the_best_alone():
    settings = {"addstage_ratio": 0, "expand_ratio": 0.5, "num_mutate": 1, "max_stages": 3}
    config = configuration(serial_settings=settings, max_sample=400, max_optimal=1)
    config["serial"]["search_space"] = {**config["serial"]["search_space"], "start": "b_11-21-21_0-0-0"}
    config["serial"]["search_space"] |= {"max_blocks": 7, "min_blocks": 1, "min_stages": 1}
    log = search(config)
    codes = {event.code for event in of(log, CandidateProposed) if event.phase == "serial"}
    assert len(codes) == serial_size(Genotype.parse("b_11-21-21_0-0-0"), max_blocks=7, max_stages=3) == 55
    assert of(log, PhaseFinished)[0].reason.startswith("the space is exhausted: ")
    family = set[str]()
    for event in of(log, CandidateProposed):  # what was not drawn says so
        if event.phase == "serial" and event.morphisms and not event.parent_probabilities:
            assert sum(event.refused.values()) >= 1000
            family.add(event.parent_id or "")
    assert family


def test_a_second_serial_step_returns_nothing_worse_than_what_it_starts_from():
    config = configuration()
    config["pipeline"].insert(1, "again")
    again = {"total_list": "again.csv", "last_search_result": "s.csv", "max_optimal": 3}
    config["again"] = {**config["serial"], "search_algorithm": config["serial"]["search_algorithm"] | again}
    config["serial"]["search_space"] = {**config["serial"]["search_space"], "min_stages": 4}
    config["again"]["search_space"] = config["serial"]["search_space"]
    log = search(config, aps={f"s-{number:04d}": 0.001 for number in range(7, 14)})
    first, second, *_ = of(log, PhaseFinished)
    assert second.step == "again"
    assert second.best_candidate_id == first.best_candidate_id


def test_the_same_code_with_a_wider_stem_is_another_network():
    config = configuration(serial_settings={"addstage_ratio": 0, "expand_ratio": 0, "num_mutate": 1}, max_sample=50)
    config["pipeline"].insert(1, "again")
    config["serial"]["search_space"] = {**config["serial"]["search_space"], "start": "b_1-2111-1_0-0-0"}
    wider = {**config["serial"]["search_space"], "base_width": 32}
    again = config["serial"]["search_algorithm"] | {"total_list": "again.csv"}
    config["again"] = {**config["serial"], "search_algorithm": again, "search_space": wider}
    codes = Counter(event.base_width for event in of(search(config), CandidateProposed) if event.phase == "serial")
    assert codes == {16: 10, 32: 10}


def test_the_phase_says_which_better_network_has_too_few_blocks_or_stages():
    settings = {"addstage_ratio": 0.3, "max_stages": 6}
    log = search(configuration(serial_settings=settings, max_sample=20), aps={"s-0001": 0.9})
    assert of(log, PhaseFinished)[0].reason == (
        "20 candidates, as many as max_sample allows; s-0001 has AP 0.900, but not 8 blocks in 5 stages"
    )


def test_a_candidate_in_flight_may_end_a_stall():
    aps = {"s-0001": 0.3, "s-0002": 0.2, "s-0003": 0.2, "s-0004": 0.2, "s-0005": 0.5}
    config = configuration(reignite=REIGNITE, max_sample=6)
    log = search(config, slots=3, window=3, aps=aps)
    assert not of(log, ReignitionProposed)


def test_a_stall_reignites_the_best_of_all_even_if_it_was_in_flight():
    aps = {"s-0001": 0.3, "s-0002": 0.2, "s-0003": 0.2, "s-0004": 0.2, "s-0005": 0.305}
    log = search(configuration(reignite=REIGNITE, max_sample=8), slots=3, window=3, aps=aps)
    (stall, *_) = of(log, ReignitionProposed)
    assert (stall.candidate_id, stall.candidates_since_best) == ("s-0005", 4)


def test_a_request_is_honoured_or_refused_because_every_candidate_is_proposed():
    config = configuration(reignite=REIGNITE | {"n_stuck": 50}, max_sample=5)
    answers = []
    for until in range(5):
        log = search(config, slots=2, window=2, until=until)
        answers.append(why_not_reignite(folded(log)))
        honoured = of(resumed([*log, ReignitionRequested(by="somebody")]), ReignitionProposed)
        assert len(honoured) == (answers[-1] is None)
    assert answers[:3] == [None, None, None]
    assert answers[3:] == ["all 5 networks that max_sample allows are proposed"] * 2


def test_a_reignition_can_be_asked_for_by_hand_and_does_not_count_as_one_of_a_stall():
    reignite = REIGNITE | {"n_stuck": 3, "max_reignitions": 1}
    log = search(configuration(reignite=reignite, max_sample=20), until=3, aps={"s-0001": 0.5})
    rest = resumed([*log, ReignitionRequested(by="somebody")])
    first, *others = of(rest, ReignitionProposed)
    assert (first.trigger, first.candidate_id) == ("request", "s-0001")
    assert [event.trigger for event in others] == ["stall"]
    assert len(of(rest, RunFinished)) == 1


def test_a_request_is_answered_once():
    log = search(configuration(reignite=REIGNITE | {"n_stuck": 50}, max_sample=12), until=2)
    rest = resumed([*log, ReignitionRequested(by="a"), ReignitionRequested(by="a")])
    assert len(of(rest, ReignitionProposed)) == 1


def test_a_stall_reignites_the_best_and_growth_goes_on_from_it():
    aps = {"s-0001": 0.1, "s-0002": 0.3, "s-0003": 0.3, "s-0004": 0.305}
    log = search(configuration(reignite=REIGNITE, max_sample=8), aps=aps, window=1)
    (stall,) = of(log, ReignitionProposed)
    assert (stall.candidate_id, stall.candidates_since_best, stall.best_ap) == ("s-0004", 2, 0.305)
    lit = next(event for event in of(log, CandidateProposed) if event.reignition_id)
    assert (lit.parent_id, lit.morphisms, lit.ignition) == ("s-0004", ("reignite",), 1)
    later = [e for e in of(log, CandidateProposed) if e.phase == "serial" and e.candidate_id > lit.candidate_id]
    assert later
    assert all(event.ignition == 1 and event.parent_id >= lit.candidate_id for event in later)


def test_a_stall_after_the_last_reignition_ends_growth():
    aps = {f"s-{number:04d}": 0.3 for number in range(1, 40)}
    log = search(configuration(reignite=REIGNITE, max_sample=30), aps=aps)
    assert len(of(log, ReignitionProposed)) == 1
    assert of(log, PhaseFinished)[0].reason.startswith("growth stalled again after 1 reignition;")


def test_where_no_reignition_is_allowed_the_first_stall_ends_growth():
    aps = {f"s-{number:04d}": 0.3 for number in range(1, 40)}
    log = search(configuration(reignite=REIGNITE | {"max_reignitions": 0}, max_sample=30), aps=aps)
    assert of(log, PhaseFinished)[0].reason.startswith("growth stalled;")


def test_without_reignite_settings_no_stall_is_looked_for():
    aps = {f"s-{number:04d}": 0.3 for number in range(1, 40)}
    assert not of(search(configuration(max_sample=12), aps=aps), ReignitionProposed)


@pytest.mark.parametrize(
    ("aps", "min_delta", "expected"),
    [
        ([], 0.0, 0),
        ([0.1], 0.0, 0),
        ([0.1, 0.1, 0.1], 0.0, 2),
        ([0.0, 0.0], 0.0, 1),
        ([0.1, 0.15, 0.16], 0.02, 1),
        ([0.1, 0.11, 0.12, 0.13], 0.02, 0),
        ([0.005, 0.035], 0.03, 1),  # as floats, 0.035 is more than 0.03 above 0.005
        ([0.1, 0.105, 0.11, 0.115], 0.01, 0),  # small steps add up
    ],
)
def test_stall_counter(aps: list[float], min_delta: float, expected: int):
    assert candidates_since_best(aps, min_delta) == expected
