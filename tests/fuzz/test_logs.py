"""Any payload is an event or refused, and any log is a run that can be looked at or an error of ours."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from elsewhere import log_of, write_run
from given import configuration
from hostile import VALUES, mutated, mutated_bytes, refusal, tries
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from lineage.architecture import LineageError
from lineage.events import MAX_PAYLOAD_BYTES, JobFinished, Recorded, from_json, to_json
from lineage.store import EventStore
from orchestrator import inspection, requests
from orchestrator.drive import Watchers
from orchestrator.errors import RunError, UserError
from orchestrator.forking import fork_at
from orchestrator.fsck import examine, rebuild
from orchestrator.history import followed
from orchestrator.launch import resume_run
from orchestrator.outside import hand_over, open_run, result_of
from orchestrator.run_folder import RunFolder, find_run
from orchestrator.search.control import Reignite
from orchestrator.search.state import SearchState
from orchestrator.why import why

REIGNITE = {"n_stuck": 2, "min_delta": 0.01, "max_reignitions": 1, "data": "d"}
LOG = log_of(configuration(reignite=REIGNITE, max_sample=5), real=False)
PAYLOADS = [json.loads(to_json(event)) for event in LOG]
LIKELY = st.sampled_from(
    [
        "s-0001",
        "s-0002",
        "s-9999",
        "r-0001",
        "serial",
        "x",
        "",
        None,
        0,
        1,
        2,
        -1,
        0.5,
        10**12,
        10**30,
        [],
        {},
        ["s"],
        True,
    ]
)


@tries(500)
@given(st.binary(max_size=100) | st.text(max_size=100) | VALUES.map(json.dumps))
def test_any_payload(payload: str | bytes):
    with pytest.raises(ValidationError):
        from_json(payload)


@tries(500)
@given(
    st.sampled_from(PAYLOADS).flatmap(lambda good: mutated(good, VALUES | LIKELY)).map(json.dumps)
    | st.sampled_from(PAYLOADS).flatmap(lambda good: mutated_bytes(json.dumps(good).encode()))
)
def test_a_mutated_payload_is_an_event_that_reads_back_or_is_refused(payload: str | bytes):
    with contextlib.suppress(ValidationError):
        event = from_json(payload)
        assert to_json(from_json(to_json(event))) == to_json(event)


def test_a_payload_longer_than_any_event_is_refused_unread():
    with pytest.raises(ValidationError, match="16777217 bytes, an event has at most 16777216") as caught:
        from_json(b" " * (MAX_PAYLOAD_BYTES + 1))
    assert len(str(caught.value)) < 500
    with pytest.raises(ValidationError):
        from_json("[" * 1_000_000)


@st.composite
def mutated_logs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The payloads of a run with one event changed, gone, repeated, or at another place."""
    payloads = list(PAYLOADS)
    at = draw(st.integers(0, len(payloads) - 1))
    match draw(st.sampled_from(["value", "gone", "elsewhere", "again"])):
        case "value":
            key = draw(st.sampled_from(sorted(payloads[at].keys() - {"kind"}) or ["kind"]))
            payloads[at] = payloads[at] | {key: draw(LIKELY)}
        case "gone":
            del payloads[at]
        case "elsewhere":
            payloads.insert(draw(st.integers(0, len(payloads) - 1)), payloads.pop(at))
        case _:
            payloads.insert(draw(st.integers(0, len(payloads))), payloads[at])
    return payloads


@tries(250)
@given(mutated_logs())
def test_a_log_that_does_not_hang_together_is_an_error_of_ours(payloads: list[dict[str, Any]]):
    states = [SearchState()]

    def follow() -> None:
        for seq, payload in enumerate(payloads, 1):
            event = from_json(json.dumps(payload))
            recorded = Recorded(seq=seq, event_id="e", ts=datetime.now(UTC), event=event)
            states.append(followed(states[-1], recorded, "r"))

    said = refusal((ValidationError, RunError), follow)
    assert said or len(states) == len(payloads) + 1
    assert "Traceback" not in said
    known = {*states[-1].candidates, *states[-1].reignitions}
    assert known >= set(states[-1].open_subjects)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("logs") / "run", LOG)


