"""A short training's AP is noisy: several seeds a candidate, and a control to compare a child with."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest
from given import REIGNITE, configuration, decisions, failing, finish, folded, of, resumed, run_started, search

from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    JobAssigned,
    JobFinished,
    ReignitionProposed,
    RunResumed,
    WorkerStarted,
)
from orchestrator.jobs import job_of
from orchestrator.search.state import SearchState
from trainers.protocol import DetectionJob


def test_a_candidate_is_trained_from_several_seeds_and_its_ap_is_their_mean():
    log = search(configuration(seeds_per_candidate=3))
    state = folded(log)
    for candidate in state.candidates.values():
        jobs = [event for event in of(log, JobAssigned) if event.subject_id == candidate.candidate_id]
        expected = 3 if candidate.phase == "serial" else 1
        assert [job.repeat for job in jobs] == list(range(1, expected + 1))
        aps = {event.ap: event.checkpoint for event in of(log, JobFinished) if event.job_id in {j.job_id for j in jobs}}
        assert candidate.ap == pytest.approx(mean(one.ap for one in candidate.measurements.values()), abs=1e-6)
        assert candidate.checkpoint == aps[max(ap for ap in aps if ap is not None)]


def test_each_training_of_a_candidate_has_a_seed_of_its_own():
    log = search(configuration(seeds_per_candidate=3))
    state = folded(log)
    jobs = [job_of(state, event, Path()) for event in of(log, JobAssigned) if event.subject_id == "s-0002"]
    assert len({job.seed for job in jobs}) == 3


def test_a_candidate_one_of_whose_trainings_fails_for_good_is_abandoned_though_others_end_well():
    log = failing(configuration(seeds_per_candidate=2), "j-s-0002-2")
    abandoned = of(log, CandidateAbandoned)
    assert [event.candidate_id for event in abandoned] == ["s-0002"]
    assert folded(log).candidates["s-0002"].outcome == "abandoned"
    assert all(event.parent_id != "s-0002" for event in of(log, CandidateProposed))


def test_killed_between_two_seeds_and_resumed_the_search_decides_the_same():
    config = configuration(seeds_per_candidate=2, paired=True, reignite=REIGNITE, max_sample=8)
    whole = finish([run_started(config), WorkerStarted(device="sim:0", name="")])
    for cut in range(1, len(whole), 3):
        again = finish([*whole[:cut], RunResumed(), WorkerStarted(device="other:0", name="")])
        assert decisions(again) == decisions(whole), f"cut after event {cut}: {whole[cut - 1]}"


PAIRED = search(configuration(paired=True, max_sample=10), slots=2, window=2)


def test_every_child_names_its_parent_trained_for_the_same_extra_epochs():
    state = folded(PAIRED)
    children = [c for c in state.candidates.values() if c.phase == "serial" and c.parent_id and c.control_id]
    assert len(children) == 9
    for child in children:
        control = state.candidates[child.control_id or ""]
        assert control.morphisms == ("continue",)
        assert control.parent_id == child.parent_id
        assert control.blueprint == state.candidates[child.parent_id or ""].blueprint


def test_a_parent_has_one_control_and_controls_are_not_counted_as_samples():
    state = folded(PAIRED)
    controls = [c for c in state.candidates.values() if c.morphisms == ("continue",) and c.phase == "serial"]
    assert len({control.parent_id for control in controls}) == len(controls) > 0
    assert len([c for c in state.candidates.values() if c.phase == "serial"]) == 10 + len(controls)


def test_a_parent_is_not_trained_on_again_in_a_later_step_that_trains_as_long():
    for epochs, controls in ((1, 0), (2, 1)):
        config = configuration(paired=True, max_sample=10)
        config["serial"]["search_space"] = {**config["serial"]["search_space"], "min_stages": 4}
        config["parallel"]["search_algorithm"]["paired"] = True
        config["parallel"]["trainer"] = {**config["parallel"]["trainer"], "epoch": epochs}
        log = search(config, aps={"s-0001": 0.9} | {f"s-{number:04d}": 0.1 for number in range(2, 30)})
        state = folded(log)
        assert state.finished_steps[0].best_candidate_id == "s-0001"
        new = [c for c in state.candidates.values() if c.morphisms == ("continue",) and c.phase == "parallel"]
        assert len(new) == controls
        children = [c for c in state.candidates.values() if c.phase == "parallel" and c.morphisms != ("continue",)]
        assert all(state.candidates[c.control_id or ""].parent_id == "s-0001" for c in children)


def test_a_child_and_its_control_are_trained_from_the_same_seed():
    state = folded(PAIRED)
    seeds = {}
    for event in of(PAIRED, JobAssigned):
        job = job_of(state, event, Path())
        assert isinstance(job, DetectionJob)
        seeds[event.subject_id] = job.seed
    pairs = [(c.candidate_id, c.control_id) for c in state.candidates.values() if c.control_id]
    assert pairs
    assert all(seeds[child] == seeds[control] for child, control in pairs if control)


def epochs_behind(state: SearchState, subject: str) -> float:
    """An AP that only longer training raises: the number of trainings behind a network's weights."""
    parent = state.candidates[subject].parent_id
    return 0.01 + (epochs_behind(state, parent) if parent else 0.0)


@pytest.mark.parametrize("paired", [True, False])
def test_growth_stalls_when_children_do_not_beat_their_controls_however_much_training_alone_helps(paired: bool):
    config = configuration(
        paired=paired, max_sample=12, max_optimal=1, reignite=REIGNITE | {"n_stuck": 3, "min_delta": 0}
    )
    log = search(config, aps=epochs_behind, window=1)
    stalls = of(log, ReignitionProposed)
    assert [(one.candidates_since_best, one.gains) for one in stalls[:1]] == ([(3, (0.0, 0.0, 0.0))] if paired else [])


def test_a_resumed_run_goes_on_with_the_seeds_that_are_left():
    log = search(configuration(seeds_per_candidate=2), slots=1, window=1, until=1)
    assert len(folded(log).candidates["s-0001"].measurements) == 1
    rest = resumed(log)
    trained = [event.job_id for event in of(rest, JobFinished)]
    assert len(trained) == len(set(trained))
    assert trained[:2] == ["j-s-0001", "j-s-0001-2"]
