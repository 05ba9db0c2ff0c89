"""Weights that are gone are made again before what needs them; what goes by itself is what nothing needs."""

from __future__ import annotations

from typing import Any

import pytest
from given import REIGNITE, configuration, decisions, folded, network_given, of, search
from searching import DEVICES, Search

from lineage.events import (
    CheckpointDeleted,
    Event,
    JobAssigned,
    JobFailed,
    JobFinished,
    RunResumed,
    RunStopped,
    WorkerStarted,
)
from orchestrator.search.decide import plan
from orchestrator.search.evolve import evolve
from orchestrator.search.proposal import is_control
from orchestrator.search.state import SearchState
from orchestrator.search.weights import needs, pareto_front


def lost(search: Search, subject: str, checkpoint: str) -> JobFailed:
    assigned = search.running(subject)
    message = f"checkpoint {checkpoint} is damaged"
    return JobFailed(
        job_id=assigned.job_id, attempt=assigned.attempt, fault="checkpoint", message=message, checkpoint=checkpoint
    )


def done(search: Search, subject: str, checkpoint: str, ap: float = 0.1) -> JobFinished:
    assigned = search.running(subject)
    return JobFinished(job_id=assigned.job_id, attempt=assigned.attempt, checkpoint=checkpoint, ap=ap)


def assignments(events: list[Event]) -> list[tuple[str, int]]:
    return [(event.subject_id, event.attempt) for event in of(events, JobAssigned)]


def grown() -> Search:
    """s-0001 is trained (checkpoint c), and s-0002, its child, trains."""
    return Search(("d:0",))


def test_what_made_lost_weights_makes_them_again_before_what_needs_them():
    search = grown()
    assert assignments(search.report(lost(search, "s-0002", "c"))) == [("s-0001", 2)]
    assert assignments(search.report(done(search, "s-0001", "c", ap=0.9))) == [("s-0002", 2)]
    assert folded(search.log).candidates["s-0001"].ap == 0.1  # what others were decided from


def test_weights_that_come_out_otherwise_take_the_place_of_the_lost_ones():
    search = grown()
    search.report(lost(search, "s-0002", "c"))
    assert assignments(search.report(done(search, "s-0001", "other"))) == [("s-0002", 2)]
    state = folded(search.log)
    assert state.candidates["s-0001"].checkpoint == "other"
    assert needs(state, "s-0002") == {"other"}
    assert state.candidates["s-0001"].measurements[1].ap == 0.1


def test_weights_are_made_again_from_the_same_seed():
    search = grown()
    first = search.running("s-0001")
    search.report(lost(search, "s-0002", "c"))
    again = search.running("s-0001")
    assert (again.job_id, again.repeat, again.batch_parts) == (first.job_id, first.repeat, first.batch_parts)


def test_generations_that_are_lost_are_made_again_from_the_eldest_on():
    search = grown()
    for number in range(2, 6):
        subject = f"s-{number:04d}"
        search.report(done(search, subject, f"c{number}", ap=number / 10))
    state = folded(search.log)
    child = next(one for one in state.open_subjects if state.candidates[one].parent_id != "s-0001")
    parent = state.candidates[child].parent_id
    grandparent = state.candidates[parent].parent_id
    assert assignments(search.report(lost(search, child, state.candidates[parent].checkpoint))) == [(parent, 2)]
    theirs = state.candidates[grandparent].checkpoint
    assert assignments(search.report(lost(search, parent, theirs))) == [(grandparent, 2)]
    assert assignments(search.report(done(search, grandparent, theirs))) == [(parent, 3)]
    assert assignments(search.report(done(search, parent, state.candidates[parent].checkpoint))) == [(child, 2)]


def test_who_needs_other_weights_does_not_wait():
    search = Search(DEVICES)
    search.report(done(search, "s-0002", "c2", ap=0.9))
    state = folded(search.log)
    waiting = next(one for one in state.open_subjects if needs(state, one) == {"c2"})
    others = [one for one in state.open_subjects if needs(state, one) != {"c2"}]
    search.report(lost(search, waiting, "c2"))
    state = folded(search.log)
    assert others
    assert all(state.jobs[f"j-{one}"].status == "running" for one in others)
    assert state.jobs["j-s-0002"].status == "running"


def test_weights_that_are_lost_again_and_again_stop_the_run():
    search = grown()
    for _ in range(2):
        search.report(lost(search, "s-0002", "c"))
        search.report(done(search, "s-0001", "c"))
    (stopped,) = of(search.report(lost(search, "s-0002", "c")), RunStopped)
    assert stopped.reason == "checkpoint c is damaged"


