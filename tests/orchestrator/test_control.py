"""What people ask of a live run: given what happened, when somebody asks, then the event that answers, and what follows."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from given import configuration as three_steps
from given import decisions, folded, of, resumed, search
from searching import Search

from lineage.events import (
    CandidateAbandoned,
    Event,
    JobAssigned,
    JobCancelled,
    JobFinished,
    ReignitionProposed,
    RequestRefused,
    RunContinued,
    RunFinished,
    RunPaused,
    RunStopped,
    SettingChanged,
    StopRequested,
    WorkerStarted,
)
from orchestrator.search.control import (
    REQUEST,
    Cancel,
    Continue,
    Pause,
    Reignite,
    Request,
    Set,
    Stop,
    answered,
    changed,
)
from orchestrator.search.faults import MAX_ABANDONED


def ask(search: Search, request: Request) -> tuple[Event, list[Event]]:
    """The answer, and what was decided after it."""
    answer = answered(folded(search.log), request, "ann")
    return answer, search.report(answer)


def refusal(search: Search, request: Request) -> str:
    answer, _ = ask(search, request)
    assert isinstance(answer, RequestRefused)
    assert answer.by == "ann"
    return answer.reason


def test_a_pause_lets_trainings_end_and_begins_none_until_it_is_over():
    search = Search(trained=2)
    assert ask(search, Pause()) == (RunPaused(by="ann"), [])
    assert refusal(search, Pause()) == "it is paused already"
    while running := [device for device, job in folded(search.log).devices.items() if job]:
        job = folded(search.log).devices[running[0]]
        followed = search.report(JobFinished(job_id=job, attempt=1, checkpoint="c", ap=0.1))
        assert of(followed, JobAssigned) == []
    answer, followed = ask(search, Continue())
    assert answer == RunContinued(by="ann")
    assert len(of(followed, JobAssigned)) == 3
    assert refusal(search, Continue()) == "it is not paused"


def test_a_pause_changes_no_decision():
    log = search(three_steps(), until=4)
    paused = [*log, RunPaused(by="ann"), RunContinued(by="ann")]
    assert decisions(resumed(paused)) == decisions(resumed(log))


def test_a_resumption_ends_a_pause():
    log = [*search(three_steps(), until=4), RunPaused(by="ann")]
    assert of(resumed(log), RunFinished)[-1].outcome == "completed"


def test_a_cancelled_training_is_given_up_and_its_device_waits_for_another_worker():
    search = Search()
    job = search.running("s-0002")
    answer, followed = ask(search, Cancel(job="s-0002"))
    assert answer == JobCancelled(job_id=job.job_id, attempt=1, by="ann")
    assert of(followed, CandidateAbandoned) == [
        CandidateAbandoned(candidate_id="s-0002", fault="cancelled", message="cancelled by ann")
    ]
    assert job.device not in folded(search.log).devices
    assert {event.device for event in of(followed, JobAssigned)} <= set(folded(search.log).devices)
    search.report(WorkerStarted(device=job.device, name=""))
    assert folded(search.log).devices[job.device] is not None


def test_a_report_of_a_cancelled_training_changes_nothing():
    search = Search()
    ask(search, Cancel(job="j-s-0002"))
    before = folded(search.log)
    search.report(JobFinished(job_id="j-s-0002", attempt=1, checkpoint="late", ap=0.9))
    assert folded(search.log).candidates == before.candidates


def test_many_cancellations_do_not_stop_the_run():
    search = Search()
    for _ in range(MAX_ABANDONED + 2):
        running = [job for job in folded(search.log).jobs.values() if job.status == "running"]
        device = running[0].device
        ask(search, Cancel(job=running[0].job_id))
        search.report(WorkerStarted(device=device, name=""))
    assert of(search.log, RunStopped) == []


def test_only_what_runs_and_is_not_indispensable_can_be_cancelled():
    assert "nothing goes on without s-0001" in refusal(Search(trained=0), Cancel(job="s-0001"))
    assert "running: j-s-0002" in refusal(Search(), Cancel(job="s-0001"))


def test_a_stop_is_asked_for_as_by_a_signal():
    search = Search()
    assert ask(search, Stop()) == (StopRequested(by="ann"), [])
    assert folded(search.log).status == "stopping"
    assert refusal(search, Pause()) == "the run is stopping"


def test_nothing_can_be_asked_of_a_run_that_is_over():
    state = folded(search(three_steps()))
    for request in (Pause(), Stop(), Reignite(), Set(key="general.keep_checkpoints", value=3)):
        answer = answered(state, request, "ann")
        assert isinstance(answer, RequestRefused)
        assert answer.reason == "the run is over"


def test_a_reignition_is_asked_for_or_refused_with_the_reason():
    reignite = {"n_stuck": 20, "data": "d"}
    state = folded(search(three_steps(reignite=reignite), until=2))
    assert answered(state, Reignite(), "ann").kind == "ReignitionRequested"
    assert "no reignite section" in refusal(Search(), Reignite())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("general.keep_checkpoints", 3),
        ("general.disk_quota", "2GB"),
        ("serial.search_algorithm.max_sample", 40),
        ("serial.search_algorithm.serial_settings.expend_ratio", 0.5),
        ("parallel.search_algorithm.max_sample", 9),
        ("fullytrain.trainer.epoch", 24),
    ],
)
def test_a_setting_changes_from_now_on(key: str, value: object):
    search = Search()
    answer, _ = ask(search, Set(key=key, value=value))
    assert isinstance(answer, SettingChanged), answer
    config = folded(search.log).config
    assert config is not None
    assert config.value_of(answer.key) == answer.value
    assert answer.before != answer.value
    assert "already" in refusal(search, Set(key=key, value=value))


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("serial.search_algorithm.max_sample", "many", "serial.search_algorithm.max_sample: .*integer.*many"),
        ("serial.search_algorithm.max_sample", 0, "greater than or equal to 1"),
        ("serial.search_algorithm.max_samples", 9, "unknown key .*did you mean 'serial.search_algorithm.max_sample'"),
        ("serial.search_algorithm.serial_settings.expand_ratio", 0.99, "must not exceed 1"),
        ("serial.trainer.epoch", 9, "serial has begun"),
        ("general.seed", 9, "general.seed is fixed once the run has begun; what can change: general.keep_checkpoints"),
        ("pipeline", ["serial"], "pipeline is fixed"),
        ("parallel.trainer.config_template_file", "x.py", "is fixed"),
        ("general.bus.url", "mqtt://x", "general.bus.url is fixed"),
        ("serial.search_space.limits.flops", 1e9, "serial.search_space.limits.flops is fixed"),
        ("a.b", 1, "unknown key"),
        (".", 1, "unknown key"),
    ],
)
def test_a_setting_is_checked_like_the_configuration(key: str, value: object, reason: str):
    search = Search()
    before = folded(search.log)
    assert re.search(reason, refusal(search, Set(key=key, value=value)))
    assert folded(search.log).config == before.config


def test_a_step_that_is_over_keeps_its_settings():
    log = search(three_steps(), until=8)
    state = folded(log)
    assert state.current_step == "parallel"
    assert changed(state, "serial.search_algorithm.max_sample", 30, "ann") == "step serial is over"


def test_more_networks_can_be_asked_for_and_fewer():
    log = search(three_steps(), until=2)
    for most in (5, 9):
        change = changed(folded(log), "serial.search_algorithm.max_sample", most, "ann")
        assert isinstance(change, SettingChanged)
        ended = folded(resumed([*log, change]))
        assert len([one for one in ended.candidates if one.startswith("s-")]) == most


def test_a_run_that_goes_its_own_way_may_have_another_seed():
    log = search(three_steps(), until=4)
    change = changed(folded(log), "general.seed", 99, "ann", anew=True)
    assert isinstance(change, SettingChanged)
    other = resumed([*log, change])
    assert folded(other).seed == 99
    assert decisions(other) != decisions(resumed(log))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"request": "explode"},
        {"request": "cancel"},
        {"request": "pause", "more": 1},
        {"request": "cancel", "job": 7},
        {"request": "cancel", "job": "j-s-0001\x1b[31m"},
        {"request": "set", "key": "x" * 999, "value": 1},
        {"request": "set", "key": "general.disk_quota", "value": math.inf},
        {"request": "set", "key": "general.disk_quota", "value": {"a": [math.nan]}},
        {"request": "set", "key": "general.disk_quota", "value": b"1"},
        {"request": "set", "key": "general.disk_quota", "value": "\ud800"},
        [],
        None,
    ],
)
def test_what_is_no_request_is_refused(said: Any):
    with pytest.raises(ValueError, match="validation error"):
        REQUEST.validate_python(said)


def test_what_can_change_names_only_what_is_there():
    found = refusal(Search(), Set(key="general.seed", value=9))
    assert "serial.search_algorithm.max_sample" in found
    assert "parallel.search_algorithm.max_sample" in found
    assert "reignite" not in found  # no step has such a section
    assert "fullytrain.search_algorithm" not in found


def test_a_request_is_told_as_it_is_typed():
    answer, _ = ask(Search(), Set(key="general.seed", value=None))
    assert isinstance(answer, RequestRefused)
    assert answer.request == "set general.seed=null"


def test_growth_that_is_stalled_by_a_new_patience_reignites():
    search = Search(trained=8, reignite={"n_stuck": 15, "data": "d", "max_reignitions": 1})
    answer, _ = ask(search, Set(key="serial.search_algorithm.reignite.n_stuck", value=3))
    assert isinstance(answer, SettingChanged)
    for job in [one for one in folded(search.log).jobs.values() if one.status == "running"]:
        search.report(JobFinished(job_id=job.job_id, attempt=1, checkpoint="c", ap=0.1))
    assert [event.n_stuck for event in of(search.log, ReignitionProposed)] == [3]
