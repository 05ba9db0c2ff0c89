"""What the search decides by, what the tables say and what is told of a run are folded apart, and never disagree."""

from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from given import REIGNITE, configuration, failing, folded, network_given, search
from histories import NOON

from lineage import events as ev
from lineage.rows import KEYS
from lineage.store import EventStore
from lineage.story import Story, advance
from orchestrator.search.proposal import is_control
from orchestrator.search.state import rank

STATUS = {"pending": "proposed", "given": "given", "done": "trained", "abandoned": "abandoned"}


def limited(config: dict[str, Any], **limits: Any) -> dict[str, Any]:
    space = {**config["serial"]["search_space"], "limits": limits}
    return config | {"serial": {**config["serial"], "search_space": space}}


LOGS = {
    "plain": lambda: search(configuration()),
    "noise and controls": lambda: search(configuration(seeds_per_candidate=3, paired=True, reignite=REIGNITE)),
    "measured limits": lambda: search(limited(configuration(seeds_per_candidate=2), latency="5.05ms")),
    "refused draws": lambda: search(limited(configuration(), params="800K")),
    "a failing repeat": lambda: failing(configuration(seeds_per_candidate=2), "j-s-0003-2"),
    "given weights": lambda: search(
        configuration(last_search_result="elsewhere.csv", paired=True),
        given=[network_given("serial", checkpoint="c" * 64, ap=0.3)],
    ),
    "unfinished": lambda: search(configuration(seeds_per_candidate=2), until=7),
}


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
def test_search_tables_and_story_agree(log: Any, tmp_path: Path) -> None:
    events: list[ev.Event] = log()
    state = folded(events)
    recorded = [ev.Recorded(seq=n, event_id=f"e-{n}", ts=NOON, event=event) for n, event in enumerate(events, 1)]
    story = reduce(advance, recorded, Story())
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        for event in events:
            store.append([event], NOON)
        rows = store.query("SELECT candidate_id, status, ap, checkpoint, ruled_out FROM candidates").rows
        leaderboard = store.query("SELECT candidate_id, ap FROM leaderboard ORDER BY rank").rows
        counted = dict(store.query("SELECT reason, sum(count) FROM refusals GROUP BY reason").rows)
        kept = {table: sorted(map(repr, store.query(f"FROM {table}").rows)) for table in KEYS}
        store.rebuild()
        assert kept == {table: sorted(map(repr, store.query(f"FROM {table}").rows)) for table in KEYS}
    found = {name: (status.replace("running", "proposed"), *rest) for name, status, *rest in rows}
    for candidate in state.candidates.values():
        status, ap, checkpoint, ruled_out = found.pop(candidate.candidate_id)
        assert (status, ruled_out is not None) == (STATUS[candidate.outcome], candidate.ruled_out)
        assert (ap or 0.0, checkpoint) == (candidate.ap, candidate.checkpoint)
    assert not found
    results = [one for one in state.candidates.values() if one.is_result and not is_control(state, one.candidate_id)]
    results.sort(key=rank)
    assert leaderboard == [(one.candidate_id, one.ap) for one in results]
    assert leaderboard == [(one.candidate_id, one.ap) for one in story.leaders]
    refused = [event.refused for event in events if isinstance(event, ev.CandidateProposed | ev.PhaseFinished)]
    assert sum(counted.values()) == sum(count for one in refused for count in one.values())
    for event in events:
        if isinstance(event, ev.CandidateProposed):
            assert story.is_control(event) == is_control(state, event.candidate_id)


def test_the_logs_hold_what_they_are_named_for() -> None:
    kinds = {name: {event.kind for event in log()} for name, log in LOGS.items()}
    assert "CandidateRuledOut" in kinds["measured limits"]
    assert "CandidateAbandoned" in kinds["a failing repeat"]
    assert "ReignitionProposed" in kinds["noise and controls"]
    assert any(isinstance(e, ev.CandidateProposed) and e.refused.get("params") for e in LOGS["refused draws"]())
    assert any(isinstance(e, ev.CandidateProposed) and e.control_id for e in LOGS["given weights"]())
