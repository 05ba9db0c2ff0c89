"""The story of a run in lines: each event that matters has one, and no event of a lost attempt has any."""

import pytest
from telling import CHILD, GIVEN, KEPT, SEED, STALLED, STARTED, assigned, epoch, finished, told

from lineage.events import (
    CandidateAbandoned,
    CandidateRuledOut,
    Event,
    JobFailed,
    PhaseFinished,
    PhaseStarted,
    ReignitionAbandoned,
    ReignitionRequested,
    RunFinished,
    RunResumed,
    RunStopped,
    WorkerLost,
    WorkerStarted,
)


def test_the_run_and_its_phases():
    lines = told(
        STARTED,
        WorkerStarted(device="cpu:0", name="CPU"),
        PhaseStarted(step="s", phase="serial"),
        PhaseFinished(step="s", phase="serial", reason="all sampled", best_candidate_id="s-0001"),
        PhaseStarted(step="parallel", phase="parallel"),
        WorkerLost(device="cpu:0", message="killed by signal 9\nmore"),
        RunStopped(reason="Ctrl+C"),
        RunResumed(),
        RunFinished(outcome="completed", reason="end of the pipeline", best_candidate_id="s-0001"),
    )
    assert lines == [
        "run digits started: seed 7, 2 device slots, pipeline s > p",
        "cpu:0 ready: CPU",
        "serial phase (s) started",
        "serial phase (s) finished: all sampled; best s-0001",
        "parallel phase started",
        "cpu:0 lost its worker: killed by signal 9",
        "run digits stopped: Ctrl+C",
        "run digits resumed",
        "run digits finished: end of the pipeline; best s-0001",
    ]


def test_a_simulated_run_says_so_in_every_line_of_the_run():
    simulated = STARTED.model_copy(update={"simulated": True})
    events = simulated, RunStopped(reason="x"), RunResumed(), RunFinished(outcome="failed", reason="x")
    assert all(line.startswith("simulated run digits ") for line in told(*events))


def test_a_candidate_is_one_line_once_it_is_trained():
    lines = told(SEED, assigned("j-1", "s-0001"), epoch("j-1"), finished("j-1", ap=0.1))
    assert lines == [None, None, None, "s-0001 AP 0.100 (best): b_11-21_0-0, 20s"]


def test_a_child_says_where_it_comes_from_and_what_it_kept():
    lines = told(
        SEED,
        assigned("j-1", "s-0001"),
        finished("j-1", ap=0.1),
        CHILD,
        assigned("j-2", "s-0002"),
        KEPT,
        finished("j-2", ap=0.1),
    )
    assert lines[-1] == (
        "s-0002 AP 0.100: b_111-21_0-0 from s-0001 by expand(0@1 +1), kept 120 of 131 tensors, residual 0, 20s"
    )


def test_failures_say_what_and_where_and_a_new_attempt_is_told():
    lines = told(
        SEED,
        assigned("j-1", "s-0001"),
        JobFailed(job_id="j-1", attempt=1, fault="out_of_memory", message=f"{'x' * 500}\ntraceback"),
        assigned("j-1", "s-0001", attempt=2),
        CandidateAbandoned(candidate_id="s-0001", fault="crash", message=""),
    )
    assert lines[2] == f"s-0001 attempt 1 failed on cpu:0, out of memory: {'x' * 159}…"
    assert lines[3:] == [
        "s-0001 fast training on cpu:0, attempt 2: b_11-21_0-0",
        "s-0001 abandoned, crash: no message",
    ]


def test_reports_of_an_attempt_that_was_taken_over_are_not_told():
    start = SEED, assigned("j-1", "s-0001"), assigned("j-1", "s-0001", attempt=2)
    failed = JobFailed(job_id="j-1", attempt=1, fault="crash", message="late")
    assert told(*start, failed, finished("j-1", ap=0.9), finished("j-9", ap=0.9))[3:] == [None, None, None]
    assert told(*start, finished("j-1", ap=0.9), finished("j-1", 2, ap=0.1))[4].startswith("s-0001 AP 0.100 (best)")


def test_a_resumed_run_hears_nothing_from_the_jobs_before():
    assert told(SEED, assigned("j-1", "s-0001"), RunResumed(), finished("j-1", ap=0.9))[-1] is None


