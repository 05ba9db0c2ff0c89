"""How a step begins: from a code, an earlier step or a given network, with its weights, reignited, or from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from given import REIGNITE, TRAINER, configuration, folded, network_given, of, search

from lineage.events import (
    CandidateProposed,
    Event,
    JobAssigned,
    JobFailed,
    NetworkGiven,
    PhaseFinished,
    ReignitionProposed,
    RunFinished,
)
from orchestrator.jobs import job_of
from orchestrator.search.decide import plan
from trainers.protocol import ClassificationJob, DetectionJob, Job


def only(step: str, config: dict[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in ("general", step)} | {"pipeline": [step]}


def serial_from(given: NetworkGiven, **algorithm: Any) -> list[Event]:
    config = only("serial", configuration(last_search_result="elsewhere.csv", **algorithm))
    return search(config, given=[given])


def jobs(log: list[Event]) -> dict[str, Job]:
    state = folded(log)
    return {event.subject_id: job_of(state, event, Path()) for event in of(log, JobAssigned)}


def test_a_given_network_is_trained_here_once_and_growth_goes_on_from_it():
    log = serial_from(network_given("serial", "r_11-2_0-0", checkpoint="c" * 64, ap=0.9, base_width=8))
    first, *others = of(log, CandidateProposed)
    assert (first.candidate_id, first.code, first.parent_id, first.morphisms) == (
        "s-0001",
        "r_11-2_0-0",
        "i-0001",
        ("continue",),
    )
    assert {event.base_width for event in (first, *others)} == {8}
    assert others[0].parent_id == "s-0001"
    assert len(folded(log).candidates) == 1 + 6
    job = jobs(log)["s-0001"]
    assert isinstance(job, DetectionJob)
    assert job.parent is not None
    assert job.parent.checkpoint == "c" * 64
    assert not job.preserves  # it may be of another detector


def test_what_was_recorded_elsewhere_is_not_ranked_here():
    log = serial_from(network_given("serial", checkpoint="c" * 64, ap=0.99))
    assert of(log, PhaseFinished)[0].best_candidate_id != "i-0001"


def test_a_given_code_without_weights_is_trained_from_scratch_with_its_own_blocks():
    given = network_given("serial", "b_111-2_0-0")
    first = of(serial_from(given), CandidateProposed)[0]
    assert (first.parent_id, first.inherit, first.code, first.block_ids) == (
        None,
        "nothing",
        given.code,
        given.block_ids,
    )


def test_a_parallel_step_branches_from_a_given_network():
    config = only("parallel", configuration())
    config["parallel"]["search_algorithm"]["last_search_result"] = "elsewhere.csv"
    log = search(config, given=[network_given("parallel", checkpoint="c" * 64)])
    first, *others = of(log, CandidateProposed)
    assert first.parent_id == "i-0001"
    assert {event.parent_id for event in others} == {"p-0001"}
    assert len(others) == 2


def reignited(step: str, config: dict[str, Any]) -> dict[str, Any]:
    config["serial"]["search_algorithm"]["reignite"] = REIGNITE | {"n_stuck": 99}
    section = config[step]
    key = "trainer" if step == "fullytrain" else "search_algorithm"
    section[key] = {**section[key], "regnition": True}
    return config


def test_regnition_true_trains_the_first_backbone_on_classification_before_anything_grows():
    config = only("serial", reignited("serial", configuration()))
    log = search(config, given=[network_given("serial", source="search_space.start")])
    (lit,) = of(log, ReignitionProposed)
    assert (lit.candidate_id, lit.trigger) == ("i-0001", "start")
    first = of(log, CandidateProposed)[0]
    assert (first.parent_id, first.reignition_id, first.morphisms, first.ignition) == (
        "i-0001",
        "r-0001",
        ("reignite",),
        1,
    )
    made = jobs(log)
    assert isinstance(made["r-0001"], ClassificationJob)
    assert made["r-0001"].network.checkpoint is None
    job = made["s-0001"]
    assert isinstance(job, DetectionJob)
    assert job.backbone_checkpoint == "simulated-r-0001"
    assert all(event.ignition == 1 for event in of(log, CandidateProposed))


def test_a_reignited_start_leaves_the_reignitions_of_stalls_to_come():
    config = only("serial", reignited("serial", configuration(max_sample=20)))
    config["serial"]["search_algorithm"]["reignite"] = REIGNITE
    log = search(config, given=[network_given("serial")], aps={f"s-{n:04d}": 0.3 for n in range(30)})
    assert [event.trigger for event in of(log, ReignitionProposed)] == ["start", "stall"]
    assert of(log, PhaseFinished)[0].reason.startswith("growth stalled again after 1 reignition;")


def test_a_parallel_step_may_begin_with_the_serial_winner_reignited():
    log = search(reignited("parallel", configuration()))
    winner = of(log, PhaseFinished)[0].best_candidate_id
    (lit,) = of(log, ReignitionProposed)
    assert lit.candidate_id == winner
    first, *others = [event for event in of(log, CandidateProposed) if event.phase == "parallel"]
    assert (first.parent_id, first.morphisms) == (winner, ("reignite",))
    assert {event.parent_id for event in others} == {first.candidate_id}


def test_a_reignition_that_makes_the_start_worse_does_not_become_the_result():
    aps = {f"p-{number:04d}": 0.001 for number in range(1, 9)}
    serial, parallel, _ = of(search(reignited("parallel", configuration()), aps=aps), PhaseFinished)
    assert parallel.best_candidate_id == serial.best_candidate_id


def test_a_parallel_step_ends_once_every_combination_was_tried():
    config = configuration()
    config["parallel"]["search_algorithm"]["max_sample"] = 100
    config["parallel"]["search_space"] = {**config["parallel"]["search_space"], "max_branches": 1}
    log = search(config)
    codes = {event.code for event in of(log, CandidateProposed) if event.phase == "parallel"}
    start = folded(log).candidates[of(log, PhaseFinished)[0].best_candidate_id or ""].blueprint.genotype
    assert len(codes) == 2 ** len(start.stages) - 1
    assert of(log, PhaseFinished)[1].reason.startswith("the space is exhausted")


def test_a_network_given_to_a_later_step_may_be_found_by_an_earlier_one():
    config = configuration(serial_settings={"expand_ratio": 0, "addstage_ratio": 0}, max_sample=5)
    config["serial"]["search_space"] = {**config["serial"]["search_space"], "start": "b_12-1_0-0"}
    config["parallel"]["search_algorithm"]["last_search_result"] = "elsewhere.csv"
    log = search(config, given=[network_given("parallel", code="b_1-21_0-0", phase="parallel")])
    assert [event.code for event in of(log, CandidateProposed) if event.phase == "serial"] == [
        "b_12-1_0-0",
        "b_1-21_0-0",
    ]


def test_when_the_first_reignition_fails_the_step_begins_without_it():
    config = only("serial", reignited("serial", configuration()))
    log = search(config, given=[network_given("serial", checkpoint="c" * 64)], until=0)
    state_log = [
        *log,
        JobFailed(job_id="j-r-0001", attempt=1, fault="data", message="no images"),
    ]
    (first,) = of(plan(folded(state_log)), CandidateProposed)
    assert (first.parent_id, first.morphisms, first.reignition_id) == ("i-0001", ("continue",), None)


def fully_trained(
    given: list[NetworkGiven] | None = None, **trainer: Any
) -> tuple[CandidateProposed, Job, list[Event]]:
    config = configuration()
    config["fullytrain"]["trainer"] = {**TRAINER, "epoch": 3, **trainer}
    config["serial"]["search_algorithm"]["reignite"] = REIGNITE | {"n_stuck": 99}
    log = search(config, given=given or [])
    (event,) = [event for event in of(log, CandidateProposed) if event.phase == "fullytrain"]
    assert of(log, RunFinished)[0].outcome == "completed"
    return event, jobs(log)[event.candidate_id], log


def test_full_training_goes_on_from_the_winners_weights():
    event, job, _ = fully_trained()
    assert (event.morphisms, event.inherit) == (("full_train",), "detector")
    assert isinstance(job, DetectionJob)
    assert job.parent is not None
    assert job.preserves


@pytest.mark.parametrize("trainer", [{"weights": "reignited"}, {"regnition": True}])
def test_full_training_goes_on_from_the_winners_reignited_backbone(trainer: dict[str, Any]):
    event, job, _ = fully_trained(**trainer)
    assert event.morphisms == ("reignite", "full_train")
    assert isinstance(job, DetectionJob)
    assert job.backbone_checkpoint == "simulated-r-0001"
    assert not job.preserves


def test_full_training_of_the_winners_code_from_scratch():
    event, job, log = fully_trained(weights="scratch")
    winner = of(log, PhaseFinished)[1].best_candidate_id
    assert event.code == folded(log).candidates[winner or ""].blueprint.genotype.code
    assert event.parent_id is None
    assert isinstance(job, DetectionJob)
    assert job.parent is None


def test_full_training_of_a_code_is_from_scratch():
    event, _, _ = fully_trained(model_desc="r_11-2-2-2_0-0-0-0")
    assert (event.code, event.parent_id) == ("r_11-2-2-2_0-0-0-0", None)


def test_full_training_of_a_code_after_classification():
    given = network_given("fullytrain", "r_11-2-2-2_0-0-0-0")
    event, job, _ = fully_trained([given], model_desc="r_11-2-2-2_0-0-0-0", weights="reignited")
    assert (event.parent_id, event.morphisms) == ("i-0001", ("reignite", "full_train"))
    assert isinstance(job, DetectionJob)
    assert job.parent is not None
    assert (job.parent.checkpoint, job.backbone_checkpoint) == (None, "simulated-r-0001")


def test_full_training_of_a_network_from_another_run():
    given = network_given("fullytrain", "r_11-2-2-2_0-0-0-0", checkpoint="c" * 64)
    event, _, _ = fully_trained([given], model_desc_file="runs/other")
    assert (event.parent_id, event.morphisms) == ("i-0001", ("full_train",))


def test_an_audit_of_an_audit_gives_its_own_networks_other_names():
    given = [network_given("audit", candidate_id=f"a-{number:04d}", checkpoint="c" * 64) for number in (2, 7)]
    given[1] = given[1].model_copy(update={"parent_id": "a-0002", "morphisms": ("swap(0|1 -1)",)})
    config = {
        "pipeline": ["audit"],
        "audit": {"audit": {"run": "runs/other", "candidates": ["a-0007"]}, "trainer": TRAINER},
    }
    log = search(config, given=given)
    assert [event.candidate_id for event in of(log, CandidateProposed)] == ["a-0008", "a-0009"]
    assert of(log, RunFinished)[0].outcome == "completed"


def test_an_audit_trains_each_candidate_again_from_scratch_and_from_the_backbone_alone():
    child = network_given(
        "audit", candidate_id="s-0002", parent_id="s-0001", morphisms=("swap(0|1 -1)",), seed=77, ap=0.2
    )
    parent = network_given("audit", candidate_id="s-0001", checkpoint="c" * 64)
    config = {
        "pipeline": ["audit"],
        "audit": {"audit": {"run": "runs/other", "candidates": ["s-0002"]}, "trainer": TRAINER},
    }
    log = search(config, given=[parent, child])
    scratch, backbone = of(log, CandidateProposed)
    assert (scratch.audited_id, scratch.parent_id, scratch.inherit, scratch.base_width) == (
        "s-0002",
        None,
        "nothing",
        16,
    )
    assert (backbone.audited_id, backbone.parent_id, backbone.inherit) == ("s-0002", "s-0001", "backbone")
    assert scratch.block_ids == backbone.block_ids == child.block_ids
    made = jobs(log)
    assert {job.seed for job in made.values()} == {77}
    job = made[backbone.candidate_id]
    assert isinstance(job, DetectionJob)
    assert (job.inherit, job.preserves) == ("backbone", False)
    assert of(log, RunFinished)[0].outcome == "completed"
