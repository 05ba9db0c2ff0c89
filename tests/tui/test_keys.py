"""What every key does."""

import re

import pytest
from textual import events
from textual.binding import Binding

from tui.app import SpnasApp
from tui.screens.help import TEXT
from tui.widgets.filter import Filter
from tui.widgets.grid import Grid

SIZE = (100, 30)


@pytest.fixture(autouse=True)
def own_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("1", "AP over candidates"),
        ("2", "Code against its parent's"),
        ("3", "on the front"),
        ("4", "(the best so far)"),
        ("5", "tab completes a name"),
        ("6", "lines"),
    ],
)
async def test_numbers_lead_to_the_screens(made_up, key, shown):
    async with made_up.app_of(made_up.StandIn(made_up.running_run())).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "1  s-0002")
        await pilot.press("6" if key == "1" else "1", key)
        await made_up.expect(pilot, shown)


async def test_a_click_on_its_name_leads_to_a_screen(made_up):
    async with made_up.app_of(made_up.StandIn(made_up.running_run())).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "1  s-0002")
        await pilot.click("Tabs", offset=(14, 0))
        await made_up.expect(pilot, "Code against its parent's")


async def test_p_pauses_once_it_is_confirmed_and_tells_what_came_of_it(made_up):
    source = made_up.StandIn(made_up.running_run())
    async with made_up.app_of(source).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "▶ running")
        await pilot.press("p")
        await made_up.expect(pilot, "Pause?", "y yes")
        await pilot.press("n")
        assert source.asked == []
        await pilot.press("p", "y")
        await made_up.expect(pilot, "paused by me: no training begins")
        assert source.asked == [{"request": "pause"}]


async def test_p_goes_on_with_a_paused_run(made_up):
    from lineage.events import RunPaused

    source = made_up.StandIn([*made_up.running_run(), RunPaused(by="me")])
    async with made_up.app_of(source).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "‖ paused")
        await pilot.press("p", "enter")
        await pilot.pause()
        assert source.asked == [{"request": "continue"}]


async def test_r_reignites_and_a_refusal_is_told(made_up):
    source = made_up.StandIn(made_up.running_run())
    async with made_up.app_of(source).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "▶ running")
        await pilot.press("r")
        await made_up.expect(pilot, "Reignite now?", "(s-0002, AP 0.104)")
        await pilot.press("y")
        await made_up.expect(pilot, "not now")
        assert source.asked == [{"request": "reignite"}]


async def test_x_cancels_the_job_that_is_chosen(made_up):
    source = made_up.StandIn(made_up.running_run())
    async with made_up.app_of(source).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "s-0004")
        await pilot.press("x")
        await made_up.expect(pilot, "Cancel which job?", "s-0004 on cpu:1, epoch 1/4")
        await pilot.press("escape", "x", "enter")
        await pilot.pause()
        assert source.asked == [{"request": "cancel", "job": "j-0005"}]


async def test_what_cannot_be_asked_is_told_and_asks_nothing(made_up):
    source = made_up.StandIn(made_up.whole_run())
    async with made_up.app_of(source).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "✓ finished")
        for key in "prx":
            await pilot.press(key)
            await made_up.expect(pilot, "the run is finished: there is nobody to ask")
        assert source.asked == []


async def test_the_palette_stops_a_run_and_an_error_is_told(made_up):
    source = made_up.StandIn(made_up.running_run())
    async with made_up.app_of(source).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "▶ running")
        await pilot.press("ctrl+p", *"stop the")
        await made_up.expect(pilot, "Stop the run")
        await pilot.press("enter")
        await made_up.expect(pilot, "Stop the run?")
        await pilot.press("y")
        await made_up.expect(pilot, "the run did not answer within 10 s")


async def test_question_mark_shows_every_key(made_up):
    async with made_up.app_of(made_up.StandIn(made_up.running_run())).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "▶ running")
        await pilot.press("question_mark")
        await made_up.expect(pilot, "pause the run, or go on")
        await pilot.press("escape")
        assert "pause the run, or go on" not in await made_up.expect(pilot, "▶ running")


async def test_t_changes_between_dark_and_light(made_up):
    async with made_up.app_of(made_up.StandIn(made_up.running_run())).run_test(size=SIZE, notifications=True) as pilot:
        assert pilot.app.current_theme.dark
        await pilot.press("t")
        assert not pilot.app.current_theme.dark
        await pilot.press("t")
        assert pilot.app.current_theme.dark