def test_a_reignition_speaks_of_accuracy_and_is_never_best():
    lines = told(
        STALLED, assigned("j-1", "r-0001", "reignite"), epoch("j-1"), finished("j-1", accuracy=0.95), SEED,
        assigned("j-2", "s-0001"), finished("j-2", ap=0.2),
    )  # fmt: skip
    assert lines[:4] == [
        "growth stalled: 3 candidates without an AP better by more than 0.005 (best 0.100), n_stuck 3; "
        "r-0001 reignites s-0001",
        "r-0001 classification training on cpu:0: the backbone of s-0001",
        "r-0001 epoch 2/3: loss 0.250, accuracy 0.900",
        "r-0001 accuracy 0.950, 20s",
    ]
    assert lines[-1].startswith("s-0001 AP 0.200 (best)")
    abandoned = ReignitionAbandoned(reignition_id="r-0001", fault="data", message="no images")
    assert told(STALLED, abandoned)[-1] == "r-0001 abandoned, data: no images; growth goes on without it"


def test_full_training_is_told_by_epoch():
    lines = told(SEED, assigned("j-1", "s-0001", "full_train"), epoch("j-1", None), finished("j-1"))
    assert lines[1:] == [
        "s-0001 full training on cpu:0: b_11-21_0-0",
        "s-0001 epoch 2/3: loss 0.250",
        "s-0001 without a result: b_11-21_0-0, 20s",
    ]


def changed(event: Event, **changes: object) -> Event:
    return event.model_copy(update=changes)


def test_a_given_network_is_told_with_its_source_and_what_is_known_of_it():
    bare = changed(GIVEN, source="search_space.start", checkpoint=None)
    recorded = changed(GIVEN, source="runs/other", ap=0.4125)
    assert told(GIVEN, bare, recorded) == [
        "i-0001 given (resnet18.pth): b_11-21_0-0",
        "i-0001 given (search_space.start): b_11-21_0-0, without weights",
        "i-0001 given (runs/other): b_11-21_0-0, AP 0.412 there",
    ]


def test_each_training_of_a_candidate_is_told_and_the_last_one_with_their_mean():
    child = changed(CHILD, seeds=3)
    jobs = [assigned(f"j-{number}", "s-0002", repeat=number) for number in (1, 2, 3)]
    failed = JobFailed(job_id="j-2", attempt=1, fault="crash", message="gone")
    lines = told(
        *(SEED, assigned("j-0", "s-0001"), finished("j-0", ap=0.2), child, *jobs),
        *(finished("j-1", ap=0.1), finished("j-3", ap=0.4), failed, assigned("j-2", "s-0002", attempt=2, repeat=2)),
        changed(KEPT, attempt=2),
        finished("j-2", 2, ap=0.2),
    )
    assert lines[7:11] == [
        "s-0002 (1 of 3) AP 0.100, 30s",
        "s-0002 (3 of 3) AP 0.400, 20s",
        "s-0002 (2 of 3) attempt 1 failed on cpu:0, crash: gone",
        "s-0002 (2 of 3) fast training on cpu:0, attempt 2: b_111-21_0-0 from s-0001 by expand(0@1 +1)",
    ]
    assert lines[12] == (
        "s-0002 (2 of 3) AP 0.200; mean AP 0.233 (best): b_111-21_0-0 from s-0001 by expand(0@1 +1), "
        "kept 120 of 131 tensors, residual 0, 20s"
    )


def test_the_other_trainings_of_an_abandoned_candidate_make_no_result():
    abandoned = CandidateAbandoned(candidate_id="s-0001", fault="broken_promise", message="residual 3 at birth")
    lines = told(changed(SEED, seeds=2), assigned("j-1", "s-0001"), abandoned, finished("j-1", ap=0.9))
    assert lines[2:] == [
        "s-0001 abandoned, broken promise: residual 3 at birth",
        "s-0001 (1 of 2) AP 0.900, 20s; nothing waits for it any more",
    ]
    end = PhaseFinished(step="s", phase="serial", reason="x", best_candidate_id="s-0001")
    assert told(changed(SEED, seeds=2), assigned("j-1", "s-0001"), abandoned, finished("j-1", ap=0.9), end)[-1] == (
        "serial phase (s) finished: x; best s-0001"
    )


