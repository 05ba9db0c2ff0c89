"""What a user sees, on the real app in a terminal of 80 by 24."""

import asyncio
from datetime import timedelta
from functools import partialmethod

import pytest

from lineage.errors import StoreNotFound
from lineage.events import RunFinished
from lineage.store import EventStore
from tui.app import SpnasApp, run_live, watch
from tui.feed import STORE_NAME, QueueFeed, follow_run

SIZE = (80, 24)


@pytest.fixture
def published(made_up):
    def publish(events, closed=False):
        feed = QueueFeed()
        for event in made_up.recorded(events):
            feed.publish(event)
        if closed:
            feed.close()
        return feed

    return publish


def app_of(made_up, feed, last_seq):
    return SpnasApp(feed, "runs/digits", clock=lambda: made_up.at(last_seq) + timedelta(seconds=3))


async def test_a_running_search_shows_phases_devices_leaders_and_events(made_up, published):
    events = made_up.running_run()
    async with app_of(made_up, published(events), len(events)).run_test(size=SIZE) as pilot:
        shown = await made_up.expect(
            pilot,
            "▶ running for 3m30s",
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


async def test_repeats_controls_and_ruled_out_networks_are_shown(made_up, published):
    events = made_up.repeated_run()
    async with app_of(made_up, published(events), len(events)).run_test(size=(120, 24)) as pilot:
        await made_up.expect(
            pilot,
            "2/4 trained, 1 ruled out, 1 control  running",
            "best AP 0.150 s-0001   4 proposed, 3 trained, 0 abandoned, 1 ruled out",
            "epoch 1/4  seed 2/2  loss 0.500  AP 0.112",
            "1  s-0001  0.150",
            "s-0003 ruled out: latency 23.1 ms, more than 20 ms",
            "s-0004 (1 of 2) AP 0.300, 10s",
        )


async def test_events_that_come_later_come_on_the_screen(made_up, published):
    events = made_up.whole_run()
    feed = published(events[:10])
    async with app_of(made_up, feed, 10).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "1  s-0001")
        for event in made_up.recorded(events[10:], first_seq=11):
            feed.publish(event)
        banner = "✓ finished (end of the pipeline), best f-0001 AP 0.412; q quits"
        await made_up.expect(pilot, banner, "1  f-0001  0.412")


async def test_a_simulated_run_says_so_all_the_time(made_up, published):
    events = made_up.whole_run(simulated=True)
    feed = published(events[:-1])
    async with app_of(made_up, feed, len(events)).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "SIMULATED")
        feed.publish(made_up.recorded(events)[-1])
        await made_up.expect(pilot, "SIMULATED", "✓ simulated run finished")


async def test_a_crashed_run_says_how_to_resume_it(made_up, published):
    events = made_up.running_run()
    async with app_of(made_up, published(events, closed=True), len(events)).run_test(size=SIZE) as pilot:
        shown = await made_up.expect(
            pilot,
            "■ interrupted: resume with spnas-orch resume runs/digits",
            "■ serial",
            "AP 0.112  10s",  # a job of a dead run does not go on ageing
        )
    assert "▶" not in shown


async def test_a_failed_run_gives_the_reason(made_up, published):
    events = [*made_up.running_run(), RunFinished(outcome="failed", reason="no device left")]
    async with app_of(made_up, published(events), len(events)).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "✗ failed (no device left), best s-0002 AP 0.104")


async def test_quitting_ends_the_view_alone(made_up, published):
    events = made_up.whole_run()
    feed = published(events[:10])
    async with app_of(made_up, feed, 10).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "1  s-0001")
        await pilot.press("q")
        await pilot.pause()
        assert not pilot.app.is_running
    for event in made_up.recorded(events[10:], first_seq=11):
        feed.publish(event)
    assert feed.view.status == "finished"
    async with app_of(made_up, feed, len(events)).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "✓ finished")


async def test_d_and_l_choose_dark_and_light(made_up, published):
    async with app_of(made_up, published(made_up.running_run()), 22).run_test(size=SIZE) as pilot:
        await pilot.press("l")
        assert not pilot.app.current_theme.dark
        await pilot.press("d")
        assert pilot.app.current_theme.dark


async def test_arrows_scroll_the_leaderboard_under_its_headings(made_up, published):
    events = [made_up.run_started()]
    for number in range(1, 31):
        events += [
            made_up.proposed(f"s-{number:04}"),
            made_up.assigned(f"j-{number}", f"s-{number:04}"),
            made_up.finished(f"j-{number}", 0.9 - number / 100),
        ]
    async with app_of(made_up, published(events), len(events)).run_test(size=SIZE) as pilot:
        assert "30  s-0030" not in await made_up.expect(pilot, " 1  s-0001")
        await made_up.expect(pilot, "30  s-0030", "Params", pressing="end")
        await made_up.expect(pilot, "Phase", "serial\n", pressing="right")


async def test_the_newest_event_stays_in_view_when_the_banner_takes_a_line(made_up, published):
    events = made_up.whole_run()
    feed = published(events[:-1])
    async with app_of(made_up, feed, len(events)).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "fullytrain phase finished: 1 model trained")
        feed.publish(made_up.recorded(events)[-1])
        await made_up.expect(pilot, "✓ finished", "run digits finished: end of the pipeline")
        await pilot.press("tab")
        await made_up.expect(pilot, "p-0001 AP 0.250", pressing="up")


async def test_long_event_lines_are_wrapped_for_the_width_there_is(made_up, published):
    async with app_of(made_up, published(made_up.running_run()), 22).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "by more than 0.005\n        (best 0.104), n_stuck 2; r-0001 reignites s-0002")
        await pilot.resize_terminal(160, 50)
        await made_up.expect(pilot, "by more than 0.005 (best 0.104), n_stuck 2; r-0001 reignites s-0002")


async def test_run_live_shows_the_feed_until_the_user_quits(made_up, published, monkeypatch):
    shown = []

    async def quit_soon(pilot):
        shown.append(await made_up.expect(pilot, "2/6 trained"))
        await pilot.press("q")

    headless = partialmethod(SpnasApp.run_async, headless=True, size=SIZE, auto_pilot=quit_soon)
    monkeypatch.setattr(SpnasApp, "run_async", headless)
    await run_live(published(made_up.running_run()), "runs/digits")
    assert "digits" in shown[0]


async def test_a_cancelled_view_ends_as_a_cancelled_task(made_up, published, monkeypatch):
    monkeypatch.setattr(SpnasApp, "run_async", partialmethod(SpnasApp.run_async, headless=True, size=SIZE))
    task = asyncio.create_task(run_live(published(made_up.running_run()), "runs/digits"))
    await asyncio.sleep(0.3)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_run_folder_can_be_looked_at(made_up, tmp_path):
    with EventStore.create(tmp_path / STORE_NAME) as store:
        store.append(made_up.whole_run(), made_up.at(1))
    async with SpnasApp(follow_run(tmp_path, lambda: False), "digits").run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "✓ finished (end of the pipeline)")


def test_watching_a_folder_without_a_run_is_an_error_not_a_screen(tmp_path, monkeypatch):
    monkeypatch.setattr(SpnasApp, "run", partialmethod(SpnasApp.run, headless=True))
    with pytest.raises(StoreNotFound):
        watch(tmp_path, lambda: False)