LOOKS: list[Callable[[RunFolder], object]] = [
    lambda run: find_run(str(run.path)),
    lambda run: inspection.status(str(run.path), as_json=True),
    lambda run: inspection.status(str(run.path), as_json=False),
    lambda run: inspection.lineage(str(run.path), None, as_json=False),
    lambda run: inspection.lineage(str(run.path), "s-0003", as_json=True),
    lambda run: why(str(run.path), "s-0003", as_json=False),
    lambda run: why(str(run.path), "r-0001", as_json=False),
    lambda run: inspection.status(str(run.path), as_json=True, at="9"),
    lambda run: inspection.lineage(str(run.path), None, as_json=False, at="1d ago"),
    lambda run: fork_at(run, 9),
    lambda run: requests.ask(str(run.path), Reignite(), as_json=False),
    lambda run: result_of(open_run(run.path)),
    examine,
    lambda run: rebuild(str(run.path)),
    lambda run: inspection.status(str(run.path), as_json=True),
    lambda run: why(str(run.path), "s-0003", as_json=True),
    lambda run: resume_run(run, Watchers()),
]


@tries(4)
@given(mutated_logs(), st.lists(st.sampled_from(LOOKS), min_size=4, max_size=4))
@example([{"kind": "RunResumed"}, *PAYLOADS[1:]], LOOKS)
@example([one for one in PAYLOADS if one.get("candidate_id") != "s-0001"], LOOKS)
@example([one | {"parent_id": "s-0003"} if one.get("candidate_id") == "s-0003" else one for one in PAYLOADS], LOOKS)
def test_a_run_whose_log_was_changed_can_be_looked_at_or_says_what_is_wrong(
    run: RunFolder,
    tmp_path_factory: pytest.TempPathFactory,
    payloads: list[dict[str, Any]],
    looks: list[Callable[[RunFolder], object]],
):
    copy = RunFolder(tmp_path_factory.mktemp("copy"))
    shutil.copytree(run.path, copy.path, dirs_exist_ok=True)
    with duckdb.connect(str(copy.database)) as connection:
        connection.execute("DELETE FROM events")
        rows = [{"n": n, "kind": one["kind"], "payload": json.dumps(one)} for n, one in enumerate(payloads, 1)]
        connection.execute(
            "INSERT INTO events SELECT n, format('e-{:08d}', n), TIMESTAMP '2024-01-01', kind, 1, payload FROM (SELECT "
            """unnest(from_json(?, '[{"n": "BIGINT", "kind": "VARCHAR", "payload": "VARCHAR"}]'), max_depth := 2))""",
            [json.dumps(rows)],
        )
    for look in looks:
        assert refusal((UserError, LineageError), lambda look=look: look(copy)) != "nothing is said"
    shutil.rmtree(copy.path)


@pytest.mark.parametrize("name", ["../../secret", "a\0b", "C" * 64])
def test_a_checkpoint_whose_name_leads_elsewhere_is_a_fault_and_not_read(tmp_path: Path, name: str):
    log = [one.model_copy(update={"checkpoint": name}) if isinstance(one, JobFinished) else one for one in LOG]
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    with EventStore.create(folder.database) as store:
        store.append([log[0].model_copy(update={"simulated": False}), *log[1:]], datetime(2024, 1, 1, tzinfo=UTC))
    faults = examine(folder).faults
    assert faults
    assert all("expected its sha256" in fault for fault in faults)
    with pytest.raises(RunError, match="are gone"):
        hand_over(open_run(folder.path), result_of(open_run(folder.path)), tmp_path / "new")


@tries(15)
@given(st.data())
def test_a_database_with_other_bytes_can_be_opened_or_is_refused(
    run: RunFolder, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    copy = tmp_path_factory.mktemp("bytes") / "lineage.duckdb"
    copy.write_bytes(data.draw(mutated_bytes(run.database.read_bytes())))
    seqs: list[int] = []

    def look() -> None:
        with EventStore.open(copy) as store:
            seqs.extend(recorded.seq for recorded in store.read())
            store.query("FROM leaderboard")

    assert refusal(LineageError, look) != "nothing is said"
    assert seqs == list(range(1, len(seqs) + 1))
    shutil.rmtree(copy.parent)
