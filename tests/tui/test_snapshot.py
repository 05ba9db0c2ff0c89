"""The look of the screen: a picture that changes only when someone means to change it."""

from datetime import timedelta

from tui.app import SpnasApp
from tui.feed import QueueFeed


def test_the_search_screen_at_80_by_24(snap_compare, made_up, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    feed, events = QueueFeed(), made_up.recorded(made_up.running_run(simulated=True))
    for event in events:
        feed.publish(event)
    app = SpnasApp(feed, "digits", clock=lambda: events[-1].ts + timedelta(seconds=3))

    async def wait(pilot):
        await made_up.expect(
            pilot, "SIMULATED", "○ fullytrain", "AP 0.112  10s", "2  s-0001", "r-0001 accuracy 0.930, 20s"
        )
        await pilot.pause()

    assert snap_compare(app, terminal_size=(80, 24), run_before=wait)
