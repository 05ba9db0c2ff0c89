"""The look of the screens: pictures that change only when someone means to change them."""

import pytest

from lineage.events import RunFinished, RunPaused, RunStopped
from lineage.store import EventStore
from tui.source import Contact, DeviceUse
from tui.widgets.plot import AGAIN_S

SIZES = {"80x24": (80, 24), "160x50": (160, 50)}
SCREENS = {
    "search": (["1"], "○ fullytrain", "2  s-0001", "97%"),
    "lineage": (["2"], "└─s-0003", "4 candidates"),
    "path": (["2", "down", "s"], "the path from the seed to s-0002"),
    "comparison": (["2", "m", "down", "m"], "21, 128 channels"),
    "pareto": (["3"], "2 on the front", "s-0001"),
    "candidate": (["4"], "s-0002 (the best so far)", "stage 1, stride 4"),
    "sql": (["5", "ctrl+j"], "2 rows in"),
    "log": (["6"], "lines", "JobFinished"),
    "question": (["p"], "Pause?", "y yes"),
    "help": (["question_mark"], "Everywhere"),
}
USES = (DeviceUse("cpu:0", 0.02, 2_100_000_000), DeviceUse("cpu:1", 0.97, 1_300_000_000))
ENDS = {
    "paused": ([RunPaused(by="ann@host")], Contact("live")),
    "stale": ([], Contact("away", "the broker is gone")),
    "lost": ([], Contact("over")),
    "interrupted": ([RunStopped(reason="interrupted")], Contact("over")),
    "failed": ([RunFinished(outcome="failed", reason="no device left")], Contact("over")),
}


@pytest.fixture(autouse=True)
def plain(monkeypatch, tmp_path):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def stored(made_up, tmp_path):
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        for one in made_up.recorded(events(made_up)):
            store.append([one.event], one.ts)
        yield store


def events(made_up):
    """Two candidates of different cost, an abandoned one, a reignition, and one in training."""
    run = made_up.running_run(simulated=True)
    return [
        one.model_copy(update={"flops": 90_000_000}) if getattr(one, "candidate_id", "") == "s-0001" else one
        for one in run
    ]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", SCREENS)
def test_screen(snap_compare, made_up, stored, screen, size):
    source = made_up.StandIn(events(made_up), Contact("live"), USES, store=stored)
    keys, *texts = SCREENS[screen]

    async def wait(pilot):
        await made_up.expect(pilot, "SIMULATED", "97%", "0.00")  # the axis of a curve that is drawn
        await pilot.pause(AGAIN_S + 0.2 if screen in ("question", "help") else 0)  # what is behind them is drawn
        for key in keys:
            await pilot.press(key)
            if key == "5":
                pilot.app.screen.clock = lambda: 0.0
        await made_up.expect(pilot, *texts)
        await pilot.pause()

    app = made_up.app_of(source)
    app.animation_level = "none"
    assert snap_compare(app, terminal_size=SIZES[size], run_before=wait)


@pytest.mark.parametrize("end", ENDS)
def test_every_way_to_stand_still(snap_compare, made_up, end):
    more, contact = ENDS[end]
    source = made_up.StandIn([*made_up.running_run(), *more], contact)

    async def wait(pilot):
        await made_up.expect(pilot, {"stale": "STALE"}.get(end, end))
        await pilot.pause()

    assert snap_compare(made_up.app_of(source), terminal_size=(80, 24), run_before=wait)


def test_the_light_theme(snap_compare, made_up):
    async def wait(pilot):
        await made_up.expect(pilot, "▶ running")
        await pilot.press("t")
        await pilot.pause()

    assert snap_compare(made_up.app_of(made_up.StandIn(made_up.running_run())), terminal_size=(80, 24), run_before=wait)