def test_a_control_and_an_audit_say_what_they_are():
    control = changed(CHILD, code=SEED.code, morphisms=("continue",))
    again = changed(control, parent_id="i-0001")
    backbone = changed(CHILD, inherit="backbone", audited_id="s-0007")
    scratch = changed(SEED, inherit="nothing", audited_id="s-0007")
    for candidate, network in (
        (control, "b_11-21_0-0, a control: s-0001 trained on"),
        (again, "b_11-21_0-0 from i-0001 by continue"),
        (backbone, "b_111-21_0-0 from the backbone of s-0001 by expand(0@1 +1), audit of s-0007"),
        (scratch, "b_11-21_0-0, audit of s-0007 from scratch"),
    ):
        line = told(GIVEN, candidate, assigned("j-2", candidate.candidate_id), finished("j-2", ap=0.1))[-1]
        best = "" if candidate is control else " (best)"  # a control is no result
        assert line == f"{candidate.candidate_id} AP 0.100{best}: {network}, 10s"


def test_tensors_that_cannot_learn_are_warned_of_in_the_line_of_their_candidate():
    def line(*names: str) -> str:
        kept = changed(KEPT, dead_tensors=names)
        return told(CHILD, assigned("j-2", "s-0002"), kept, finished("j-2", ap=0.1))[-1] or ""

    assert "warning" not in line()
    assert "residual 0, warning: 1 new tensor can't learn (backbone.a), 20s" in line("backbone.a")
    assert "warning: 5 new tensors can't learn (a, b, c and 2 more)" in line("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("limit", "measured", "allowed", "text"),
    [
        ("latency", 23.14, 20, "latency 23.14 ms, more than 20 ms"),
        ("memory", 9_663_676_416, 8e9, "memory 9.6637G bytes, more than 8G bytes"),
        ("flops", 4.31e9, 4.2e9, "flops 4.31G, more than 4.2G"),
    ],
)
def test_a_candidate_that_breaks_a_limit_is_told_with_both_numbers(limit, measured, allowed, text):
    event = CandidateRuledOut(candidate_id="s-0001", limit=limit, measured=measured, allowed=allowed)
    assert told(SEED, event)[-1] == f"s-0001 ruled out: {text}"


def test_one_that_was_ruled_out_is_not_the_best_any_more():
    ruled_out = CandidateRuledOut(candidate_id="s-0001", limit="latency", measured=2, allowed=1)
    start = SEED, assigned("j-1", "s-0001"), finished("j-1", ap=0.9), CHILD, assigned("j-2", "s-0002")
    assert " (best)" not in (told(*start, finished("j-2", ap=0.1))[-1] or "")
    lines = told(*start, ruled_out, finished("j-2", ap=0.1))
    assert (lines[-2] or "").endswith("more than 1 ms; it is the best no more")
    assert " (best)" in (lines[-1] or "")


def test_a_reignition_says_what_triggered_it():
    asked, at_start = changed(STALLED, trigger="request"), changed(STALLED, trigger="start")
    assert told(ReignitionRequested(by="ana"), asked, at_start) == [
        "reignition requested by ana",
        "r-0001 reignites s-0001, as requested",
        "r-0001 reignites s-0001 before anything grows from it, as configured",
    ]


def test_a_stall_of_a_paired_search_says_by_how_much_its_controls_were_not_beaten():
    (line,) = told(changed(STALLED, gains=(0.0, -0.012, 0.004)))
    assert line == (
        "growth stalled: none of the last 3 candidates beat its control by more than 0.005 (gains +0.000, -0.012, +0.004), "
        "n_stuck 3; r-0001 reignites s-0001"
    )


def test_a_phase_ends_with_the_draws_that_were_refused_in_it():
    end = PhaseFinished(step="s", phase="serial", reason="done", refused={"duplicate": 1})
    other = changed(SEED, candidate_id="p-0001", step="p", refused={"params": 1})
    lines = told(changed(SEED, refused={"duplicate": 2, "flops": 4}), other, end, changed(end, step="p", refused={}))
    assert lines[2:] == [
        "serial phase (s) finished: done; 7 draws refused (4 flops, 3 duplicate)",
        "serial phase (p) finished: done; 1 draw refused (1 params)",
    ]
