"""Given events, when decided, then intents."""

from __future__ import annotations

import pytest
from given import REIGNITE, configuration, decisions, finish, folded, of, run_started, search
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.architecture import Genotype
from lineage.events import (
    CandidateProposed,
    Event,
    JobAssigned,
    JobFailed,
    JobFinished,
    PhaseFinished,
    PhaseStarted,
    ReignitionAbandoned,
    ReignitionProposed,
    RunFinished,
    RunResumed,
    WorkerLost,
    WorkerStarted,
)
from lineage.morphism import Blueprint, correspondence
from orchestrator.search.decide import plan
from orchestrator.search.evolve import evolve
from orchestrator.search.parallel import stage_weights
from orchestrator.search.state import Candidate, SearchState
from orchestrator.sections import SearchSpace


def done(state: SearchState) -> list[Candidate]:
    return [candidate for candidate in state.candidates.values() if candidate.outcome == "done"]


def failure(assigned: JobAssigned, fault: str) -> JobFailed:
    return JobFailed.model_validate(
        {"job_id": assigned.job_id, "attempt": assigned.attempt, "fault": fault, "message": "what happened"}
    )


def test_a_search_goes_through_all_steps_in_order_and_ends_with_the_fully_trained_best():
    log = search(configuration())
    assert [event.phase for event in of(log, PhaseStarted)] == ["serial", "parallel", "fullytrain"]
    assert [event.candidate_id for event in of(log, CandidateProposed)] == [
        *(f"s-000{number}" for number in range(1, 7)),
        *(f"p-000{number}" for number in range(1, 4)),
        "f-0001",
    ]
    assert log[-1] == RunFinished(outcome="completed", reason="all steps are done", best_candidate_id="f-0001")


def test_only_the_seed_has_no_parent_and_every_child_shares_blocks_with_its_parent():
    candidates = {event.candidate_id: event for event in of(search(configuration()), CandidateProposed)}
    assert [name for name, event in candidates.items() if event.parent_id is None] == ["s-0001"]
    for event in candidates.values():
        if event.parent_id:
            child, parent = (
                Blueprint(Genotype.parse(one.code), one.block_ids) for one in (event, candidates[event.parent_id])
            )
            assert correspondence(parent, child)
            assert event.morphisms


def test_the_full_training_takes_the_best_of_both_phases():
    log = search(configuration(), aps={"s-0004": 0.9})
    assert of(log, CandidateProposed)[-1].parent_id == "s-0004"
    assert of(log, PhaseFinished)[1].best_candidate_id == "s-0004"


def test_equal_aps_are_ranked_by_flops():
    log = search(configuration(), aps={f"s-000{number}": 0.5 for number in range(1, 7)})
    flops = {event.candidate_id: event.flops for event in of(log, CandidateProposed) if event.phase == "serial"}
    assert of(log, PhaseFinished)[0].best_candidate_id == min(flops, key=lambda name: (flops[name], name))


@given(seed=st.integers(0, 50), slots=st.integers(1, 4))
@settings(max_examples=15)
def test_which_training_ends_first_changes_no_decision(seed: int, slots: int):
    config = configuration(reignite=REIGNITE) | {"general": {"seed": seed}}
    assert decisions(search(config, slots)) == decisions(search(config, slots, last_first=True))


def test_the_same_seed_decides_the_same_and_another_seed_something_else():
    first, again = search(configuration()), search(configuration())
    assert first == again
    log = [run_started(configuration(), seed=6), WorkerStarted(device="sim:0", name="")]
    other = finish(log)
    assert decisions(other) != decisions(first)


@pytest.mark.parametrize("window", [1, 3])
def test_killed_after_any_event_and_resumed_the_search_decides_the_same(window: int):
    whole = search(configuration(reignite=REIGNITE), window=window)
    for cut in range(1, len(whole)):
        resumed = finish([*whole[:cut], RunResumed(), WorkerStarted(device="other:0", name="")])
        assert decisions(resumed) == decisions(whole), f"cut after event {cut}: {whole[cut - 1]}"
        trained = [event.job_id for event in of(resumed, JobFinished)]
        assert len(trained) == len(set(trained)), f"cut after event {cut}: trained twice"


def test_no_network_is_proposed_twice():
    codes = [
        (e.code, e.ignition)
        for e in of(search(configuration(max_sample=40)), CandidateProposed)
        if e.phase != "fullytrain"
    ]
    assert len(codes) == len(set(codes))


