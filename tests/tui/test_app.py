"""What a user sees on the search screen, and what the keys do, on the real app in a terminal of 80 by 24."""

import asyncio

import pytest
from textual.app import App, ComposeResult

from lineage.events import RunFinished, RunPaused, RunResumed, RunStopped, StopRequested, WorkerBlocked
from tui.source import Contact, DeviceUse, SourceError
from tui.widgets.plot import AGAIN_S, Plot

SIZE = (80, 24)


async def test_a_running_search_shows_phases_devices_leaders_and_events(made_up):
    source = made_up.StandIn(made_up.running_run())
    async with made_up.app_of(source).run_test(size=(160, 30)) as pilot:
        shown = await made_up.expect(
            pilot,
            "▶ running for 3m30s, about 1m27s left",
            "last event 3s ago",
            "▶ serial",
            "2/6 trained, 1 abandoned",
            "○ fullytrain",
            "best AP 0.104 s-0002",
            "r-0001 of s-0002 done, accuracy 0.930",
            "cpu:0  idle",
            "epoch 1/4  loss 0.500  AP 0.112  13s",
            "1  s-0002  0.104    713k   133M  b_111-1-21-21_0-0-0-0  s-0001  swap(0|1 +1)",
            "2  s-0001  0.021",
            "3m00s r-0001 accuracy 0.930, 20s",
        )
    assert "SIMULATED" not in shown


@pytest.mark.parametrize("patience_s", [0.3, 60.0])
async def test_while_the_past_is_read_pictures_are_seldom_and_once_it_is_there_is_one_at_once(
    made_up, monkeypatch, patience_s
):
    monkeypatch.setattr("tui.app.CATCH_UP_S", patience_s)
    source = made_up.StandIn(made_up.running_run(), Contact("connecting"))
    async with made_up.app_of(source).run_test(size=(160, 30)) as pilot:
        if patience_s < 1:
            await made_up.expect(pilot, "best AP 0.104 s-0002", "connecting")
        else:
            await pilot.pause(1)
            assert "s-0002" not in made_up.screen_text(pilot.app)
        source.say(Contact("live"))
        await made_up.expect(pilot, "best AP 0.104 s-0002", "last event 3s ago")


class OnePlot(App[None]):
    def compose(self) -> ComposeResult:
        yield Plot()


@pytest.mark.parametrize("left_s", [0.05, 1e-9])
async def test_what_comes_while_a_plot_rests_is_drawn_once_it_has(monkeypatch, left_s):
    monkeypatch.setattr("tui.widgets.plot.monotonic", lambda: 1000.0)
    async with OnePlot().run_test() as pilot, asyncio.timeout(10):
        await pilot.pause(0.3)  # until it has its size
        plot, drawn = pilot.app.query_one(Plot), []
        plot._drawn_at = 1000.0 - AGAIN_S + left_s
        plot.draw(drawn.append)
        assert not drawn
        while not drawn:
            await pilot.pause(0.01)
        assert drawn[0] is plot.canvas


async def test_repeats_controls_and_ruled_out_networks_are_shown(made_up):
    async with made_up.app_of(made_up.StandIn(made_up.repeated_run())).run_test(size=(120, 30)) as pilot:
        await made_up.expect(
            pilot,
            "2/4 trained, 1 ruled out, 1 control  running",
            "best AP 0.150 s-0001   4 proposed, 3 trained, 0 abandoned, 1 ruled out",
            "epoch 1/4  seed 2/2  loss 0.500  AP 0.112",
            "1  s-0001  0.150",
            "s-0003 ruled out: latency 23.1 ms, more than 20 ms",
            "s-0004 (1 of 2) AP 0.300, 10s",
        )


async def test_limits_with_what_they_refused_and_the_queue_are_shown(made_up):
    limits = {"flops": 4_200_000_000, "latency": 20.5}
    config = {
        "pipeline": ["serial"],
        "serial": {"search_algorithm": {"max_sample": 4}, "search_space": {"limits": limits}},
    }
    refusing = made_up.proposed("s-0002", "s-0001", refused={"flops": 3, "duplicate": 1})
    source = made_up.StandIn([made_up.run_started(**config), made_up.proposed("s-0001"), refusing])
    async with made_up.app_of(source).run_test(size=(120, 30)) as pilot:
        await made_up.expect(
            pilot, "serial limits: flops 4.2G, latency 20.5 ms; refused 3 flops, 1 duplicate", "queue 2: s-0001 s-0002"
        )


async def test_what_devices_do_is_shown_beside_their_jobs(made_up):
    uses = (DeviceUse("cpu:0", 0.03, 2_000_000), DeviceUse("cpu:1", 0.97, 3_200_000_000, 80_000_000_000))
    waits = WorkerBlocked(device="cpu:1", reason="the disk is full")
    source = made_up.StandIn([*made_up.running_run(), waits], Contact("live"), uses)
    async with made_up.app_of(source).run_test(size=(140, 30)) as pilot:
        await made_up.expect(pilot, "cpu:0    3% 2M", "cpu:1   97% 3.2G/80G", "waits: the disk is full")


async def test_events_that_come_later_come_on_the_screen(made_up):
    events = made_up.whole_run()
    source = made_up.StandIn(events[:10])
    async with made_up.app_of(source, 10).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "1  s-0001")
        source.tell(*events[10:])
        banner = "✓ finished (end of the pipeline), best f-0001 AP 0.412; q quits"
        await made_up.expect(pilot, banner, "1  f-0001  0.412")


