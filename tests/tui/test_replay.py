"""A recorded run of the digits: played event by event, in one go or in any parts, it comes to the same screens."""

from __future__ import annotations

import itertools
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineage.events import Recorded
from lineage.store import EventStore
from tui.app import SpnasApp
from tui.source import Contact
from tui.view_models import SearchView, fold

FILE = Path(__file__).parents[1] / "fixtures" / "digits_run.jsonl"
RECORDED = [Recorded.model_validate_json(line) for line in FILE.read_text("utf-8").splitlines()]
WHOLE = fold(SearchView(), *RECORDED)
SCREENS = {
    "1": ("✓ finished", "9/9 trained", "3/3 trained", "1/1 trained", "best AP 0.639 f-0001", "epoch 12/12"),
    "2": ("13 candidates", "f-0001", "└─"),
    "3": ("on the front", "f-0001"),
    "4": ("f-0001 (the best so far)", "stage 1"),
    "6": ("run demo finished", "f-0001 epoch 12/12"),
}


@given(st.lists(st.integers(0, len(RECORDED)), max_size=8))
def test_parts_come_to_what_the_whole_comes_to(cuts: list[int]) -> None:
    view, bounds = SearchView(), [0, *sorted(cuts), len(RECORDED)]
    for start, end in itertools.pairwise(bounds):
        view = fold(view, *RECORDED[start:end])
    assert view == WHOLE


def test_leaders_and_sums_are_those_of_the_tables(tmp_path: Path) -> None:
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        for one in RECORDED:
            store.append([one.event], one.ts)
        ranking = store.query("SELECT candidate_id, round(ap, 6), params, flops FROM leaderboard ORDER BY rank").rows
        front = store.query("SELECT candidate_id FROM pareto_front ORDER BY ALL").rows
        counts = store.query(
            "SELECT count(*), count(*) FILTER (status = 'trained'), count(*) FILTER (status = 'abandoned') FROM candidates"
        ).rows
    assert [(one.candidate_id, one.ap, one.params, one.flops) for one in WHOLE.leaders] == ranking
    assert counts == [(WHOLE.proposed, WHOLE.trained, WHOLE.abandoned)]
    assert front


@pytest.mark.parametrize("size", [1, 7, len(RECORDED)])
async def test_however_it_is_told_the_screens_end_alike(made_up, size: int) -> None:
    parts = [RECORDED[start : start + size] for start in range(0, len(RECORDED), size)]
    source = made_up.StandIn([], *parts, Contact("over"))
    end = RECORDED[-1].ts + timedelta(seconds=1)
    async with SpnasApp(source, clock=lambda: end).run_test(size=(130, 40)) as pilot:
        for key, texts in SCREENS.items():
            await pilot.press(key)
            await made_up.expect(pilot, *texts)
        assert pilot.app.state.view == WHOLE
