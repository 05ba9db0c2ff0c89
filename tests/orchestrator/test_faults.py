"""What becomes of trainings that fail: given how, when decided, then tried again, given up, or the run stops."""

from __future__ import annotations

import itertools

import pytest
from given import folded, of
from searching import DEVICES, Search, failed

from lineage.events import (
    CandidateAbandoned,
    Fault,
    JobAssigned,
    JobFinished,
    RunResumed,
    RunStopped,
    WorkerStarted,
)
from orchestrator.search.faults import MAX_ABANDONED


def attempts(search: Search, fault: Fault) -> list[JobAssigned]:
    """All attempts at s-0002 where each ends in `fault`."""
    while not of(search.fail("s-0002", fault), CandidateAbandoned):
        if folded(search.log).jobs["j-s-0002"].status != "running":  # it waits for a device
            other = next(job for job in folded(search.log).devices.values() if job)
            search.report(JobFinished(job_id=other, attempt=1, checkpoint="c", ap=0.1))
    return [event for event in of(search.log, JobAssigned) if event.subject_id == "s-0002"]


def test_out_of_memory_is_met_with_half_the_batch_then_with_another_device():
    first, second, third = attempts(Search(), "out_of_memory")
    assert (first.batch_parts, second.batch_parts, third.batch_parts) == (1, 2, 2)
    assert third.device not in (first.device, second.device)


def test_a_crash_after_one_lack_of_memory_may_go_to_any_device():
    search = Search(("d:0", "d:1"))
    device = search.running("s-0002").device
    for fault in ("out_of_memory", "crash"):
        search.fail("s-0002", fault)
    again = search.running("s-0002")
    assert (again.attempt, again.device, again.batch_parts) == (3, device, 2)


def test_out_of_memory_on_the_only_device_is_tried_twice():
    assert [event.batch_parts for event in attempts(Search(("d:0",)), "out_of_memory")] == [1, 2]


@pytest.mark.parametrize(
    ("fault", "tried", "pauses"),
    [
        ("crash", 3, [0, 2, 4]),
        ("hang", 2, [0, 2]),
        ("bug", 2, [0, 2]),
        ("non_finite", 2, [0, 0]),
        ("lost_device", 3, [0, 0, 0]),
        ("broken_promise", 1, [0]),
    ],
)
def test_a_training_is_tried_again_so_often_and_after_such_a_pause(fault: Fault, tried: int, pauses: list[float]):
    found = attempts(Search(), fault)
    assert len(found) == tried
    assert [event.pause_s for event in found] == pauses


def test_faults_of_several_kinds_are_bounded_too():
    search = Search()
    for fault in itertools.cycle(("lost_device", "crash", "non_finite", "hang")):
        if of(search.fail("s-0002", fault), CandidateAbandoned):
            break
    assert len([event for event in of(search.log, JobAssigned) if event.subject_id == "s-0002"]) == 4


def test_an_abandoned_candidate_is_nobodys_parent():
    search = Search()
    attempts(search, "broken_promise")
    for _ in range(6):
        for subject in folded(search.log).open_subjects:
            search.report(JobFinished(job_id=f"j-{subject}", attempt=1, checkpoint="c", ap=0.2))
    parents = {candidate.parent_id for candidate in folded(search.log).candidates.values()}
    assert "s-0002" not in parents
    assert "s-0003" in parents


@pytest.mark.parametrize("fault", ["data", "checkpoint"])
def test_what_the_user_has_to_mend_stops_the_run_and_is_tried_once_it_goes_on(fault: Fault):
    search = Search()
    assert [event.reason for event in of(search.fail("s-0002", fault), RunStopped)] == [f"{fault} happened"]
    search.report(RunResumed(), *(WorkerStarted(device=device, name="") for device in DEVICES))
    again = search.running("s-0002")
    assert (again.attempt, again.pause_s) == (2, 0)
    assert len(of(search.log, RunStopped)) == 1


def test_a_run_stops_with_one_line_of_a_long_message_and_says_where_the_others_are():
    search = Search()
    event = failed(search.running("s-0002"), "data").model_copy(update={"message": "no image 7\n  seen by a\n  by b\n"})
    (stop,) = of(search.report(event), RunStopped)
    assert stop.reason == "no image 7 (all of it: logs/j-s-0002.log)"


@pytest.mark.parametrize("fault", ["crash", "broken_promise", "out_of_memory"])
def test_a_first_network_that_can_not_be_trained_stops_the_run_and_a_resumption_tries_again(fault: Fault):
    search = Search(trained=0)
    while not (stop := of(search.fail("s-0001", fault), RunStopped)):
        assert len(search.log) < 50
    assert stop[0].reason == f"s-0001 could not be trained, and nothing goes on without it: {fault}: {fault} happened"
    search.report(RunResumed(), WorkerStarted(device="d:0", name=""))
    search.report(JobFinished(job_id="j-s-0001", attempt=search.running("s-0001").attempt, checkpoint="c", ap=0.1))
    assert folded(search.log).candidates["s-0001"].outcome == "done"


def test_where_candidate_after_candidate_fails_the_run_stops_and_says_why():
    search, stop = Search(), list[RunStopped]()
    while not stop:
        subject = folded(search.log).open_subjects[0]
        stop = of(search.fail(subject, "broken_promise"), RunStopped)
    assert len(of(search.log, CandidateAbandoned)) == MAX_ABANDONED
    assert stop[0].reason == ("the last 5 candidates could not be trained, at last s-0006: broken_promise happened")
    search.report(RunResumed(), *(WorkerStarted(device=device, name="") for device in DEVICES))
    assert folded(search.log).status == "running"


def test_one_success_in_between_and_the_count_begins_anew():
    search = Search()
    for number in range(2, 14):
        subject = f"s-{number:04d}"
        if number % 4:
            assert not of(search.fail(subject, "broken_promise"), RunStopped)
        else:
            search.report(JobFinished(job_id=f"j-{subject}", attempt=1, checkpoint="c", ap=0.1))
    assert len(of(search.log, CandidateAbandoned)) == 9
