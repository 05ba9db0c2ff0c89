"""Given events, then this is what the screen has to show."""

from functools import reduce

import pytest

from lineage.events import CandidateAbandoned, Recorded, RunResumed, RunStopped, WorkerLost
from lineage.story import LEADERS
from tui.forecast import fraction
from tui.lines import LINES
from tui.view_models import SearchView, fold
from tui.widgets import curve, plot


def folded(events: list[Recorded], view: SearchView | None = None) -> SearchView:
    return reduce(fold, events, view or SearchView())


def test_a_whole_run_is_told_to_its_end(made_up):
    view = folded(made_up.recorded(made_up.whole_run()))
    assert (view.status, view.reason, view.story.run_id) == ("finished", "end of the pipeline", "digits")
    assert (view.proposed, view.trained, view.abandoned, view.failed_attempts) == (6, 5, 1, 1)
    assert (view.story.best.candidate_id, view.story.best.ap) == ("f-0001", 0.412)
    assert [phase.state for phase in view.phases] == ["done", "done", "done"]
    assert not view.devices


def test_phases_come_from_the_configuration_and_count_their_own_candidates(made_up):
    serial, parallel, full = folded(made_up.recorded(made_up.running_run())).phases
    assert (serial.step, serial.state, serial.proposed, serial.trained, serial.abandoned) == (
        "serial",
        "running",
        4,
        2,
        1,
    )
    assert (serial.total, parallel.total, full.total) == (6, 3, 1)
    assert (parallel.state, full.state) == ("waiting", "waiting")


def test_progress_counts_outcomes_and_epochs_of_jobs_in_flight(made_up):
    view = folded(made_up.recorded(made_up.running_run()))
    assert fraction(view, view.phases[0]) == (2 + 1 + 1 / 4) / 6
    assert fraction(view, view.phases[2]) == 0.0


def test_a_configuration_without_pipeline_or_limits_is_no_error(made_up):
    for config in ({}, {"pipeline": None}, {"pipeline": ["a"], "a": {"search_algorithm": None}}, {"pipeline": ["a"]}):
        view = folded(made_up.recorded([made_up.run_started(**config), made_up.proposed("s-0001", step="a")]))
        assert [(phase.step, phase.total) for phase in view.phases] == [("a", 1)]


def test_devices_show_the_job_they_are_at(made_up):
    (first, idle), (second, job) = folded(made_up.recorded(made_up.running_run())).devices
    assert (first, idle, second) == ("cpu:0", None, "cpu:1")
    assert (job.subject_id, job.kind, job.epoch, job.epochs, job.loss, job.ap) == (
        "s-0004",
        "fast_train",
        1,
        4,
        0.5,
        0.112,
    )
    assert job.started == made_up.at(21)


def test_devices_are_in_the_order_of_their_numbers(made_up):
    jobs = [made_up.assigned(f"j-{n}", "s-0001", f"cuda:{n}") for n in (10, 9, 1)]
    assert [device for device, _ in folded(made_up.recorded(jobs)).devices] == ["cuda:1", "cuda:9", "cuda:10"]


def test_a_lost_worker_and_a_resumed_run_have_no_devices_until_new_workers_start(made_up):
    events = made_up.running_run()
    lost = folded(made_up.recorded([*events, WorkerLost(device="cpu:0", message="killed")]))
    assert [device for device, _ in lost.devices] == ["cpu:1"]
    resumed = folded(made_up.recorded([*events, RunResumed()]))
    assert resumed.devices == ()
    assert resumed.status == "running"


def test_leaders_are_ranked_by_ap_then_by_flops(made_up):
    events = [made_up.run_started()]
    for number, (ap, flops) in enumerate([(0.1, 5), (0.3, 9), (0.3, 2), (None, 1)], 1):
        events += [
            made_up.proposed(f"s-{number:04}", flops=flops),
            made_up.assigned(f"j-{number}", f"s-{number:04}"),
            made_up.finished(f"j-{number}", ap),
        ]
    view = folded(made_up.recorded(events))
    assert [leader.candidate_id for leader in view.leaders] == ["s-0003", "s-0002", "s-0001"]
    assert view.trained == 4


def test_a_leader_says_where_it_comes_from(made_up):
    leader = folded(made_up.recorded(made_up.whole_run())).leaders[-2]
    assert (leader.candidate_id, leader.parent_id, leader.morphisms) == ("s-0002", "s-0001", ("swap(0|1 +1)",))
    assert (leader.code, leader.phase, leader.params) == ("b_111-1-21-21_0-0-0-0", "serial", 713_204)


