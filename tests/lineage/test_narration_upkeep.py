"""What keeps a run going, and what people ask of it, line by line."""

from telling import SEED, STARTED, assigned, finished, told

from lineage.events import (
    CheckpointDeleted,
    JobCancelled,
    RecordingDelayed,
    RequestRefused,
    RunContinued,
    RunForked,
    RunPaused,
    RunResumed,
    SettingChanged,
    StopRequested,
    WorkerBlocked,
    WorkerUnblocked,
)


def test_what_keeps_a_run_going_and_what_ends_it():
    lines = told(
        STARTED,
        SEED,
        assigned("j-1", "s-0001"),
        WorkerBlocked(device="cpu:0", reason="writing a checkpoint: No space left on device"),
        WorkerUnblocked(device="cpu:0"),
        RecordingDelayed(reason="1 event can't be stored: No space left on device", seconds=93.2),
        StopRequested(by="somebody (SIGINT)"),
        CheckpointDeleted(checkpoint="ab" * 32, subject_id="s-0001"),
        finished("j-1", ap=0.1),
        StopRequested(by="somebody"),
    )
    assert lines[3:] == [
        "cpu:0 waits for room on the disk: writing a checkpoint: No space left on device",
        "cpu:0 found room on the disk and goes on",
        "nothing could be recorded for 1m33s: 1 event can't be stored: No space left on device",
        "stop requested by somebody (SIGINT): 1 training finishes the epoch first; asked once more, it stops at once",
        None,
        "s-0001 AP 0.100 (best): b_11-21_0-0, 1m00s",
        "stop requested by somebody; asked once more, it stops at once",
    ]


def test_a_fork_says_where_it_comes_from_before_it_goes_on():
    lines = told(STARTED, RunForked(source="/runs/other", at_seq=1, by="ann"), RunResumed())
    run = lines[0].partition(" started")[0]
    assert lines[1:] == [f"{run} forked from /runs/other at event 1 by ann", f"{run} resumed"]


def test_requests_are_told_with_who_asked():
    lines = told(
        STARTED,
        SEED,
        assigned("j-1", "s-0001"),
        RunPaused(by="ann"),
        RunContinued(by="ann"),
        SettingChanged(key="serial.search_algorithm.max_sample", value=9, before=6, by="ann"),
        RequestRefused(request="cancel j-9", reason="no training of that name runs", by="bob"),
        JobCancelled(job_id="j-1", attempt=1, by="ann"),
        finished("j-1", ap=0.9),
    )
    assert lines[3:] == [
        "paused by ann: no training begins",
        "continued by ann",
        "serial.search_algorithm.max_sample set to 9 by ann, before 6",
        "cancel j-9 refused, asked by bob: no training of that name runs",
        "j-1 cancelled by ann",
        None,
    ]


def test_a_training_for_lost_weights_is_told_as_one():
    lines = told(
        STARTED,
        SEED,
        assigned("j-1", "s-0001"),
        finished("j-1", ap=0.1),
        assigned("j-1", "s-0001", attempt=2),
        finished("j-1", attempt=2, ap=0.1),
    )
    assert lines[-2:] == [
        "s-0001 fast training on cpu:0, attempt 2: its weights are gone",
        "s-0001 has its weights again, 10s",
    ]