def test_lost_weights_that_were_given_stop_the_run():
    given = network_given("serial", checkpoint="g", ap=0.3)
    log = search(configuration(last_search_result="elsewhere.csv"), given=[given], until=0)
    (assigned,) = [one for one in of(log, JobAssigned) if one.subject_id == "s-0001"]
    failed = JobFailed(job_id=assigned.job_id, attempt=1, fault="checkpoint", message="it is gone", checkpoint="g")
    (stopped,) = of(plan(folded([*log, failed])), RunStopped)
    assert stopped.reason == (
        "it is gone; it was given to this run and can't be made again here: see that its source is there, and "
        "resume the run"
    )


def test_weights_that_can_not_be_made_again_stop_the_run_and_a_resumption_looks_for_them():
    search = grown()
    search.report(lost(search, "s-0002", "c"))
    while not (stopped := of(search.fail("s-0001", "crash"), RunStopped)):
        assert len(search.log) < 50
    assert stopped[0].reason == "the weights of s-0001 are gone and can't be made again: crash: crash happened"
    assert assignments(search.report(RunResumed(), WorkerStarted(device="d:0", name=""))) == [("s-0002", 2)]


SEARCHES: dict[str, dict[str, Any]] = {
    "plain": {"max_sample": 14},
    "with reignitions": {"max_sample": 14, "reignite": REIGNITE},
    "with controls": {"max_sample": 10, "paired": True},
    "with repeats": {"max_sample": 8, "seeds_per_candidate": 2},
}


def bounded(serial: dict[str, Any], **general: Any) -> list[Event]:
    config = configuration(**serial)
    return search(config | {"general": config["general"] | general}, slots=3)


def check_each_deletion(log: list[Event]) -> SearchState:
    """Follow a log: nothing goes that is trained from, may be handed on, or is on the front; the last state."""
    state = SearchState()
    for event in log:
        if isinstance(event, CheckpointDeleted):
            owners = [one for one in state.candidates.values() if one.checkpoint == event.checkpoint]
            assert event.checkpoint not in {sha for one in state.open_subjects for sha in needs(state, one)}
            assert not {one.candidate_id for one in owners} & {one.candidate_id for one in pareto_front(state)}
            assert all(one.phase != "fullytrain" for one in owners)
            assert event.checkpoint not in state.deleted
        state = evolve(state, event)
    return state


@pytest.mark.parametrize("serial", SEARCHES.values(), ids=SEARCHES)
@pytest.mark.parametrize("general", [{"keep_checkpoints": 0}, {"keep_checkpoints": 4}, {"disk_quota": "12MB"}], ids=str)
def test_what_nothing_needs_goes_and_the_search_decides_as_ever(serial: dict[str, Any], general: dict[str, Any]):
    log = bounded(serial, **general)
    state = check_each_deletion(log)
    assert of(log, CheckpointDeleted)
    assert decisions(log) == decisions(bounded(serial))
    assert {attempt for _, attempt in assignments(log)} == {1}  # nothing had to be made again
    assert state.status == "completed"


@pytest.mark.parametrize("keep", [0, 1, 5])
def test_beside_what_is_needed_so_many_of_the_best_are_kept(keep: int):
    log = bounded({"max_sample": 14}, keep_checkpoints=keep)
    state = folded(log)
    results = [one for one in state.candidates.values() if one.is_result and not is_control(state, one.candidate_id)]
    best = sorted(results, key=lambda one: -one.ap)[:keep]
    held = [one for one in results if one.checkpoint not in state.deleted]
    assert all(one in held for one in best)
    assert len(held) < len(results)


def test_a_disk_quota_is_kept_to_as_far_as_what_is_needed_allows():
    bytes_held, most = 0, 0
    size = {}
    for event in bounded({"max_sample": 14}, disk_quota="45MB"):
        if isinstance(event, JobFinished):
            size[event.checkpoint] = event.checkpoint_bytes or 0
            bytes_held += event.checkpoint_bytes or 0
        if isinstance(event, CheckpointDeleted):
            bytes_held -= size[event.checkpoint]
        if isinstance(event, JobAssigned):  # whatever had to go went before the next training
            most = max(most, bytes_held)
    assert 0 < most <= 45e6 < sum(size.values())


def test_deleted_weights_are_made_again_where_they_are_needed_after_all():
    search = grown()
    search.log.append(CheckpointDeleted(checkpoint="c", subject_id="s-0001"))
    search.log += [RunResumed(), WorkerStarted(device="d:0", name="")]
    assert assignments(search.decide()) == [("s-0001", 2)]
    assert assignments(search.report(done(search, "s-0001", "c"))) == [("s-0002", 2)]
