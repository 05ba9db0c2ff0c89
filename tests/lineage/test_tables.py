"""Given events, when appended, then rows: what users may rely on to find in the tables."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from histories import (
    INTERRUPTIONS,
    NOON,
    REQUESTS,
    assigned,
    epoch,
    failed,
    finished,
    given_network,
    histories,
    inherited,
    proposed,
    reignition,
    run_started,
    tables,
    trainings,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import events as ev
from lineage.store import EventStore


def row(store: EventStore, table: str, key: str) -> dict[str, Any]:
    """The row whose first column is `key`."""
    result = store.query(f"FROM {table}")
    (found,) = [values for values in result.rows if values[0] == key]
    return dict(zip(result.columns, found, strict=True))


def some(store: EventStore, table: str, key: str, *columns: str) -> tuple[Any, ...]:
    values = row(store, table, key)
    return tuple(values[column] for column in columns)


def minutes(number: int) -> timedelta:
    return timedelta(minutes=number)


def at(number: int) -> Any:
    """What the tables hold for NOON and some minutes: UTC without a zone."""
    return (NOON + minutes(number)).replace(tzinfo=None)


def test_a_candidate_from_proposal_to_result(store: EventStore) -> None:
    store.append([run_started(), proposed("s-1", "s-0", code="b_111-21_0-0")], NOON)
    assert some(store, "candidates", "s-1", "arch", "status", "params", "ap") == (
        "b_111-21_0-0",
        "proposed",
        1000,
        None,
    )
    store.append([assigned("j-1", "s-1")], NOON + minutes(1))
    assert some(store, "candidates", "s-1", "status", "proposed_at", "started_at") == ("running", at(0), at(1))
    measured = {"ap": 0.123456, "ap50": 0.3, "params": 1234, "peak_memory_bytes": 2**40, "latency_ms": 2.5}
    store.append([finished("j-1", **measured)], NOON + minutes(5))
    assert some(store, "candidates", "s-1", "status", "finished_at", "checkpoint") == ("trained", at(5), "c" * 64)
    assert some(store, "candidates", "s-1", *measured, "flops") == (*measured.values(), 5000)
    assert some(store, "jobs", "j-1", "candidate_id", "kind", "status", "device", "attempt", "finished_at") == (
        ("s-1", "fast_train", "finished", "cpu:0", 1, at(5))
    )


def test_an_edge_says_what_was_promised_and_what_was_measured(store: EventStore) -> None:
    swapped = proposed("s-2", "s-0", morphisms=("swap(0|1 +1)", "expand(0@1 +1)"))
    store.append([proposed("s-0"), proposed("s-1", "s-0"), swapped, assigned("j-1", "s-1")], NOON)
    assert store.query("SELECT child_id, parent_id, morphisms, preserves_function, residual FROM inheritance").rows == [
        ("s-1", "s-0", ["expand(0@1 +1)"], True, None),
        ("s-2", "s-0", ["swap(0|1 +1)", "expand(0@1 +1)"], False, None),
    ]
    store.append([inherited("j-1", "s-1", "s-0")], NOON)
    counts = ("tensors_copied", "tensors_adapted", "tensors_new", "tensors_dropped", "residual")
    assert some(store, "inheritance", "s-1", *counts) == (90, 3, 7, 1, 1e-6)


def test_an_edge_says_what_was_inherited_and_which_new_tensors_cannot_learn(store: EventStore) -> None:
    store.append([proposed("s-0"), proposed("s-1", "s-0", inherit="backbone"), assigned("j-1", "s-1")], NOON)
    assert some(store, "inheritance", "s-1", "inherit", "dead_tensors") == ("backbone", None)
    for dead in (("backbone.a", "neck.b"), ()):
        store.append([inherited("j-1", "s-1", "s-0", dead_tensors=dead)], NOON)
        assert some(store, "inheritance", "s-1", "dead_tensors") == (list(dead),)
    assert store.query("SELECT candidate_id, inherit FROM candidates ORDER BY 1").rows == [
        ("s-0", "nothing"),
        ("s-1", "backbone"),
    ]


def test_every_parent_that_could_have_been_drawn_is_kept(store: EventStore) -> None:
    store.append(
        [proposed("s-2", "s-1", parent_probabilities={"s-0": 0.25, "s-1": 0.75}), proposed("s-3", "s-1")], NOON
    )
    assert store.query("FROM parent_draws ORDER BY parent_id").rows == [("s-2", "s-0", 0.25), ("s-2", "s-1", 0.75)]
    assert store.query("SELECT child_id, probability FROM inheritance ORDER BY 1").rows == [
        ("s-2", 0.75),
        ("s-3", None),
    ]


def test_draws_that_were_refused_are_counted_by_step_and_reason(store: EventStore) -> None:
    store.append([ev.PhaseStarted(step="serial", phase="serial")], NOON)
    store.append(
        [proposed("s-1", refused={"duplicate": 2}), proposed("s-2", refused={"duplicate": 1, "flops": 4})], NOON
    )
    store.append([proposed("p-1", step="parallel", refused={"duplicate": 1})], NOON)
    end = ev.PhaseFinished(step="serial", phase="serial", reason="exhausted", refused={"duplicate": 1000})
    store.append([end], NOON)
    assert store.query("FROM refusals ORDER BY ALL").rows == [
        ("parallel", "duplicate", 1),
        ("serial", "duplicate", 1003),
        ("serial", "flops", 4),
    ]
    assert store.query("SELECT refused FROM candidates ORDER BY candidate_id").rows == [(1,), (2,), (5,)]


def test_a_given_network_is_a_candidate_that_nobody_trained_here(store: EventStore) -> None:
    weights = {"ap": 0.4, "checkpoint": "d" * 64, "ignition": 1}
    store.append([given_network("i-0001", **weights), proposed("s-1", "i-0001", morphisms=("continue",))], NOON)
    assert some(store, "candidates", "i-0001", "status", "source", *weights) == (
        ("given", "resnet50.pth", *weights.values())
    )
    assert store.query("SELECT child_id, parent_id FROM inheritance").rows == [("s-1", "i-0001")]
    assert store.query("FROM leaderboard").rows == []
    store.append([given_network("s-7", "s-3", morphisms=("swap(0|1 +1)",))], NOON)
    assert some(store, "inheritance", "s-7", "parent_id", "morphisms", "preserves_function") == (
        ("s-3", ["swap(0|1 +1)"], False)
    )


def test_a_candidate_of_several_seeds_is_trained_once_all_its_trainings_are_over(store: EventStore) -> None:
    store.append([proposed("s-1", seeds=3), assigned("j-1", "s-1"), assigned("j-3", "s-1", repeat=3)], NOON)
    store.append([finished("j-1", ap=0.1, latency_ms=1.0, peak_memory_bytes=30, checkpoint="a")], NOON + minutes(1))
    assert some(store, "candidates", "s-1", "status", "running", "ap", "checkpoint") == ("running", 1, None, None)
    store.append([finished("j-3", ap=0.3, latency_ms=3.0, peak_memory_bytes=10, checkpoint="c")], NOON + minutes(2))
    assert some(store, "candidates", "s-1", "status") == ("proposed",)
    store.append([assigned("j-2", "s-1", repeat=2)], NOON + minutes(3))
    assert some(store, "candidates", "s-1", "status", "started_at") == ("running", at(3))
    store.append([finished("j-2", ap=0.3, latency_ms=3.5, peak_memory_bytes=20, checkpoint="b")], NOON + minutes(4))
    result = ("status", "ap", "latency_ms", "peak_memory_bytes", "checkpoint", "started_at", "finished_at")
    assert some(store, "candidates", "s-1", *result) == ("trained", 0.233333, 2.5, 30, "b", at(0), at(4))
    assert store.query("SELECT repeat, job_id, ap, finished_at FROM measurements ORDER BY repeat").rows == [
        (1, "j-1", 0.1, at(1)),
        (2, "j-2", 0.3, at(4)),
        (3, "j-3", 0.3, at(2)),
    ]
    assert store.query("SELECT job_id, repeat FROM jobs ORDER BY ALL").rows == [("j-1", 1), ("j-2", 2), ("j-3", 3)]


def test_a_mean_of_which_a_part_is_unknown_is_unknown(store: EventStore) -> None:
    store.append([run_started(), *trainings("s-1", aps=(0.5, None)), *trainings("s-2", aps=(0.1, 0.1))], NOON)
    assert some(store, "candidates", "s-1", "status", "ap") == ("trained", None)
    assert store.query("SELECT candidate_id FROM leaderboard").rows == [("s-2",), ("s-1",)]
    assert store.query("SELECT candidate_id FROM pareto_front").rows == [("s-2",)]


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(1, 5)))
def test_the_order_in_which_trainings_end_changes_no_result(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    with EventStore.create(tmp_path_factory.mktemp("run") / "lineage.duckdb") as store:
        store.append([proposed("s-1", seeds=4), *(assigned(f"j-{one}", "s-1", repeat=one) for one in order)], NOON)
        for one in order:
            store.append([finished(f"j-{one}", ap=one // 2 / 10, checkpoint=f"c{one}")], NOON)
        assert some(store, "candidates", "s-1", "status", "ap", "checkpoint") == ("trained", 0.1, "c4")


def test_a_candidate_runs_while_one_of_its_trainings_does(store: EventStore) -> None:
    def progress() -> tuple[Any, ...]:
        return some(store, "candidates", "s-0", "status", "running")

    store.append([proposed("s-0", seeds=2), assigned("j-1", "s-0"), assigned("j-2", "s-0", repeat=2)], NOON)
    assert progress() == ("running", 2)
    store.append([assigned("j-2", "s-0", 2, repeat=2), failed("j-2"), failed("j-1")], NOON)
    assert progress() == ("running", 1)
    store.append([failed("j-2", 2)], NOON)
    assert progress() == ("proposed", 0)
    store.append([assigned("j-1", "s-0", 2), assigned("j-2", "s-0", 3, repeat=2), ev.RunStopped(reason="x")], NOON)
    assert progress() == ("proposed", 0)


def test_an_abandoned_candidate_stays_so_whatever_is_reported_of_its_other_trainings(store: EventStore) -> None:
    jobs = [assigned(f"j-{number}", "s-0", repeat=number) for number in (1, 2)]
    store.append([proposed("s-0", seeds=2), *jobs, failed("j-1")], NOON)
    assert some(store, "candidates", "s-0", "status") == ("running",)
    store.append([ev.CandidateAbandoned(candidate_id="s-0", fault="broken_promise", message="no")], NOON)
    for late in (finished("j-2"), assigned("j-1", "s-0", 2), finished("j-1", 2), ev.RunStopped(reason="x")):
        store.append([late], NOON)
        assert some(store, "candidates", "s-0", "status", "fault") == ("abandoned", "broken_promise")
    assert store.query("SELECT count(*) FROM measurements").rows == [(2,)]


def test_a_candidate_that_breaks_a_limit_is_ruled_out_with_the_numbers(store: EventStore) -> None:
    store.append([run_started(), *trainings("s-0", ap=0.1), *trainings("s-1", ap=0.9, flops=1)], NOON)
    ruled_out = ev.CandidateRuledOut(candidate_id="s-1", limit="memory", measured=9_663_676_416, allowed=8e9)
    store.append([ruled_out], NOON)
    assert some(store, "candidates", "s-1", "status", "ruled_out") == ("trained", "memory 9663676416 > 8000000000")
    for view in ("leaderboard", "pareto_front"):
        assert store.query(f"SELECT candidate_id FROM {view}").rows == [("s-0",)]


def test_a_failed_attempt_puts_its_candidate_back_and_the_next_one_counts(store: EventStore) -> None:
    store.append(
        [proposed("s-0"), assigned("j-1", "s-0"), epoch("j-1", 1, loss=9.0), epoch("j-1", 2), failed("j-1")], NOON
    )
    assert some(store, "jobs", "j-1", "status", "fault") == ("failed", "crash")
    assert some(store, "candidates", "s-0", "status") == ("proposed",)
    store.append([assigned("j-1", "s-0", 2, device="cpu:1"), epoch("j-1", 1, attempt=2, loss=8.0)], NOON + minutes(1))
    assert some(store, "jobs", "j-1", "status", "fault", "finished_at", "device", "attempt") == (
        ("running", None, None, "cpu:1", 2)
    )
    assert store.query("SELECT epoch, attempt, loss FROM epochs ORDER BY epoch").rows == [(1, 2, 8.0), (2, 1, 0.5)]


LATE: list[ev.Event] = [finished("j-1"), failed("j-1"), epoch("j-1"), inherited("j-1", "s-1", "s-0")]


@pytest.mark.parametrize("late", LATE, ids=lambda event: event.kind)
def test_a_report_of_a_lost_attempt_changes_no_row(store: EventStore, late: ev.Event) -> None:
    store.append([proposed("s-0"), proposed("s-1", "s-0"), assigned("j-1", "s-1"), assigned("j-1", "s-1", 2)], NOON)
    before = tables(store)
    store.append([late], NOON + minutes(1))
    assert tables(store) == before


@pytest.mark.parametrize("outcome", [finished("j-1"), failed("j-1")], ids=lambda event: event.kind)
def test_an_attempt_has_one_outcome(store: EventStore, outcome: ev.Event) -> None:
    store.append([proposed("s-1", "s-0"), assigned("j-1", "s-1"), outcome], NOON)
    before = tables(store)
    store.append(LATE, NOON + minutes(1))
    assert tables(store) == before


def test_weights_that_are_made_again_are_those_of_the_candidate_and_its_result_stays(store: EventStore) -> None:
    store.append([run_started(), proposed("s-1"), assigned("j-1", "s-1"), finished("j-1", checkpoint="a" * 64)], NOON)
    again = [assigned("j-1", "s-1", attempt=2), finished("j-1", attempt=2, checkpoint="b" * 64, ap=0.9)]
    store.append(again, NOON)
    assert store.query("SELECT status, running, ap, checkpoint FROM candidates").rows == [
        ("trained", 0, 0.25, "b" * 64)
    ]
    assert store.query("SELECT ap, checkpoint, deleted_at FROM measurements").rows == [(0.25, "b" * 64, None)]


def test_a_fork_with_another_seed_says_so(store: EventStore) -> None:
    store.append([run_started(seed=1), ev.SettingChanged(key="general.seed", value=7, before=1, by="ann")], NOON)
    assert store.query("SELECT seed FROM run").rows == [(7,)]


def test_events_about_something_unknown_change_no_row(store: EventStore) -> None:
    before = tables(store)
    store.append([*LATE, *INTERRUPTIONS], NOON)
    assert tables(store) | {"requests": []} == before


def test_every_request_is_a_row_with_who_asked_and_why_it_was_refused(store: EventStore) -> None:
    store.append(REQUESTS, NOON)
    assert store.query("SELECT request, who, refused FROM requests ORDER BY seq").rows == [
        ("stop", "somebody", None),
        ("reignite", "somebody", None),
        ("pause", "somebody", None),
        ("continue", "somebody", None),
        ("cancel j-1", "somebody", None),
        ("set serial.search_algorithm.max_sample=9", "somebody", None),
        ("cancel j-9", "somebody", "no training of that name runs"),
    ]


def test_a_run_is_paused_until_it_is_continued_or_resumed(store: EventStore) -> None:
    def status() -> str:
        ((found,),) = store.query("SELECT status FROM run").rows
        return found

    store.append([run_started(), ev.RunPaused(by="ann")], NOON)
    assert status() == "paused"
    store.append([ev.RunContinued(by="ann")], NOON)
    assert status() == "running"
    store.append([ev.RunPaused(by="ann"), ev.RunResumed()], NOON)
    assert status() == "running"


def test_a_cancelled_job_has_failed_and_its_candidate_waits(store: EventStore) -> None:
    store.append([proposed("s-1", "s-0"), assigned("j-1", "s-1")], NOON)
    store.append([ev.JobCancelled(job_id="j-1", attempt=1, by="ann"), finished("j-1")], NOON)
    assert some(store, "jobs", "j-1", "status", "fault", "message") == ("failed", "cancelled", "cancelled by ann")
    assert some(store, "candidates", "s-1", "status", "running") == ("proposed", 0)


def test_abandoned_candidates_keep_the_reason_and_are_never_ranked(store: EventStore) -> None:
    store.append([proposed("s-0"), assigned("j-1", "s-0"), failed("j-1")], NOON)
    store.append([ev.CandidateAbandoned(candidate_id="s-0", fault="bug", message="why")], NOON)
    assert some(store, "candidates", "s-0", "status", "fault", "message") == ("abandoned", "bug", "why")
    assert store.query("FROM leaderboard").rows == []


@pytest.mark.parametrize("interruption", [ev.RunStopped(reason="interrupted"), ev.RunResumed()], ids=lambda e: e.kind)
def test_an_interrupted_run_has_nothing_running(store: EventStore, interruption: ev.Event) -> None:
    store.append([run_started(), proposed("s-0"), assigned("j-1", "s-0"), reignition("i-1", "s-0")], NOON)
    store.append([assigned("j-2", "i-1", job_kind="reignite"), interruption], NOON)
    assert store.query("SELECT DISTINCT status FROM jobs").rows == [("interrupted",)]
    assert some(store, "candidates", "s-0", "status") == ("proposed",)
    assert some(store, "reignitions", "i-1", "status") == ("proposed",)


def test_the_run_and_its_phases(store: EventStore) -> None:
    store.append([run_started(run_id="tiny", seed=7), ev.PhaseStarted(step="nas1", phase="serial")], NOON)
    assert some(store, "run", "tiny", "seed", "simulated", "status", "started_at") == (7, True, "running", at(0))
    store.append([ev.RunStopped(reason="interrupted")], NOON + minutes(1))
    assert some(store, "run", "tiny", "status", "reason", "finished_at") == ("stopped", "interrupted", at(1))
    store.append([ev.RunResumed()], NOON + minutes(2))
    assert some(store, "run", "tiny", "status", "reason", "finished_at") == ("running", None, None)
    store.append([ev.PhaseFinished(step="nas1", phase="serial", reason="max_sample", best_candidate_id="s-3")], NOON)
    assert some(store, "phases", "nas1", "phase", "status", "reason", "best_candidate_id") == (
        ("serial", "finished", "max_sample", "s-3")
    )
    store.append([ev.RunFinished(outcome="completed", reason="done", best_candidate_id="f-1")], NOON + minutes(9))
    assert some(store, "run", "tiny", "status", "best_candidate_id", "finished_at") == ("completed", "f-1", at(9))


def test_a_reignition_from_stall_to_checkpoint(store: EventStore) -> None:
    store.append([proposed("s-0"), assigned("j-0", "s-0"), finished("j-0"), reignition("i-1", "s-0")], NOON)
    assert some(store, "reignitions", "i-1", "candidate_id", "status", "n_stuck", "best_ap") == (
        "s-0",
        "proposed",
        3,
        0.25,
    )
    store.append([assigned("j-1", "i-1", job_kind="reignite")], NOON)
    assert some(store, "jobs", "j-1", "candidate_id", "reignition_id", "kind") == ("s-0", "i-1", "reignite")
    store.append([finished("j-1", checkpoint="d" * 64, ap=None, accuracy=0.75)], NOON + minutes(3))
    assert some(store, "reignitions", "i-1", "status", "accuracy", "checkpoint", "finished_at") == (
        ("finished", 0.75, "d" * 64, at(3))
    )
    assert some(store, "candidates", "s-0", "status", "ap", "checkpoint") == ("trained", 0.25, "c" * 64)


@settings(max_examples=25, deadline=None)
@given(histories(), st.data())
def test_tables_rebuilt_from_the_log_equal_the_tables_kept(
    tmp_path_factory: pytest.TempPathFactory, history: list[ev.Event], data: st.DataObject
) -> None:
    path = Path(tmp_path_factory.mktemp("run")) / "lineage.duckdb"
    EventStore.create(path).close()
    rest = history
    while rest:
        with EventStore.open(path) as store:
            for _ in range(data.draw(st.integers(1, 8), "appends")):
                count = data.draw(st.integers(1, 12), "events")
                store.append(rest[:count], NOON)
                rest = rest[count:]
            kept = tables(store)
            if not rest:
                store.rebuild()
                assert tables(store) == kept
                store.append([ev.RunResumed()], NOON)


def test_a_big_append_gives_the_rows_that_small_ones_give(tmp_path: Path) -> None:
    history: list[ev.Event] = [run_started()]
    for number in range(50):
        name, job = f"s-{number}", f"j-{number}"
        history += [proposed(name, f"s-{number - 1}" if number else None, flops=number), assigned(job, name)]
        history += [
            inherited(job, name, "s-0"),
            epoch(job),
            finished(job, ap=number / 7) if number % 3 else failed(job),
        ]
    found = []
    for size in (len(history), 60, 1):
        with EventStore.create(tmp_path / f"{size}.duckdb") as store:
            for start in range(0, len(history), size):
                store.append(history[start : start + size], NOON)
            found.append(tables(store))
    assert found[0] == found[1] == found[2]