async def test_q_ends_the_view_and_asks_the_run_nothing(made_up):
    source = made_up.StandIn(made_up.running_run())
    async with made_up.app_of(source).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "▶ running")
        await pilot.press("q")
        await pilot.pause()
        assert not pilot.app.is_running
    assert source.asked == []


async def test_c_copies_the_cell_under_the_cursor_with_all_its_digits(made_up):
    async with made_up.app_of(made_up.StandIn(made_up.running_run())).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "1  s-0002")
        await pilot.press("right", "right", "right", "c")
        assert pilot.app.clipboard == "713204"


async def test_enter_on_a_candidate_opens_it(made_up):
    async with made_up.app_of(made_up.StandIn(made_up.running_run())).run_test(size=SIZE, notifications=True) as pilot:
        await made_up.expect(pilot, "2  s-0001")
        await pilot.press("down", "enter")
        await made_up.expect(pilot, "s-0001  b_11-21-21-21_0-0-0-0", "Network")


NAMES = {
    "slash": "/",
    "question_mark": "?",
    "minus": "-",
    "plus": "+",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "ctrl+up": "ctrl+↑",
    "ctrl+down": "↓",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "page up",
    "pagedown": "page down",
    "escape": "esc",
}


@pytest.mark.parametrize("part", [SpnasApp, Grid, *SpnasApp.MODES.values()])
def test_the_help_names_every_key(part):
    told = TEXT.replace("1 to 6", "1 2 3 4 5 6")
    for binding in vars(part).get("BINDINGS", ()):
        assert isinstance(binding, Binding)
        names = [NAMES.get(key, key) for key in binding.key.split(",")]
        assert any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", told) for name in names), names


async def test_every_key_of_a_table_moves_its_cursor(made_up):
    events = [made_up.run_started()]
    for number in range(1, 41):
        name, job = f"s-{number:04}", f"j-{number}"
        events += [made_up.proposed(name), made_up.assigned(job, name), made_up.finished(job, 0.9 - number / 100)]
    async with made_up.app_of(made_up.StandIn(events), len(events)).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "1  s-0001", "7  s-0007")
        grid = pilot.app.screen.query_one("Leaderboard", Grid)
        await pilot.press("pagedown")
        assert 3 < grid.cursor_row < 39
        await pilot.press("pageup")
        assert grid.cursor_row == 0
        for key, row, column in (
            ("down", 1, 0),
            ("j", 2, 0),
            ("up", 1, 0),
            ("k", 0, 0),
            ("up", 0, 0),
            ("end", 39, 0),
            ("down", 39, 0),
            ("home", 0, 0),
            ("G", 39, 0),
            ("g", 0, 0),
            ("right", 0, 1),
            ("left", 0, 0),
            ("left", 0, 0),
        ):
            await pilot.press(key)
            assert (grid.cursor_row, grid.cursor_column) == (row, column), key


def in_one_go(app, *keys):
    """As a slow line hands them on: all are there before the first is looked at."""
    for key in keys:
        app.post_message(events.Key(key, key if len(key) == 1 else None))


@pytest.mark.parametrize("keys", [("p", "y"), ("r", "enter"), ("x", "enter")])
async def test_a_key_from_before_answers_no_question(made_up, monkeypatch, keys):
    monkeypatch.setattr("tui.screens.confirm.UNSEEN_S", 0.3)
    source = made_up.StandIn(made_up.running_run())
    async with made_up.app_of(source).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "▶ running", "s-0004")
        in_one_go(pilot.app, *keys)
        await made_up.expect(pilot, {"p": "Pause?", "r": "Reignite now?", "x": "Cancel which job?"}[keys[0]])
        assert source.asked == []
        await pilot.pause(0.4)
        await pilot.press(keys[1])
        await pilot.pause()
        assert len(source.asked) == 1


async def test_keys_in_one_go_do_what_they_do_one_after_the_other(made_up):
    source = made_up.StandIn(made_up.running_run())
    async with made_up.app_of(source).run_test(size=SIZE) as pilot:
        await made_up.expect(pilot, "▶ running")
        in_one_go(pilot.app, "6", "slash", "p", "y", "enter")
        await made_up.expect(pilot, "0 of the last")
        assert pilot.app.screen.query_one(Filter).value == "py"
        in_one_go(pilot.app, "escape", "5")
        await made_up.expect(pilot, "tab completes a name")
        in_one_go(pilot.app, "f7", "delete", "a", "b", "c", "backspace", "d", "e", "left", "left", "X")
        await made_up.expect(pilot, "abXde")
        in_one_go(pilot.app, "escape", "1", "p", "escape", "2", "question_mark", "q", "3")
        await made_up.expect(pilot, "AP against flops")
    assert source.asked == []