def test_a_candidate_of_several_seeds_leads_with_their_mean_once_all_are_over(made_up):
    view = folded(made_up.recorded(made_up.repeated_run()))
    assert [(leader.candidate_id, leader.ap) for leader in view.leaders] == [("s-0001", 0.15)]
    done = folded(made_up.recorded([made_up.finished("j-s-0004-2", 0.4)], view.last_seq + 1), view)
    assert [(leader.candidate_id, leader.ap) for leader in done.leaders][:1] == [("s-0004", 0.35)]


def test_controls_given_and_ruled_out_networks_are_counted_apart(made_up):
    view = folded(made_up.recorded(made_up.repeated_run()))
    (phase,) = view.phases
    assert (phase.proposed, phase.trained, phase.ruled_out, phase.controls, phase.total) == (3, 2, 1, 1, 4)
    assert (view.proposed, view.trained, view.ruled_out) == (4, 3, 1)


def test_progress_counts_the_trainings_that_a_candidate_has_behind_it(made_up):
    view = folded(made_up.recorded(made_up.repeated_run()))
    assert fraction(view, view.phases[0]) == (2 + (1 + 1 / 4) / 2) / 4


def test_what_is_reported_of_an_abandoned_candidate_leads_nowhere(made_up):
    abandoned = CandidateAbandoned(candidate_id="s-0004", fault="crash", message="gone")
    view = folded(made_up.recorded([*made_up.repeated_run(), abandoned, made_up.finished("j-s-0004-2", 0.9)]))
    assert (view.trained, view.abandoned, view.phases[0].abandoned) == (3, 1, 1)
    assert view.story.best.candidate_id == "s-0001"


def test_a_reignition_has_accuracy_and_successor_and_is_no_candidate(made_up):
    view = folded(made_up.recorded(made_up.running_run()))
    (reignition,) = view.reignitions
    assert (reignition.candidate_id, reignition.state) == ("s-0002", "done")
    assert (reignition.accuracy, reignition.successor_id) == (0.93, "s-0004")
    assert "r-0001" not in [leader.candidate_id for leader in view.leaders]


def test_reports_of_an_attempt_that_was_taken_over_change_nothing_but_the_last_event(made_up):
    start = [
        made_up.run_started(),
        made_up.proposed("s-0001"),
        made_up.assigned("j-1", "s-0001"),
        made_up.failed("j-1"),
        made_up.assigned("j-1", "s-0001", "cpu:1", attempt=2),
    ]
    before = folded(made_up.recorded(start))
    stale = [made_up.epoch("j-1", 1, 2, 0.9), made_up.finished("j-1", 0.9), made_up.failed("j-1")]
    after = folded(made_up.recorded(stale, first_seq=6), before)
    assert (after.story, after.leaders, after.lines) == (before.story, before.leaders, before.lines)
    assert (after.trained, after.failed_attempts, after.last_seq) == (0, 1, 8)


def test_an_event_that_comes_twice_counts_once(made_up):
    events = made_up.recorded(made_up.running_run())
    assert folded([event for event in events for _ in range(2)]) == folded(events)


def test_a_stopped_run_is_interrupted_and_says_why(made_up):
    view = folded(made_up.recorded([*made_up.running_run(), RunStopped(reason="Ctrl+C")]))
    assert (view.status, view.reason) == ("interrupted", "Ctrl+C")


def test_a_view_stays_small_however_long_the_run(made_up):
    events = [made_up.run_started()]
    for number in range(1, 3001):
        candidate_id, job_id = f"s-{number:04}", f"j-{number:04}"
        events += [
            made_up.proposed(candidate_id),
            made_up.assigned(job_id, candidate_id),
            made_up.inherited(job_id, candidate_id, "s-0001"),
            made_up.epoch(job_id, 1, 1),
            made_up.finished(job_id, number / 4000),
        ]
    view = folded(made_up.recorded(events))
    assert (len(view.leaders), len(view.lines.kept), view.trained) == (LEADERS, LINES, 3000)
    assert not view.story.candidates
    assert not view.story.jobs
    assert view.leaders[0].candidate_id == "s-3000"


def test_the_curve_has_neither_controls_nor_what_was_fully_trained(made_up):
    numbers, aps = curve._aps(folded(made_up.recorded(made_up.repeated_run())).candidates)
    ranked = [one.ap for one in folded(made_up.recorded(made_up.repeated_run())).leaders]
    assert sorted(aps) == sorted(ranked)
    assert len(numbers) == len(aps)


@pytest.mark.parametrize(("width", "count"), [(100, 6), (24, 3), (8, 1), (0, 1)])
def test_ticks_stand_apart(width, count):
    ticks = plot._Quantities(lambda: width)
    found = ticks.get_ticks(32_500_000, 35_000_000)
    assert len(found) == count
    assert len("  ".join(ticks.get_labels_for_ticks(found))) <= max(width, 7)