async def test_a_simulated_run_says_so_all_the_time(made_up):
    events = made_up.whole_run(simulated=True)
    source = made_up.StandIn(events[:-1])
    async with made_up.app_of(source, len(events)).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "SIMULATED")
        source.tell(events[-1])
        await made_up.expect(pilot, "SIMULATED", "✓ simulated run finished")


async def test_a_lost_run_says_how_to_go_on_and_its_jobs_do_not_age(made_up):
    source = made_up.StandIn(made_up.running_run(), Contact("over"))
    async with made_up.app_of(source).run_test(size=SIZE) as pilot:
        shown = await made_up.expect(
            pilot,
            "✗ lost, its process is gone without a word: go on with spnas-orch resume",
            "runs/digits",
            "■ serial",
            "AP 0.112  10s",
        )
    assert "▶" not in shown


@pytest.mark.parametrize(
    ("event", "banner"),
    [
        (RunPaused(by="ann"), "‖ paused by ann: what trains goes on to its end; p goes on"),
        (StopRequested(by="ann"), "■ stopping by ann: trainings finish their epoch"),
        (RunStopped(reason="interrupted"), "■ interrupted: go on with spnas-orch resume runs/digits"),
        (RunFinished(outcome="failed", reason="no device left"), "✗ failed (no device left), best s-0002 AP 0.104"),
    ],
)
async def test_every_way_to_stand_still_looks_different(made_up, event, banner):
    async with made_up.app_of(made_up.StandIn([*made_up.running_run(), event])).run_test(size=(100, 30)) as pilot:
        await made_up.expect(pilot, banner)


async def test_a_run_that_cannot_be_heard_is_stale_until_it_can(made_up):
    source = made_up.StandIn(made_up.running_run(), Contact("away", "the broker is gone"))
    async with made_up.app_of(source).run_test(size=(120, 30)) as pilot:
        await made_up.expect(pilot, "STALE: the broker is gone", "▶ running")
        source.say(Contact("live"))
        assert "STALE" not in await made_up.expect(pilot, "last event 3s ago")


async def test_what_matters_stays_on_a_narrow_screen_whatever_the_run_is_called(made_up):
    events = made_up.running_run(simulated=True)
    events[0] = events[0].model_copy(update={"run_id": "a-run-of-the-digits-with-a-rather-long-name-2026-11-26-seed-1"})
    source = made_up.StandIn(events, Contact("away", "the broker on example.org is gone (it was stopped)"))
    async with made_up.app_of(source).run_test(size=(80, 24)) as pilot:
        shown = await made_up.expect(pilot, "STALE")
        assert " SIMULATED  ▶ running for 3m30s" in shown
        source.tell(RunPaused(by="me"))
        await made_up.expect(pilot, "‖ paused after", "STALE")


async def test_a_run_that_is_resumed_is_shown_on(made_up):
    source = made_up.StandIn([*made_up.running_run(), RunStopped(reason="interrupted")], Contact("over"))
    async with made_up.app_of(source).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "■ interrupted")
        source.say(Contact("live"))
        source.tell(RunResumed())
        await made_up.expect(pilot, "▶ running", "run digits resumed")
        await pilot.pause()
        assert "go on with" not in made_up.screen_text(pilot.app)


async def test_a_run_of_which_nothing_is_known_ends_the_app_with_the_reason(made_up):
    class Nowhere(made_up.StandIn):
        async def news(self):
            raise SourceError("there is no run digits on broker:1883")
            yield

    app = made_up.app_of(Nowhere())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
    assert str(app.failure) == "there is no run digits on broker:1883"


async def test_arrows_move_in_the_leaderboard_under_its_headings(made_up):
    events = [made_up.run_started()]
    for number in range(1, 31):
        events += [
            made_up.proposed(f"s-{number:04}"),
            made_up.assigned(f"j-{number}", f"s-{number:04}"),
            made_up.finished(f"j-{number}", 0.9 - number / 100),
        ]
    async with made_up.app_of(made_up.StandIn(events), len(events)).run_test(size=SIZE) as pilot:
        assert "30  s-0030" not in await made_up.expect(pilot, " 1  s-0001")
        await made_up.expect(pilot, "30  s-0030", "Params", pressing="end")
        await made_up.expect(pilot, "Phase", "serial\n", pressing="right")


async def test_the_newest_event_stays_in_view_when_the_banner_takes_a_line(made_up):
    events = made_up.whole_run()
    source = made_up.StandIn(events[:-1])
    async with made_up.app_of(source, len(events)).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "fullytrain phase finished: 1 model trained")
        source.tell(events[-1])
        await made_up.expect(pilot, "✓ finished", "run digits finished: end of the pipeline")


async def test_long_event_lines_are_wrapped_for_the_width_there_is(made_up):
    async with made_up.app_of(made_up.StandIn(made_up.running_run())).run_test(size=(80, 30)) as pilot:
        await made_up.expect(pilot, "by more than 0.005\n        (best 0.104), n_stuck 2; r-0001 reignites s-0002")
        await pilot.resize_terminal(160, 50)
        await made_up.expect(pilot, "by more than 0.005 (best 0.104), n_stuck 2; r-0001 reignites s-0002")
