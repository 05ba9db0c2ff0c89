"""The story, which lines and screen are made of, and the tables never disagree on what is best."""

from collections.abc import Sequence
from functools import reduce

import pytest
from histories import NOON, assigned, failed, finished, given_network, proposed, run_started, trainings
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import events as ev
from lineage.store import EventStore
from lineage.story import LEADERS, Story, advance


def story_of(events: Sequence[ev.Event]) -> Story:
    recorded = (ev.Recorded(seq=seq, event_id=f"e-{seq}", ts=NOON, event=event) for seq, event in enumerate(events, 1))
    return reduce(advance, recorded, Story())


@st.composite
def searches(draw: st.DrawFn) -> list[ev.Event]:
    """Candidates of several seeds whose trainings end in any order, some after a failure; some ruled out or abandoned."""
    seeds = draw(st.lists(st.integers(1, 3), min_size=1, max_size=5))
    pairs = [(f"s-{number}", repeat) for number, count in enumerate(seeds) for repeat in range(1, count + 1)]
    events: list[ev.Event] = [run_started(), given_network("i-0001", ap=0.9)]
    events += [proposed(f"s-{number}", seeds=count, flops=1) for number, count in enumerate(seeds)]
    events += [assigned(f"j-{name}-{repeat}", name, repeat=repeat) for name, repeat in pairs]
    for name, repeat in draw(st.permutations(pairs)):
        job_id, attempt = f"j-{name}-{repeat}", 1
        if draw(st.booleans()):
            events += [failed(job_id), assigned(job_id, name, 2, repeat=repeat), finished(job_id, ap=0.99)]
            attempt = 2
        events.append(finished(job_id, attempt, ap=draw(st.sampled_from([None, 0.1, 0.2, 0.25]))))
        if draw(st.integers(0, 5)) == 0:
            events.append(ev.CandidateAbandoned(candidate_id=name, fault="crash", message="gone"))
    for number in draw(st.sets(st.integers(0, len(seeds) - 1))):
        events.append(ev.CandidateRuledOut(candidate_id=f"s-{number}", limit="flops", measured=2, allowed=1))
    return events


@settings(max_examples=25, deadline=None)
@given(searches())
def test_leaders_are_the_leaderboard(tmp_path_factory: pytest.TempPathFactory, events: list[ev.Event]) -> None:
    leaders = [(one.candidate_id, one.ap) for one in story_of(events).leaders]
    with EventStore.create(tmp_path_factory.mktemp("run") / "lineage.duckdb") as store:
        store.append(events, NOON)
        rows = store.query("SELECT candidate_id, ap FROM leaderboard WHERE ap IS NOT NULL ORDER BY rank").rows
    assert leaders == rows


def test_a_story_stays_small_however_long_the_run() -> None:
    story = story_of([event for number in range(300) for event in trainings(f"s-{number}", aps=(number / 300, 0.5))])
    assert (len(story.leaders), len(story.candidates), len(story.jobs), len(story.aps)) == (LEADERS, 0, 0, 0)


def test_a_parent_trained_on_is_a_control_unless_it_was_given() -> None:
    story = story_of([given_network("i-0001")])
    assert story.is_control(proposed("s-2", "s-1", morphisms=("continue",)))
    assert not story.is_control(proposed("s-1", "i-0001", morphisms=("continue",)))
    assert not story.is_control(proposed("s-2", "s-1"))