def test_an_exhausted_space_ends_the_phase_with_a_message():
    settings_ = {"expend_ratio": 0.0, "addstage_ratio": 0.0}
    config = configuration(max_sample=500, serial_settings=settings_)
    config["serial"]["search_space"] = {"start": "b_1-11_0-0", "base_width": 8, "image_size": [32, 32]}
    assert of(search(config), PhaseFinished)[0].reason.startswith("the space is exhausted")


def test_growth_stays_inside_the_space():
    config = configuration(max_sample=30, serial_settings={"max_stages": 5, "addstage_ratio": 0.4, "num_mutate": 4})
    config["serial"]["search_space"] = {**config["serial"]["search_space"], "max_blocks": 12}
    for event in of(search(config), CandidateProposed):
        genotype = Genotype.parse(event.code)
        assert genotype.depth <= 12
        assert len(genotype.stages) <= 5


def first_assignments(count: int) -> tuple[list[Event], list[JobAssigned]]:
    log: list[Event] = [
        run_started(configuration()),
        WorkerStarted(device="d:0", name=""),
        WorkerStarted(device="d:1", name=""),
    ]
    log += plan(folded(log))
    seed = of(log, JobAssigned)[0]
    if count > 1:
        log.append(JobFinished(job_id=seed.job_id, attempt=1, checkpoint="c", ap=0.1))
        log += plan(folded(log))
    return log, of(log, JobAssigned)


def test_an_abandoned_reignition_lets_growth_go_on_without_it():
    aps = {f"s-{number:04d}": 0.3 for number in range(1, 40)}
    whole = search(configuration(reignite=REIGNITE, max_sample=8), aps=aps, window=1)
    cut = next(i for i, e in enumerate(whole) if isinstance(e, JobAssigned) and e.job_kind == "reignite")
    log = whole[: cut + 1]
    for attempt in (1, 2, 3):
        log.append(failure(whole[cut].model_copy(update={"attempt": attempt}), "crash"))
        log += plan(folded(log))
    assert of(log, ReignitionAbandoned)
    assert isinstance(log[-2], CandidateProposed)
    assert log[-2].ignition == 0


def test_late_and_repeated_reports_change_nothing():
    log, assigned = first_assignments(2)
    state = folded(log)
    stale = JobFinished(job_id=assigned[0].job_id, attempt=1, checkpoint="other", ap=0.9)
    assert evolve(state, stale) == state
    unknown = failure(assigned[1].model_copy(update={"attempt": 7}), "crash")
    assert evolve(state, unknown) == state


def test_a_lost_worker_leaves_its_job_to_the_devices_that_are_left():
    log, assigned = first_assignments(2)
    victim = assigned[1]
    log += [failure(victim, "crash"), WorkerLost(device=victim.device, message="signal 9")]
    assert plan(folded(log)) == []
    other = next(job for job in assigned[1:] if job.device != victim.device)
    log.append(JobFinished(job_id=other.job_id, attempt=1, checkpoint="c", ap=0.2))
    again = next(event for event in plan(folded(log)) if isinstance(event, JobAssigned))
    assert (again.job_id, again.device) == (victim.job_id, other.device)


def test_a_sub_network_is_added_with_probability_inverse_to_its_flops():
    genotype = Genotype.parse("b_11-11-11_0-0-0")
    space = SearchSpace(base_width=16, image_size=(64, 64))
    weights = stage_weights(genotype, 16, space)
    assert weights[0] < weights[1] < weights[2]  # the same blocks at half the size cost a quarter
    assert weights[2] / weights[1] == pytest.approx(4, rel=0.05)


def test_a_job_that_was_sent_to_a_dying_worker_is_left_to_others():
    log, assigned = first_assignments(2)
    log.append(WorkerLost(device=assigned[1].device, message="signal 9"))
    state = folded(log)
    assert state.jobs[assigned[1].job_id].status == "interrupted"
    assert assigned[1].device not in state.devices


def test_a_failed_reignition_is_not_tried_again_before_another_stall():
    aps = {f"s-{number:04d}": 0.3 for number in range(1, 40)}
    settings_ = REIGNITE | {"max_reignitions": 2}
    whole = search(configuration(reignite=settings_, max_sample=12), aps=aps, window=1)
    cut = next(i for i, e in enumerate(whole) if isinstance(e, JobAssigned) and e.job_kind == "reignite")
    log = [*whole[: cut + 1], failure(whole[cut], "data")]
    for _ in range(2):
        intents = plan(folded(log))
        assert not of(intents, ReignitionProposed)
        log += intents
        job = of(log, JobAssigned)[-1]
        log.append(JobFinished(job_id=job.job_id, attempt=job.attempt, checkpoint="c", ap=0.3))
    assert of(plan(folded(log)), ReignitionProposed)
