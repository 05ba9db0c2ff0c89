"""Given events, when appended, then what the views and table macros find."""

from typing import Any

import pytest
from histories import (
    NOON,
    proposed,
    run_started,
    trained,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.store import EventStore


def test_the_leaderboard_ranks_every_trained_candidate(store: EventStore) -> None:
    trained(store, "s-0", ap=0.2, flops=10)
    trained(store, "s-1", "s-0", ap=0.3, flops=30)
    trained(store, "p-0", "s-1", ap=0.3, flops=20, phase="parallel")
    trained(store, "f-0", "p-0", ap=0.5, flops=20, phase="fullytrain")
    trained(store, "s-2", "s-0", ap=float("nan"))
    store.append([proposed("s-3", "s-0")], NOON)
    assert store.query("SELECT rank, candidate_id, phase FROM leaderboard").rows == [
        (1, "f-0", "fullytrain"),
        (2, "p-0", "parallel"),
        (3, "s-1", "serial"),
        (4, "s-0", "serial"),
        (5, "s-2", "serial"),
    ]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_pareto_front_is_what_no_other_searched_candidate_beats_in_ap_and_every_objective(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    measures = {"flops": "flops", "params": "params", "memory": "peak_memory_bytes", "latency": "latency_ms"}
    objectives = data.draw(st.lists(st.sampled_from(sorted(measures)), min_size=1, unique=True))
    few, unknown = st.integers(0, 3), st.one_of(st.none(), st.integers(0, 3))
    network = st.fixed_dictionaries(
        {"ap": few, "flops": few, "params": few, "peak_memory_bytes": unknown, "latency_ms": unknown}
    )
    found = data.draw(st.lists(network, min_size=1, max_size=7))
    with EventStore.create(tmp_path_factory.mktemp("run") / "lineage.duckdb") as store:
        store.append([run_started(config={"general": {"objectives": objectives}})], NOON)
        for number, values in enumerate(found):
            trained(store, f"s-{number}", phase="parallel" if number % 2 else "serial", **values)
        for phase in ("fullytrain", "audit"):
            trained(store, phase, ap=9, flops=0, params=0, peak_memory_bytes=0, latency_ms=0, phase=phase)
        front = [name for (name,) in store.query("SELECT candidate_id FROM pareto_front").rows]

    def costs(values: dict[str, Any]) -> list[float]:
        return [float("inf") if values[measures[name]] is None else values[measures[name]] for name in objectives]

    def beats(better: dict[str, Any], worse: dict[str, Any]) -> bool:
        pairs = [(-better["ap"], -worse["ap"]), *zip(costs(better), costs(worse), strict=True)]
        return all(one <= other for one, other in pairs) and any(one < other for one, other in pairs)

    best = [
        (-values["ap"], values["flops"], f"s-{number}")
        for number, values in enumerate(found)
        if not any(beats(other, values) for other in found)
    ]
    assert front == [name for _, _, name in sorted(best)]


def test_whoever_is_not_on_the_front_is_dominated_by_one_that_is(store: EventStore) -> None:
    for number, (ap, flops) in enumerate([(0.3, 9), (0.2, 5), (0.1, 5), (0.1, 9)]):
        trained(store, f"s-{number}", ap=ap, flops=flops)
    assert store.query("SELECT candidate_id FROM pareto_front").rows == [("s-0",), ("s-1",)]
    assert store.query("FROM dominated").rows == [
        ("s-2", "s-1"),
        ("s-3", "s-0"),
        ("s-3", "s-1"),
        ("s-3", "s-2"),
    ]


def test_the_gain_of_a_child_is_over_its_parent_trained_as_long(store: EventStore) -> None:
    trained(store, "s-0", ap=0.1)
    trained(store, "s-1", "s-0", morphisms=("continue",), ap=0.15)
    trained(store, "s-2", "s-0", control_id="s-1", ap=0.25)
    store.append([proposed("s-3", "s-0", control_id="s-1")], NOON)
    gains = store.query("FROM gains")
    assert gains.columns == ("child_id", "parent_id", "control_id", "ap", "control_ap", "gain")
    assert gains.rows == [("s-2", "s-0", "s-1", 0.25, 0.15, 0.1)]


def test_ancestors_and_descendants_are_found_in_sql(store: EventStore) -> None:
    store.append([proposed("s-0"), proposed("s-1", "s-0"), proposed("s-2", "s-1"), proposed("s-3", "s-1")], NOON)
    assert store.query("SELECT candidate_id, distance FROM ancestors('s-3')").rows == [("s-1", 1), ("s-0", 2)]
    assert store.query("SELECT candidate_id, distance FROM descendants('s-0')").rows == [
        ("s-1", 1),
        ("s-2", 2),
        ("s-3", 2),
    ]
    assert store.query("FROM ancestors('s-0')").rows == []
    assert store.query("FROM descendants('no such')").rows == []
