"""What the lineage, Pareto, candidate, SQL and log screens show, and what their own keys do."""

import asyncio
import gc

import pytest

from lineage.store import EventStore
from tui.widgets.grid import Grid

SIZE = (130, 30)


@pytest.fixture(autouse=True)
def own_state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def stored(made_up, tmp_path):
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        for one in made_up.recorded(made_up.whole_run()):
            store.append([one.event], one.ts)
        yield made_up.StandIn(made_up.whole_run(), store=store)


def showing(made_up, source, **options):
    return made_up.app_of(source, 40).run_test(size=SIZE, notifications=True, **options)


async def test_the_lineage_shows_who_came_from_whom_and_how(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("2")
        shown = await made_up.expect(pilot, "6 candidates", "f-0001")
        lines = [line.split() for line in shown.splitlines()[5:11]]
        assert lines[0][:2] == ["s-0001", "0.021"]
        assert lines[1][:8] == ["├─s-0002", "0.104", "+0.083", "11-21-…", "→", "111-1-…", "swap(0|1", "+1)"]
        assert lines[2][:6] == ["│", "s-0004", "0.200", "+0.096", "same", "code"]
        assert lines[3][:7] == ["│", "p-0001*", "0.250", "+0.050", "branches", "0-0-0-0", "→"]
        assert "92%" in shown
        assert "abandoned (out_of_memory)" in shown


async def test_space_folds_and_minus_and_plus_fold_everything(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("2")
        await made_up.expect(pilot, "p-0001")
        await pilot.press("down", "space")
        shown = await made_up.expect(pilot, "s-0002 [+3]", "1 folded")
        assert "p-0001" not in shown
        await pilot.press("plus")
        await made_up.expect(pilot, "p-0001")
        await pilot.press("minus")
        assert "p-0001" not in await made_up.expect(pilot, "[+3]")


async def test_s_shows_the_path_from_the_seed(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("2")
        await made_up.expect(pilot, "f-0001")
        for _ in range(4):
            await pilot.press("down")
        await pilot.press("s")
        shown = await made_up.expect(pilot, "the path from the seed to f-0001")
        assert "s-0003" not in shown
        await pilot.press("s")
        await made_up.expect(pilot, "s-0003")


async def test_the_lineage_follows_what_becomes_of_a_candidate(made_up):
    source = made_up.StandIn(made_up.running_run())
    async with showing(made_up, source) as pilot:
        await pilot.press("2")
        shown = await made_up.expect(pilot, "s-0004")
        assert "0.333" not in shown
        source.tell(made_up.finished("j-0005", 0.333))
        await made_up.expect(pilot, "s-0004*", "0.333", "4 candidates")
        source.tell(made_up.proposed("s-0005", "s-0004"))
        await made_up.expect(pilot, "s-0005", "5 candidates")


async def test_m_marks_one_and_compares_it_with_another(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("2")
        await made_up.expect(pilot, "f-0001")
        await pilot.press("down", "m")
        await made_up.expect(pilot, "s-0002 is marked: m on another compares them")
        await pilot.press("down", "down", "m")
        await made_up.expect(pilot, "0.1040", "0.2500", "last ancestor both have", "stage 1", "stride 4,")
        await pilot.press("escape", "up", "up", "m")
        assert "is marked" not in await made_up.expect(pilot, "6 candidates")


async def test_slash_filters_the_lineage_and_keeps_ancestors(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("2")
        await made_up.expect(pilot, "s-0003")
        await pilot.press("slash", *"branch")
        shown = await made_up.expect(pilot, "1 have 'branch' (with their ancestors, dim)", "p-0001")
        assert "s-0003" not in shown
        assert pilot.app.screen.query_one("#tree", Grid).cell().value == "p-0001"
        await pilot.press("escape")
        await made_up.expect(pilot, "s-0003")


async def test_the_pareto_screen_lists_the_front_first_and_changes_cost(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("3")
        await made_up.expect(pilot, "AP against flops", "1 on the front, 3 others", "*  p-0001  0.250   133M")
        await pilot.press("o")
        await made_up.expect(pilot, "AP against params", "713.2k")
        await pilot.press("o")
        await made_up.expect(pilot, "AP against memory: not known of any candidate yet")
        await pilot.press("o", "o", "down", "enter")
        await made_up.expect(pilot, "Network", "stage 1, stride 4")


async def test_the_mouse_over_the_plot_finds_the_nearest_candidate(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("3")
        await made_up.expect(pilot, "1 on the front, 3 others")
        grid = pilot.app.screen.query_one("#pareto-list", Grid)
        for row in range(8, 26):
            await pilot.hover("#pareto-plot", offset=(40, row))
        await pilot.pause()
        assert grid.cursor_row == 3


async def test_a_candidate_is_drawn_and_explained(made_up, stored):
    async with showing(made_up, stored) as pilot:
        await pilot.press("4")
        await made_up.expect(pilot, "f-0001 (the best so far)", "AP         0.4120", "stage 4, stride 32", "beside")
        await pilot.press("right_square_bracket")
        await made_up.expect(pilot, "ap by epoch", "loss by epoch")
        await pilot.press("right_square_bracket")
        await made_up.expect(pilot, "f-0001 was proposed because")
        await pilot.press("right_square_bracket")
        await made_up.expect(pilot, "CandidateProposed", "JobFinished")
        await pilot.press("right_square_bracket")
        await made_up.expect(pilot, "== logs/j-f-0001.log", "epoch 1")
        await pilot.press("left_square_bracket", "left_square_bracket", "u")
        await made_up.expect(pilot, "p-0001 was proposed because")


async def test_a_question_that_another_takes_the_place_of_at_once_leaves_nothing_behind(made_up, stored):
    async with showing(made_up, stored) as pilot:
        await pilot.press("4", "right_square_bracket")
        await made_up.expect(pilot, "ap by epoch")
        for _ in range(2):
            pilot.app.screen.on_tabbed_content_tab_activated()
    gc.collect()  # a coroutine that nobody awaited would fail this test


async def test_where_there_are_no_tables_that_is_told(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("4", "right_square_bracket")
        await made_up.expect(pilot, "its tables are on the machine where it runs")


async def test_a_statement_is_answered_remembered_completed_kept_and_exported(made_up, stored):
    async with showing(made_up, stored) as pilot:
        await pilot.press("5")
        await made_up.expect(pilot, "tab completes a name")
        await pilot.press("f7", "delete", *"SELECT candidate_id, ap FROM leade", "tab", "ctrl+j")
        await made_up.expect(pilot, "5 rows in", "f-0001")
        await pilot.press("f7", "delete", *"SELECT nonsense", "ctrl+j")
        await made_up.expect(pilot, 'Referenced column "nonsense" was not found')
        await pilot.press("ctrl+up", "ctrl+up")
        await made_up.expect(pilot, "FROM leaderboard")
        await pilot.press("ctrl+s", *"best", "enter")
        await made_up.expect(pilot, "kept as 'best'")
        await pilot.press("ctrl+down", "ctrl+down", "ctrl+o")
        await made_up.expect(pilot, "Which statement?", "best: SELECT candidate_id, ap")
        await pilot.press("enter")
        await made_up.expect(pilot, "the query failed")
        await pilot.press("ctrl+e")
        await made_up.expect(pilot, "Write the whole answer to")
        await pilot.press("enter")
        await made_up.expect(pilot, "written to answer.csv")
    assert stored.exported == [("SELECT candidate_id, ap FROM leaderboard", "answer.csv")]


async def test_escape_cancels_a_query(made_up, stored):
    async with showing(made_up, stored) as pilot:
        await pilot.press("5")
        await made_up.expect(pilot, "tab completes a name")
        await pilot.press("f7", "delete", *"SELECT forever", "ctrl+j")
        await made_up.expect(pilot, "asking ...")
        await pilot.press("escape")
        await made_up.expect(pilot, "cancelled")
    assert stored.cancelled == 1


async def test_the_log_is_filtered_by_words_kind_candidate_and_device(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("6")
        await made_up.expect(pilot, "run digits finished")
        for text, there, gone in (
            ("abandoned", "s-0003 abandoned", "run digits finished"),
            ("kind:JobFinished", "s-0002 AP 0.104", "abandoned"),
            ("candidate:s-0003", "s-0003 abandoned", "s-0002"),
            ("device:cpu:1 s-0004", "s-0004 AP 0.200", "cpu:0"),
        ):
            await pilot.press("slash", *text, "enter")
            shown = await made_up.expect(pilot, there)
            assert gone not in "\n".join(shown.splitlines()[5:])
            await pilot.press("slash", "escape")
        await made_up.expect(pilot, "run digits finished")
        await pilot.press("f")
        await made_up.expect(pilot, "1 of the last", "kind:RunFinished")


async def test_the_log_follows_the_end_unless_one_looks_elsewhere(made_up):
    events = made_up.whole_run()
    source = made_up.StandIn(events[:-2])
    async with made_up.app_of(source, 40).run_test(size=(100, 14)) as pilot:
        await pilot.press("6")
        await made_up.expect(pilot, "fullytrain phase started")
        source.tell(events[-2])
        await made_up.expect(pilot, "fullytrain phase finished")
        await pilot.press("home")
        source.tell(events[-1])
        shown = await made_up.expect(pilot, "RunStarted")
        assert "RunFinished" not in shown


async def test_what_is_pressed_at_once_is_no_filter_that_nobody_sees(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await made_up.expect(pilot, "✓ finished")
        for key in "26":
            await pilot.press(key, "m")
            shown = await made_up.expect(pilot, {"2": "6 candidates", "6": "lines"}[key])
            assert "0 have" not in shown
            assert "0 of" not in shown


async def test_the_filter_ends_the_path(made_up):
    async with showing(made_up, made_up.StandIn(made_up.whole_run())) as pilot:
        await pilot.press("2")
        await made_up.expect(pilot, "f-0001")
        await pilot.press("down", "s")
        await made_up.expect(pilot, "the path from the seed to s-0002")
        await pilot.press("slash", *"s-0003")
        assert "path from" not in await made_up.expect(pilot, "1 have 's-0003'")


async def test_a_training_that_goes_on_is_asked_for_anew(made_up, tmp_path):
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        source = made_up.StandIn(made_up.running_run(), store=store)
        for one in made_up.recorded(made_up.running_run()):
            store.append([one.event], one.ts)
        async with showing(made_up, source) as pilot:
            await pilot.press("4")
            await made_up.expect(pilot, "s-0002 (the best so far)")
            pilot.app.open_candidate("s-0004")
            await pilot.press("right_square_bracket")
            await made_up.expect(pilot, "s-0004", "ap by epoch")
            more = made_up.epoch("j-0005", 2, 4, 0.5)
            store.append([more], made_up.at(23))
            source.tell(more)
            await made_up.expect(pilot, "0.5")


@pytest.mark.parametrize("colours", ["1", None])
async def test_what_others_wrote_gives_no_orders_to_the_terminal(made_up, stored, monkeypatch, colours):
    if colours:
        monkeypatch.setenv("NO_COLOR", colours)
    async with showing(made_up, stored) as pilot:
        await pilot.press("5")
        await made_up.expect(pilot, "tab completes a name")
        statement = "SELECT 'a' || chr(27) || ']0;title' || chr(7) || chr(9) || 'b' AS x"
        await pilot.press("f7", "delete", *statement, "ctrl+j")
        shown = await made_up.expect(pilot, "1 rows in", "a ]0;title  b")
        assert all(letter.isprintable() or letter == "\n" for letter in shown)


async def test_kept_statements_are_shared_and_a_strange_file_is_none(made_up, monkeypatch, tmp_path):
    from tui.queries import Kept

    file = tmp_path / "statements.json"
    one, other = Kept(file), Kept(file)
    one.save("mine", "SELECT 1")
    other.remember("SELECT 2")
    assert other.saved() == Kept(file).saved() == {"mine": "SELECT 1"}
    for strange in ('{"history": [], "saved": []}', "[1]", "no JSON", '{"history": 1}'):
        file.write_text(strange)
        assert Kept(file).history() == []
    with pytest.raises(OSError, match="File exists"):
        Kept(tmp_path / "statements.json" / "none").save("mine", "SELECT 1")


async def test_a_file_that_is_there_is_replaced_by_whoever_means_it(made_up, stored):
    async with showing(made_up, stored) as pilot:
        await pilot.press("5", "ctrl+j")
        await made_up.expect(pilot, "rows in")
        for answer, written in (("n", []), ("y", [("SELECT 1", "there.csv")])):
            await pilot.press("ctrl+e")
            await made_up.expect(pilot, "Write the whole answer to")
            await pilot.press("ctrl+u", *"there.csv", "enter")
            await made_up.expect(pilot, "Replace it?")
            await pilot.press(answer)
            await pilot.pause()
            assert [file for _, file in stored.exported] == [file for _, file in written]


async def test_of_another_candidate_nothing_is_shown_while_this_one_is_asked_for(made_up, stored, monkeypatch):
    async with showing(made_up, stored) as pilot:
        await pilot.press("4", "right_square_bracket", "right_square_bracket")
        await made_up.expect(pilot, "f-0001 was proposed because")

        async def never(_):
            await asyncio.Event().wait()

        monkeypatch.setattr(stored, "why", never)
        await pilot.press("u")
        shown = await made_up.expect(pilot, "p-0001", "asking ...")
        assert "f-0001 was proposed" not in shown


async def test_the_candidate_stays_in_sight_beside_far_columns(made_up):
    async with made_up.app_of(made_up.StandIn(made_up.whole_run()), 40).run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await made_up.expect(pilot, "6 candidates", "s-0003")
        await pilot.press(*["right"] * 8)
        shown = await made_up.expect(pilot, "s-0003", "Inherited", "Whole code")
        assert "Change" not in shown
        grid = pilot.app.screen.query_one("#tree", Grid)
        await pilot.click("#tree", offset=(3, 2))
        assert grid.cursor_column == 0
