"""What `status` and `lineage` say of given, ruled-out and repeatedly trained networks, and of runs of an old release."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from histories import NOON, assigned, epoch, finished, given_network, proposed, run_started, trainings

from lineage import events as ev
from lineage.errors import UnknownCandidate
from lineage.store import EventStore
from orchestrator.inspection import lineage, status


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A run from given weights: one candidate ruled out, one control, one that is not trained yet."""
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        store.append(
            [
                run_started(run_id="digits"),
                ev.PhaseStarted(step="serial", phase="serial"),
                given_network("i-0001", ap=0.4),
                *trainings("s-1", "i-0001", aps=(0.25, 0.26), morphisms=("continue",)),
                *trainings("s-2", "s-1", ap=0.3, morphisms=("continue",)),
                *trainings("s-3", "s-1", ap=0.5, refused={"duplicate": 4}),
                ev.CandidateRuledOut(candidate_id="s-3", limit="latency", measured=23.1, allowed=20),
                proposed("s-4", "s-1"),
            ],
            NOON,
        )
    return str(tmp_path)


def test_the_lineage_begins_with_what_was_given(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    lineage(run, None, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "lineage of run digits (simulated)",
        "i-0001 b_11-21_0-0 given (resnet50.pth, AP 0.400 there)",
        "└─ s-1 b_11-21_0-0 AP 0.255 by continue",
        "   ├─ s-2 b_11-21_0-0 AP 0.300 by continue",
        "   ├─ s-3 b_11-21_0-0 AP 0.500 ruled out (latency 23.1 > 20) by expand(0@1 +1)",
        "   └─ s-4 b_11-21_0-0 proposed by expand(0@1 +1)",
    ]


def test_the_lineage_of_an_audit_says_what_is_audited_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audit = {"step": "audit", "phase": "audit", "audited_id": "s-7"}
    child = given_network("s-7", "s-3", source="runs/x", ap=0.5, morphisms=("add_stage",))
    given = [given_network("s-3", "s-1", source="runs/x"), child]
    trained = [*trainings("a-1", ap=0.2, **audit), *trainings("a-2", "s-3", ap=0.4, inherit="backbone", **audit)]
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        store.append([run_started(), *given, *trained], NOON)
    lineage(str(tmp_path), None, as_json=False)
    assert set(capsys.readouterr().out.splitlines()[1:]) == {
        "a-1 b_11-21_0-0 AP 0.200, audits s-7 from scratch",
        "s-3 b_11-21_0-0 given (runs/x)",
        "├─ a-2 b_11-21_0-0 AP 0.400, audits s-7 with the backbone alone by expand(0@1 +1)",
        "└─ s-7 b_11-21_0-0 given (runs/x, AP 0.500 there) by add_stage",
    }


def test_the_status_tells_given_and_ruled_out_networks_from_results(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status(run, as_json=True)
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    (phase,) = facts["phases"]
    counts = ("candidates", "trained", "ruled_out", "controls", "refused", "best_ap")
    assert [phase[count] for count in counts] == [3, 2, 1, 1, 4, 0.255]
    assert [(one["candidate_id"], one["source"]) for one in facts["given"]] == [("i-0001", "resnet50.pth")]
    assert [one["candidate_id"] for one in facts["best"]] == ["s-1"]  # s-2 is a control
    assert [(one["candidate_id"], one["ruled_out"]) for one in facts["ruled_out"]] == [("s-3", "latency 23.1 > 20")]
    status(run, as_json=False)
    shown = capsys.readouterr().out
    assert "resnet50.pth" in shown
    assert "controls" in shown
    assert "abandoned" not in shown  # nothing was


def test_counts_of_what_never_happened_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        store.append([run_started(), ev.PhaseStarted(step="serial", phase="serial"), *trainings("s-1", ap=0.2)], NOON)
    status(str(tmp_path), as_json=False)
    shown = capsys.readouterr().out
    assert not [word for word in ("ruled", "abandoned", "controls", "refused", "given") if word in shown]


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A run that began at noon (UTC), trained one network within an hour, and was stopped then."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        store.append([run_started(), proposed("s-1"), assigned("j-1", "s-1"), epoch("j-1")], NOON)
        store.append([finished("j-1"), proposed("s-2", "s-1")], NOON + timedelta(minutes=30))
        store.append([ev.RunStopped(reason="interrupted")], NOON + timedelta(hours=1))
    yield str(tmp_path)
    monkeypatch.undo()
    time.tzset()


def test_the_status_of_then_is_of_the_past_and_no_process_has_to_do_with_it(
    stopped: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status(stopped, as_json=False, at="4")
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == "run r: as of event 4, 2024-05-01 12:00:00+00:00: running, simulated"
    assert [line for line in rest if "cpu:0" in line and "j-1" in line]
    status(stopped, as_json=True, at="2024-05-01T12:59")
    facts = json.loads(capsys.readouterr().out)
    assert facts["as_of"] == {"seq": 6, "ts": "2024-05-01T12:30:00+00:00"}
    assert (facts["status"], facts["process"], facts["running"]) == ("running", None, [])
    status(stopped, as_json=False, at="2024-05-02")
    first = capsys.readouterr().out.splitlines()[0]
    assert first == "run r: as of event 7, 2024-05-01 13:00:00+00:00: stopped (interrupted), simulated"


def test_the_status_of_now_is_of_no_moment(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    status(stopped, as_json=True)
    assert json.loads(capsys.readouterr().out)["as_of"] is None


def test_the_lineage_of_then_has_no_later_network(stopped: str, capsys: pytest.CaptureFixture[str]) -> None:
    lineage(stopped, None, as_json=False, at="5")
    assert capsys.readouterr().out.splitlines() == [
        "lineage of run r (simulated), as of event 5, 2024-05-01 12:30:00+00:00",
        "s-1 b_11-21_0-0 AP 0.250",
    ]
    lineage(stopped, "s-1", as_json=True, at="5")
    facts = json.loads(capsys.readouterr().out)
    assert (facts["as_of"]["seq"], facts["descendants"]) == (5, [])
    with pytest.raises(UnknownCandidate):
        lineage(stopped, "s-2", as_json=True, at="5")


def test_a_fork_says_where_it_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        store.append([run_started(), ev.RunForked(source="/runs/a", at_seq=1, by="x"), ev.RunResumed()], NOON)
    status(str(tmp_path), as_json=False)
    assert capsys.readouterr().out.splitlines()[0].endswith(", simulated, forked from /runs/a at event 1")
