"""`why` answers from the record alone: what a candidate is, where it came from, how it fared, what came from it."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from histories import (
    NOON,
    assigned,
    epoch,
    failed,
    finished,
    given_network,
    inherited,
    proposed,
    reignition,
    run_started,
    trainings,
)

from lineage import events as ev
from lineage.errors import UnknownCandidate
from lineage.store import EventStore
from orchestrator.run_folder import RunFolder
from orchestrator.why import why

SEED = {"code": "b_11-21_0-0", "block_ids": (("s-1.1", "s-1.2"), ("s-1.3", "s-1.4"))}
GROWN = {"code": "b_111-21_0-0", "block_ids": (("s-1.1", "s-1.2", "s-3.1"), ("s-1.3", "s-1.4"))}

Ask = Callable[..., list[str]]


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., None]:
    """Record events ten seconds apart in the run folder `tmp_path`."""

    def append(*events: ev.Event) -> None:
        database = tmp_path / "lineage.duckdb"
        with EventStore.open(database) if database.exists() else EventStore.create(database) as store:
            (count,) = store.query("SELECT count(*) FROM events").rows[0]
            for number, event in enumerate(events, count):
                store.append([event], NOON + timedelta(seconds=10 * number))

    return append


@pytest.fixture
def ask(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def printed(subject_id: str) -> list[str]:
        why(str(tmp_path), subject_id, as_json=False)
        return [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    return printed


@pytest.fixture
def ask_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Any]:
    def printed(subject_id: str) -> Any:
        why(str(tmp_path), subject_id, as_json=True)
        return json.loads(capsys.readouterr().out)

    return printed


def section(lines: list[str], heading: str) -> list[str]:
    """The indented lines below a heading."""
    below = lines[lines.index(heading) + 1 :]
    end = next((number for number, line in enumerate(below) if not line.startswith("  ")), len(below))
    return [line.strip() for line in below[:end]]


PHASE = ev.PhaseStarted(step="serial", phase="serial")
FAMILY: list[ev.Event] = [
    run_started(run_id="digits", simulated=False),
    PHASE,
    *trainings("s-1", ap=0.1, flops=100, **SEED),
    *trainings("s-2", "s-1", ap=0.2, flops=100, morphisms=("continue",), **SEED),
]
CHILD = proposed(
    "s-3",
    "s-2",
    **GROWN,
    seeds=2,
    flops=200,
    control_id="s-2",
    parent_probabilities={"s-1": 0.25, "s-2": 0.75},
    refused={"duplicate": 2, "flops": 1},
)
TRAINED: list[ev.Event] = [
    CHILD,
    assigned("j-3", "s-3"),
    inherited("j-3", "s-3", "s-2", dead_tensors=()),
    failed("j-3"),
    assigned("j-3", "s-3", 2, device="cpu:1"),
    epoch("j-3", 3, 2),
    finished("j-3", 2, ap=0.3),
    assigned("j-3-2", "s-3", repeat=2),
    finished("j-3-2", ap=0.4, latency_ms=12.5),
]


def test_a_candidate_is_accounted_for_from_its_proposal_to_what_came_from_it(
    record: Callable[..., None], ask: Ask
) -> None:
    record(*FAMILY, *TRAINED, *trainings("s-4", "s-3", ap=0.35, flops=300), proposed("s-5", "s-4"))
    record(ev.PhaseFinished(step="serial", phase="serial", reason="done", best_candidate_id="s-3"))
    lines = ask("s-3")
    assert lines[:3] == [
        "s-3 b_111-21_0-0 AP 0.350",
        "  serial phase of run digits (crashed), proposed 1m20s into the run",
        "  1k parameters, 200 multiply-adds",
    ]
    assert section(lines, "why it was proposed") == [
        "from s-2 (AP 0.200), drawn with probability 0.75 against s-1 0.25; place 1 of 2 by AP",
        "by expand(0@1 +1): 11-21 -> 111-21 (blocks: 4 kept, 1 new)",
        "3 draws refused before it: 2 duplicate, 1 flops",
    ]
    assert section(lines, "what it inherited") == [
        "what fits of the detector of s-2, in tensors: 90 copied, 3 adapted, 7 new, 1 dropped",
        "residual 1e-06 at birth: its morphisms promise 0",
        "every new tensor can learn",
    ]
    assert section(lines, "its trainings") == [
        "seed 1 of 2: attempt 1 failed on cpu:0 after 20s, crash: it's gone: \0 “ü”",
        "seed 1 of 2: attempt 2 AP 0.300, 3 epochs on cpu:1 in 20s",
        "seed 2 of 2: AP 0.400, on cpu:0 in 10s",
    ]
    assert section(lines, "how it ranked") == [
        "place 1 of 3 in the leaderboard",
        "on the Pareto front of AP and flops",
        "gain +0.150 over its control s-2 (AP 0.350 against 0.200)",
    ]
    assert section(lines, "what came from it") == [
        "s-4 AP 0.350 by expand(0@1 +1)",
        "2 descendants in all",
        "it is the result of step serial",
    ]


def test_the_same_facts_come_as_json(record: Callable[..., None], ask_json: Callable[[str], Any]) -> None:
    record(*FAMILY, *TRAINED)
    facts = ask_json("s-3")
    assert (facts["candidate"]["ap"], facts["parent"]["candidate_id"]) == (0.35, "s-2")
    assert facts["refused"] == {"duplicate": 2, "flops": 1}
    assert [(draw["candidate_id"], draw["probability"]) for draw in facts["draws"]] == [("s-2", 0.75), ("s-1", 0.25)]
    assert [[one["outcome"] for one in training["attempts"]] for training in facts["trainings"]] == [
        ["failed", "finished"],
        ["finished"],
    ]
    assert facts["ranking"]["gain"] == {"control_id": "s-2", "ap": 0.35, "control_ap": 0.2, "gain": 0.15}


def test_one_that_is_beaten_says_by_whom_and_a_control_for_whom(record: Callable[..., None], ask: Ask) -> None:
    record(*FAMILY, *TRAINED, *trainings("s-4", "s-3", ap=0.2, flops=300))
    assert section(ask("s-4"), "how it ranked") == [
        "place 2 of 3 in the leaderboard",
        "off the Pareto front of AP and flops: dominated by s-3 (AP 0.350)",
    ]
    assert section(ask("s-2"), "why it was proposed")[0] == (
        "as a control: s-1 trained on for as long as s-3, to compare with"
    )
    assert section(ask("s-2"), "how it ranked") == ["not at all: a control is no new network"]
    assert section(ask("s-1"), "why it was proposed") == ["from scratch, without a parent"]


def test_one_that_is_ruled_out_or_abandoned_says_why(record: Callable[..., None], ask: Ask) -> None:
    ruled_out = ev.CandidateRuledOut(candidate_id="s-3", limit="latency", measured=12.5, allowed=12)
    abandoned = ev.CandidateAbandoned(candidate_id="s-4", fault="broken_promise", message="residual 3\nat birth")
    record(*FAMILY, *TRAINED, ruled_out, proposed("s-4", "s-1"), abandoned)
    assert ask("s-3")[0] == "s-3 b_111-21_0-0 AP 0.350 ruled out (latency 12.5 > 12)"
    assert section(ask("s-3"), "how it ranked")[0] == (
        "not at all: it breaks a limit (latency 12.5 > 12), so it is neither a result nor a parent"
    )
    assert section(ask("s-4"), "how it ranked") == ["not at all: it was abandoned, broken promise: residual 3"]


def test_what_cannot_learn_and_what_was_not_promised_are_said(record: Callable[..., None], ask: Ask) -> None:
    block_ids = (("s-1.1",), ("s-1.2", "s-1.3", "s-1.4"))
    child = proposed("s-3", "s-1", morphisms=("swap(0|1 -1)",), code="b_1-121_0-0", block_ids=block_ids)
    dead = inherited("j-3", "s-3", "s-1", dead_tensors=("backbone.a", "neck.b"), residual=0.5)
    record(*FAMILY, child, assigned("j-3", "s-3"), dead)
    lines = ask("s-3")
    assert section(lines, "what it inherited")[1:] == [
        "residual 0.5 at birth: nothing promises its parent's function",
        "warning: 2 new tensors can't learn: backbone.a, neck.b",
    ]
    assert "by swap(0|1 -1): 11-21 -> 1-121 (blocks: 3 kept, 1 moved)" in section(lines, "why it was proposed")


def test_a_training_that_runs_is_told_apart_from_one_that_a_crash_cut_off(
    record: Callable[..., None], ask: Ask, tmp_path: Path
) -> None:
    record(*FAMILY, CHILD, assigned("j-3", "s-3"), epoch("j-3", 2))
    with RunFolder(tmp_path).held():
        lines = ask("s-3")
    assert lines[0] == "s-3 b_111-21_0-0 running"
    assert section(lines, "its trainings") == [
        "seed 1 of 2: running on cpu:0, 2 of 3 epochs done",
        "1 training not begun",
    ]
    assert section(lines, "how it ranked") == ["not yet"]
    assert section(lines, "what came from it") == ["nothing so far"]
    assert section(ask("s-3"), "its trainings")[0] == "seed 1 of 2: interrupted on cpu:0"


def test_a_given_network_says_where_it_is_from_and_what_grew_of_it(record: Callable[..., None], ask: Ask) -> None:
    given = given_network("i-0001", ap=0.4, checkpoint="d" * 64)
    record(run_started(), PHASE, given, *trainings("s-1", "i-0001", ap=0.3, morphisms=("continue",)))
    lines = ask("i-0001")
    assert lines[0] == "i-0001 b_11-21_0-0 given (resnet50.pth, AP 0.400 there)"
    assert section(lines, "where it comes from") == ["given: resnet50.pth"]
    assert section(lines, "what came from it") == ["s-1 AP 0.300 by continue"]
    assert "its trainings" not in lines
    assert section(ask("s-1"), "why it was proposed")[0] == ("from i-0001, given (resnet50.pth, AP 0.400 there)")


def test_an_audit_and_what_it_audits_name_each_other(record: Callable[..., None], ask: Ask) -> None:
    audit = {"step": "audit", "phase": "audit", "audited_id": "s-7"}
    record(
        run_started(),
        given_network("s-7", "s-3", source="runs/x", ap=0.5),
        given_network("s-3", "s-1", source="runs/x"),
        *trainings("a-1", ap=0.2, **audit),
        *trainings("a-2", "s-3", ap=0.4, inherit="backbone", **audit),
    )
    assert section(ask("a-1"), "why it was proposed") == [
        "to audit s-7, given (runs/x, AP 0.500 there)",
        "from scratch, without a parent",
    ]
    assert section(ask("s-7"), "what came from it") == [
        "a-1 audits it from scratch: AP 0.200",
        "a-2 audits it with the backbone alone: AP 0.400",
    ]
    assert section(ask("s-3"), "where it comes from") == [
        "given: runs/x",
        "its parent s-1 is in the run it comes from",
    ]
    assert section(ask("s-7"), "where it comes from")[:2] == ["given: runs/x", "from s-3, given (runs/x)"]
    assert section(ask("a-1"), "how it ranked")[1] == (
        "not weighed for the Pareto front, which is of searched networks with an AP"
    )


def test_a_parent_that_was_not_drawn_is_not_said_to_have_been(record: Callable[..., None], ask: Ask) -> None:
    record(*FAMILY, proposed("s-3", "s-2", **GROWN, refused={"duplicate": 1003}))
    assert section(ask("s-3"), "why it was proposed") == [
        "from s-2 (AP 0.200), taken since no draw from the best gave a new network",
        "by expand(0@1 +1): 11-21 -> 111-21 (blocks: 4 kept, 1 new)",
        "1003 draws refused before it: 1003 duplicate",
    ]


def test_a_reignition_says_what_triggered_it_and_what_grew_from_it(record: Callable[..., None], ask: Ask) -> None:
    record(
        *FAMILY,
        reignition("r-0001", "s-2"),
        assigned("j-r", "r-0001", job_kind="reignite"),
        epoch("j-r", 3),
        finished("j-r", ap=None, accuracy=0.875),
        *trainings("s-3", "s-2", ap=0.5, morphisms=("reignite",), reignition_id="r-0001"),
        *trainings("s-4", "s-3", ap=0.6, **GROWN),
        proposed("s-5", "s-3"),
        ev.RunFinished(outcome="completed", reason="done"),
    )
    lines = ask("r-0001")
    assert lines[:2] == [
        "r-0001 reignition of s-2 b_11-21_0-0 AP 0.200: accuracy 0.875",
        "  step serial of run digits (completed), proposed 1m20s into the run",
    ]
    assert section(lines, "why it was proposed") == [
        "growth had stalled: 3 candidates without an AP better by more than 0.01 (best 0.250), n_stuck 3"
    ]
    assert section(lines, "its classification training") == ["accuracy 0.875, 3 epochs on cpu:0 in 20s"]
    assert section(lines, "what grew from it") == [
        "s-3 AP 0.500",
        "and 2 descendants",
        "the best of them: s-4 b_111-21_0-0 AP 0.600",
    ]
    assert "its backbone is that of r-0001, retrained on classification" in section(ask("s-3"), "why it was proposed")
    assert "r-0001 reignited it: accuracy 0.875" in section(ask("s-2"), "what came from it")


def test_a_reignition_that_was_requested_names_who_asked_and_a_failed_one_why(
    record: Callable[..., None], ask: Ask
) -> None:
    asked = reignition("r-0001", "s-2").model_copy(update={"trigger": "request"})
    at_start = reignition("r-0002", "s-2").model_copy(update={"trigger": "start"})
    abandoned = ev.ReignitionAbandoned(reignition_id="r-0001", fault="data", message="no images")
    record(*FAMILY, ev.ReignitionRequested(by="ana"), asked, ev.ReignitionRequested(by="bo"), abandoned, at_start)
    lines = ask("r-0001")
    assert lines[0].endswith(": abandoned, data: no images")
    assert section(lines, "why it was proposed")[0].startswith("ana requested it; by then: 3 candidates without")
    assert section(lines, "what grew from it") == ["nothing so far"]
    assert section(ask("r-0002"), "why it was proposed") == ["the configuration asks for it before anything grows"]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("s-0012", "near it are s-0011, s-0002, s-0001"), ("best", "it has s-0001 to s-0011, r-0001")],
)
def test_an_unknown_id_is_answered_with_ids_that_are_known(
    record: Callable[..., None], ask: Ask, asked: str, answer: str
) -> None:
    record(run_started(), *(proposed(f"s-{number:04}") for number in (1, 2, 11)), reignition("r-0001", "s-0001"))
    with pytest.raises(UnknownCandidate, match=rf"no candidate or reignition '{asked}': {answer}"):
        ask(asked)
