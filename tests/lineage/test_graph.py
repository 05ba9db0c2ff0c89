"""The lineage graph answers whose weights came from where, and named queries what a run looks like."""

import json
from datetime import datetime, timedelta

import pytest
from histories import NOON, assigned, epoch, given_network, proposed, reignition, run_started, trained

from lineage import queries
from lineage.architecture import Genotype
from lineage.errors import UnknownCandidate
from lineage.events import CandidateAbandoned, CandidateRuledOut, PhaseStarted
from lineage.graph import LineageGraph
from lineage.morphism import AddStage, Blueprint, Expand, Swap, apply
from lineage.store import EventStore

SEED = Blueprint.seed(Genotype.parse("b_111-21_0-0"), "s-0")
CHILD = apply(apply(SEED, Swap(0, -1), "s-1"), Expand(0, 1, 2), "s-1")
GRANDCHILD = apply(CHILD, AddStage(), "s-2")


@pytest.fixture
def family(store: EventStore) -> LineageGraph:
    """s-0 -> s-1 -> s-2, and s-0 -> s-3."""
    blueprints = {"s-0": SEED, "s-1": CHILD, "s-2": GRANDCHILD, "s-3": SEED}
    parents = {"s-1": "s-0", "s-2": "s-1", "s-3": "s-0"}
    for name, blueprint in blueprints.items():
        code, block_ids = blueprint.genotype.code, blueprint.block_ids
        store.append([proposed(name, parents.get(name), code=code, block_ids=block_ids)], NOON)
    return LineageGraph.from_store(store)


def test_the_line_of_a_candidate(family: LineageGraph) -> None:
    assert family.path("s-2") == ["s-0", "s-1", "s-2"]
    assert family.ancestors("s-2") == ["s-1", "s-0"]
    assert family.descendants("s-0") == ["s-1", "s-3", "s-2"]
    assert (family.path("s-0"), family.ancestors("s-0"), family.descendants("s-2")) == (["s-0"], [], [])


def test_candidates_and_edges_are_the_tables_rows_as_json(family: LineageGraph) -> None:
    assert [row["candidate_id"] for row in family.candidates] == ["s-0", "s-1", "s-2", "s-3"]
    assert [(edge["parent_id"], edge["child_id"]) for edge in family.edges] == [
        ("s-0", "s-1"),
        ("s-1", "s-2"),
        ("s-0", "s-3"),
    ]
    assert family.candidate("s-1")["proposed_at"] == "2024-05-01T12:00:00Z"
    assert family.edge("s-0") is None
    edge = family.edge("s-1")
    assert edge is not None
    assert edge["morphisms"] == ["expand(0@1 +1)"]
    written = json.dumps([family.candidates, family.edges, family.diff("s-0", "s-2")])
    assert json.loads(written)[1] == family.edges


def test_the_difference_of_two_networks(family: LineageGraph) -> None:
    assert family.diff("s-0", "s-2") == {
        "before": {"candidate_id": "s-0", "arch": "b_111-21_0-0"},
        "after": {"candidate_id": "s-2", "arch": "b_1111-121-1_0-0-0"},
        "stages": [["111", "1111"], ["21", "121"], [None, "1"]],
        "parallel": [[0, 0], [0, 0], [None, 0]],
        "blocks_kept": 4,
        "blocks_moved": 1,
        "blocks_new": 3,
        "blocks_gone": 0,
    }
    assert family.diff("s-2", "s-0")["blocks_gone"] == 3


def test_an_unknown_candidate_is_named_with_what_there_is(family: LineageGraph, store: EventStore) -> None:
    for question in (family.path, family.ancestors, family.descendants, family.candidate, family.edge):
        with pytest.raises(UnknownCandidate, match=r"'s-9'.*s-0 to s-3"):
            question("s-9")
    with pytest.raises(UnknownCandidate):
        family.diff("s-0", "s-9")


def test_an_empty_run_has_no_candidates(store: EventStore) -> None:
    graph = LineageGraph.from_store(store)
    assert (graph.candidates, graph.edges) == ([], [])
    with pytest.raises(UnknownCandidate, match="none yet"):
        graph.path("s-0")


def test_the_search_record_has_vegas_columns(store: EventStore) -> None:
    store.append([proposed("s-0", code="b_11-21_0-0"), assigned("j-0", "s-0")], NOON)
    trained(store, "s-1", "s-0", code="b_111-21_0-0", ap=0.25, peak_memory_bytes=3 * 2**20, latency_ms=4.0)
    trained(store, "p-1", "s-1", step="parallel", phase="parallel")
    result = store.query(queries.TOTAL_LIST, ["serial"])
    vegas = "arch,worker_id,pre_arch,pre_worker_id,t_start,t_end,t_eclapsed,memory,fps,mAP"
    assert ",".join(result.columns) == f"{vegas},ruled_out"
    noon = datetime(2024, 5, 1, 12)
    assert result.rows == [("b_111-21_0-0", "s-1", "b_11-21_0-0", "s-0", noon, noon, 0.0, 3, 250.0, 0.25, None)]


def test_a_control_is_in_no_search_record(store: EventStore) -> None:
    trained(store, "s-0", ap=0.1)
    trained(store, "s-1", "s-0", morphisms=("continue",), ap=0.3)
    trained(store, "s-2", "s-0", control_id="s-1", ap=0.2)
    assert [row[1] for row in store.query(queries.TOTAL_LIST, ["serial"]).rows] == ["s-0", "s-2"]


def test_the_search_record_has_all_that_was_trained_and_nothing_else(store: EventStore) -> None:
    store.append([given_network("i-0001", ap=0.4), proposed("s-2", "s-1")], NOON)
    trained(store, "s-1", "i-0001", ap=0.25)
    store.append([CandidateRuledOut(candidate_id="s-1", limit="latency", measured=23.1, allowed=20)], NOON)
    rows = store.query(queries.TOTAL_LIST, ["serial"]).rows
    assert [row[1:4] for row in rows] == [("s-1", "b_11-21_0-0", "i-0001")]


def test_given_and_ruled_out_networks_are_told_apart_from_results(store: EventStore) -> None:
    store.append([run_started(), PhaseStarted(step="serial", phase="serial"), given_network("i-0001", ap=0.4)], NOON)
    again = {"morphisms": ("continue",), "refused": {"duplicate": 2, "flops": 1}}
    trained(store, "s-1", "i-0001", ap=0.25, **again)
    trained(store, "s-2", "s-1", ap=0.5)
    store.append([CandidateRuledOut(candidate_id="s-2", limit="latency", measured=23.1, allowed=20)], NOON)
    abandoned = CandidateAbandoned(candidate_id="s-4", fault="crash", message="m")
    store.append([proposed("s-4", "s-1", morphisms=("continue",)), abandoned], NOON)
    trained(store, "s-3", "s-1", morphisms=("continue",), ap=0.3)
    phases = store.query(queries.PHASES)
    assert dict(zip(phases.columns, *phases.rows, strict=True)) == {
        "step": "serial",
        "phase": "serial",
        "status": "running",
        "candidates": 2,
        "trained": 2,
        "ruled_out": 1,
        "abandoned": 0,
        "controls": 2,
        "refused": 3,
        "best_ap": 0.25,
        "reason": None,
    }
    assert store.query(queries.GIVEN).rows == [("i-0001", "b_11-21_0-0", "resnet50.pth", 0.4, "serial")]
    assert store.query(queries.RULED_OUT, [5]).rows == [("s-2", "b_11-21_0-0", "serial", 0.5, "latency 23.1 > 20")]


def test_a_given_network_is_a_seed_though_its_parent_is_in_another_run(store: EventStore) -> None:
    store.append([given_network("s-0007", "s-0003"), proposed("a-0001", "s-0007")], NOON)
    graph = LineageGraph.from_store(store)
    assert graph.path("a-0001") == ["s-0007", "a-0001"]
    assert graph.edge("s-0007") is None
    assert graph.diff("s-0007", "a-0001")["blocks_gone"] == 4


def test_a_run_at_a_glance(store: EventStore) -> None:
    store.append([run_started(), PhaseStarted(step="serial", phase="serial")], NOON)
    trained(store, "s-0", ap=0.125)
    store.append([proposed("s-1", "s-0"), assigned("j-1", "s-1"), epoch("j-1", 1), epoch("j-1", 2, loss=0.25)], NOON)
    store.append(
        [reignition("i-1", "s-0"), assigned("j-2", "i-1", job_kind="reignite", device="cpu:1")], NOON + timedelta(1)
    )
    (phase,) = store.query(queries.PHASES).rows
    assert phase == ("serial", "serial", "running", 2, 1, 0, 0, 0, 0, 0.125, None)
    running = store.query(queries.RUNNING)
    columns = ("device", "job_id", "candidate_id", "reignition_id", "epoch", "epochs", "loss")
    chosen = [tuple(dict(zip(running.columns, row, strict=True))[column] for column in columns) for row in running.rows]
    assert chosen == [("cpu:0", "j-1", "s-1", None, 2, 3, 0.25), ("cpu:1", "j-2", "s-0", "i-1", None, None, None)]
    assert len(store.query(queries.LEADERBOARD, [10]).rows) == len(store.query(queries.PARETO_FRONT).rows) == 1
    assert store.query(queries.FULLY_TRAINED).rows == []
    assert len(store.query(queries.RUN).rows) == 1
