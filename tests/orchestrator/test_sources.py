"""Runs, records, weights and codes from outside become the networks that a run is given."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from given import SPACE, TRAINER, configuration, folded, network_given, of, run_started, search

from lineage.architecture import Genotype
from lineage.cost import cost
from lineage.events import (
    CandidateProposed,
    CandidateRuledOut,
    Event,
    JobAssigned,
    JobFailed,
    JobFinished,
    NetworkGiven,
    PhaseFinished,
    RunStarted,
    WorkerStarted,
)
from lineage.morphism import Blueprint
from lineage.store import EventStore
from orchestrator.config import RunConfig
from orchestrator.config_file import parse_config
from orchestrator.errors import ConfigError, RunError
from orchestrator.jobs import job_of
from orchestrator.run_folder import RunFolder
from orchestrator.search.decide import plan
from orchestrator.search.state import rank
from orchestrator.sources import given_networks

VEGA_RECORD = """arch,worker_id,pre_arch,pre_worker_id,t_start,t_end,t_eclapsed,memory,fps,mAP
r_111-2111-211111-211_0-0-0-0,1,111-2111-211111-211,-1,2020-08-01_10:00:00,2020-08-01_11:00:00, 1:00:00,4000,9.1,0.31
r_11-2111-211111-2111_0-0-0-0,2,111-2111-211111-211,1,2020-08-01_11:00:00,2020-08-01_12:00:00, 1:00:00,4100,8.7,0.334
r_111-2111-21111-2111_0-0-0-0,3,111-2111-211111-211,1,2020-08-01_12:00:00,2020-08-01_13:00:00, 1:00:00,0,-1,-1
"""


def log_of(config: dict[str, Any] | None = None, real: bool = True, **how: Any) -> list[Event]:
    """The log of a search, as a real run's: its checkpoints are called simulated-s-0001 and so on."""
    log = search(config or configuration(), **how)
    return [log[0].model_copy(update={"simulated": not real}), *log[1:]]


def write_run(path: Path, log: Sequence[Event]) -> RunFolder:
    """A run folder of that log, with a file for every checkpoint."""
    folder = RunFolder(path)
    folder.checkpoints.mkdir(parents=True)
    for event in of(log, JobFinished):
        (folder.checkpoints / f"{event.checkpoint}.safetensors").write_text(event.job_id)
    with EventStore.create(folder.database) as store:
        store.append(log, datetime(2024, 1, 1, tzinfo=UTC))
    return folder


def starting_from(source: str | None, level: str = "serial", space: dict[str, Any] | None = None) -> RunConfig:
    """One search step that starts from a source."""
    algorithm = {"sample_level": level, "last_search_result": source}
    step = {"search_algorithm": algorithm, "search_space": {**SPACE, **(space or {})}, "trainer": TRAINER}
    return parse_config({"pipeline": ["a"], "a": step}, "test")


def given(config: RunConfig, folder: Path, simulate: bool = False) -> list[NetworkGiven]:
    return given_networks(config, folder, folder / "new" / "checkpoints", simulate)


def the_one(config: RunConfig, folder: Path, simulate: bool = False) -> NetworkGiven:
    (network,) = given(config, folder, simulate)
    return network


def best_of(log: Sequence[Event], step: str) -> str:
    """The candidate that a step ended with."""
    (end,) = [event for event in of(log, PhaseFinished) if event.step == step]
    assert end.best_candidate_id is not None
    return end.best_candidate_id


@pytest.fixture(scope="module")
def log() -> list[Event]:
    return log_of()


@pytest.fixture
def run(tmp_path: Path, log: list[Event]) -> RunFolder:
    """A finished run of three steps, with weights."""
    return write_run(tmp_path / "old", log)


@pytest.mark.parametrize(
    ("source", "step"),
    [("old", "parallel"), ("{}/old", "parallel"), ("old/s.csv", "serial"), ("./old/p.csv", "parallel")],
)
def test_a_run_gives_the_best_network_of_its_last_search_or_of_the_record_that_is_named(
    tmp_path: Path, run: RunFolder, log: list[Event], source: str, step: str
):
    best = folded(log).candidates[best_of(log, step)]
    network = the_one(starting_from(source.format(tmp_path)), tmp_path)
    assert network.candidate_id == "i-0001"
    assert (network.step, network.phase, network.source) == ("a", "serial", source.format(tmp_path))
    assert network.code == best.blueprint.genotype.code
    assert network.block_ids == best.blueprint.block_ids
    assert (network.ap, network.base_width, network.ignition) == (best.ap, best.base_width, best.ignition)
    assert network.checkpoint == best.checkpoint


def test_its_weights_lie_in_the_new_run_afterwards(tmp_path: Path, run: RunFolder):
    network = the_one(starting_from("old"), tmp_path)
    name = f"{network.checkpoint}.safetensors"
    assert (tmp_path / "new" / "checkpoints" / name).samefile(run.checkpoints / name)
    assert the_one(starting_from("old"), tmp_path) == network


def test_its_weights_are_copied_where_they_can_not_be_linked(
    tmp_path: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError("another device")

    monkeypatch.setattr("os.link", refuse)
    network = the_one(starting_from("old"), tmp_path)
    (copy,) = (tmp_path / "new" / "checkpoints").iterdir()
    assert copy.read_text() == (run.checkpoints / f"{network.checkpoint}.safetensors").read_text()
    assert copy.name == f"{network.checkpoint}.safetensors"


def test_a_run_may_be_one_in_runs(tmp_path: Path, log: list[Event], monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "here" / "runs" / "first", log)
    monkeypatch.chdir(tmp_path / "here")
    assert the_one(starting_from("first"), tmp_path).ap == folded(log).candidates[best_of(log, "parallel")].ap
    with pytest.raises(
        ConfigError, match=r"a.search_algorithm.last_search_result: 'frist' is no run.*runs there: first"
    ):
        given(starting_from("frist"), tmp_path)


def test_a_run_that_has_not_ended_gives_the_best_that_it_has(tmp_path: Path):
    log = log_of(until=4)
    write_run(tmp_path / "old", log)
    trained = [one for one in folded(log).candidates.values() if one.outcome == "done"]
    assert len(trained) > 1
    assert the_one(starting_from("old"), tmp_path).code == min(trained, key=rank).blueprint.genotype.code


def test_a_live_run_may_be_started_from(tmp_path: Path, run: RunFolder, log: list[Event]):
    script = (
        "import sys, time; from pathlib import Path; from lineage.store import EventStore\n"
        f"with EventStore.open(Path({str(run.database)!r})):\n    print('open', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        assert the_one(starting_from("old"), tmp_path).ap == folded(log).candidates[best_of(log, "parallel")].ap
        owner.communicate("")


def test_what_is_ruled_out_or_a_control_is_no_source(tmp_path: Path):
    log = log_of(configuration(paired=True), until=6)
    trained = sorted((one for one in folded(log).candidates.values() if one.outcome == "done"), key=rank)
    controls = [one for one in trained if one.morphisms == ("continue",)]
    assert controls
    best = next(one for one in trained if one not in controls)
    log.append(CandidateRuledOut(candidate_id=best.candidate_id, limit="latency", measured=9, allowed=1))
    write_run(tmp_path / "old", log)
    second = next(one for one in trained if one not in controls and one is not best)
    assert the_one(starting_from("old"), tmp_path).checkpoint == second.checkpoint


@pytest.mark.parametrize(
    ("until", "source", "expected"),
    [
        (0, "old", r"run .*old has no trained network to start from: wait until it has, or name another"),
        (2, "old/p.csv", r"run .*old has no trained network of step parallel to start from"),
    ],
)
def test_a_run_without_a_trained_network_says_so(tmp_path: Path, until: int, source: str, expected: str):
    write_run(tmp_path / "old", log_of(until=until))
    with pytest.raises(RunError, match=expected):
        given(starting_from(source), tmp_path)


def test_a_simulated_run_gives_no_weights_but_to_a_simulated_one(tmp_path: Path):
    write_run(tmp_path / "old", log_of(real=False))
    with pytest.raises(
        RunError, match=r"has no weights, since the run was simulated: name a real run, or give the code b_"
    ):
        given(starting_from("old"), tmp_path)
    assert the_one(starting_from("old"), tmp_path, simulate=True).checkpoint is not None


def test_a_simulated_run_touches_no_weights(tmp_path: Path, run: RunFolder):
    for file in run.checkpoints.iterdir():
        file.unlink()
    assert the_one(starting_from("old"), tmp_path, simulate=True).checkpoint is not None
    assert not (tmp_path / "new").exists()


def test_weights_that_are_gone_are_named(tmp_path: Path, run: RunFolder):
    for file in run.checkpoints.iterdir():
        file.unlink()
    with pytest.raises(
        RunError, match=r"the weights of [sp]-\d+ of run .*old are gone .*restore that file, or start from"
    ):
        given(starting_from("old"), tmp_path)


def test_a_checkpoint_whose_name_leads_elsewhere_is_not_followed(tmp_path: Path):
    log = [
        event.model_copy(update={"checkpoint": "../../secret"}) if isinstance(event, JobFinished) else event
        for event in log_of()
    ]
    write_run(tmp_path / "old", log)
    assert (tmp_path / "secret.safetensors").exists()
    with pytest.raises(RunError, match="are gone"):
        given(starting_from("old"), tmp_path)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ([], "was killed before it began"),
        ([WorkerStarted(device="cpu:0", name="x")], "was killed before it began"),
        ([run_started(configuration()).model_copy(update={"config": {"a": 1}})], "another version of spnas-orch"),
    ],
)
def test_a_run_that_can_not_be_understood_says_why(tmp_path: Path, log: list[Event], expected: str):
    write_run(tmp_path / "old", log)
    with pytest.raises(RunError, match=expected):
        given(starting_from("old"), tmp_path)


def test_a_store_that_is_none_says_so(tmp_path: Path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "lineage.duckdb").write_bytes(b"no database" * 4000)
    with pytest.raises(RunError, match=r"run .*old can't be read: "):
        given(starting_from("old"), tmp_path)


def test_a_record_alone_gives_its_best_network_without_weights(tmp_path: Path):
    (tmp_path / "total_list_s.csv").write_text(VEGA_RECORD)
    network = the_one(starting_from("total_list_s.csv"), tmp_path)
    assert network.code == "r_11-2111-211111-2111_0-0-0-0"
    assert (network.ap, network.checkpoint, network.base_width) == (0.334, None, 16)
    assert network.block_ids == Blueprint.seed(Genotype.parse(network.code), "i-0001").block_ids
    predicted = cost(Genotype.parse(network.code), 16, (96, 96), 32)
    assert (network.params, network.flops) == (predicted.params, predicted.flops)


def test_a_record_that_lies_in_a_run_folder_but_is_not_its_own_stands_for_itself(tmp_path: Path, run: RunFolder):
    (run.path / "mine.csv").write_text(VEGA_RECORD)
    assert the_one(starting_from("old/mine.csv"), tmp_path).checkpoint is None


def test_a_network_that_the_step_can_not_start_from_is_refused_with_the_reason(tmp_path: Path):
    (tmp_path / "v.csv").write_text(VEGA_RECORD)
    with pytest.raises(
        ConfigError, match=r"a can't start from v.csv: r_.* has 16 blocks, more than search_space.max_bl"
    ):
        given(starting_from("v.csv", space={"max_blocks": 12}), tmp_path)
    with pytest.raises(ConfigError, match=r"more than search_space.limits.params 900"):
        given(starting_from("v.csv", space={"limits": {"params": 900}}), tmp_path)
    (tmp_path / "wide.csv").write_text("arch,mAP\nr_1222222222222-1_0-0,0.5\n")
    with pytest.raises(ConfigError, match=r"channels, at most 65536"):
        given(starting_from("wide.csv"), tmp_path)


@pytest.mark.parametrize("source", ["none.csv", "none", "\0", "9" * 5000, ".", "/", "new/none.csv"])
def test_a_source_that_is_not_there_is_named_with_what_was_expected(tmp_path: Path, source: str):
    with pytest.raises(ConfigError, match=r"is no run folder and no record \(total_list_\*.csv\), neither in "):
        given(starting_from(source), tmp_path)


def test_the_record_of_an_earlier_step_means_that_step(tmp_path: Path):
    (tmp_path / "s.csv").write_text(VEGA_RECORD)
    raw = configuration()
    raw["parallel"]["search_algorithm"]["last_search_result"] = "s.csv"
    assert given(parse_config(raw, "test"), tmp_path) == []


def test_a_code_alone_is_given_only_where_it_is_to_be_reignited(tmp_path: Path):
    assert given(starting_from(None), tmp_path) == []
    raw = configuration(reignite={"data": "d"}, regnition=True)
    raw["fullytrain"] = {
        "trainer": {**TRAINER, "model_desc": "b_1-1_0-0", "regnition": True},
        "search_space": {"base_width": 8},
    }
    start, described = given(parse_config(raw, "test"), tmp_path)
    assert (start.candidate_id, start.source, start.checkpoint) == ("i-0001", "search_space.start", None)
    assert (described.candidate_id, described.source, described.code) == ("i-0002", "trainer.model_desc", "b_1-1_0-0")
    assert (described.phase, described.base_width) == ("fullytrain", 8)


def test_a_full_training_may_start_from_a_run(tmp_path: Path, run: RunFolder):
    raw = {"pipeline": ["a"], "a": {"trainer": {**TRAINER, "model_desc_file": "old"}}}
    network = the_one(parse_config(raw, "test"), tmp_path)
    assert network.phase == "fullytrain"
    assert network.checkpoint is not None
    with pytest.raises(ConfigError, match=r"a\.trainer\.model_desc_file: 'other' is no run"):
        given(parse_config({**raw, "a": {"trainer": {**TRAINER, "model_desc_file": "other"}}}, "test"), tmp_path)


def test_a_search_goes_on_from_what_it_is_given(tmp_path: Path, run: RunFolder):
    config = starting_from("old")
    network = the_one(config, tmp_path)
    started = RunStarted(run_id="r", seed=0, simulated=True, slots=1, window=1, config=config.to_mapping())
    first = next(
        event
        for event in plan(folded([started, network, WorkerStarted(device="sim:0", name="x")]))
        if isinstance(event, CandidateProposed)
    )
    assert (first.parent_id, first.code, first.block_ids) == ("i-0001", network.code, network.block_ids)


WEIGHTS = {"start": "r_1-2_0-0", "weights": "in/resnet.pth"}


class Answering:
    """In place of the process that reads weights: what it was asked, and what it says."""

    def __init__(self, stdout: str, returncode: int = 0, stderr: str = "") -> None:
        self.result = subprocess.CompletedProcess([], returncode, stdout, stderr)
        self.command: list[str] = []

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.command = command
        return self.result


def reading_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answering: Answering) -> list[NetworkGiven]:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "resnet.pth").write_text("weights")
    monkeypatch.setattr("subprocess.run", answering)
    return given(starting_from(None, space=WEIGHTS), tmp_path)


def test_a_file_of_weights_is_read_by_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    answering = Answering("loading\n" + json.dumps({"ok": True, "checkpoint": "c" * 64}))
    (network,) = reading_weights(tmp_path, monkeypatch, answering)
    assert (network.source, network.code, network.checkpoint) == ("resnet.pth", "r_1-2_0-0", "c" * 64)
    file, folder = tmp_path / "in" / "resnet.pth", tmp_path / "new" / "checkpoints"
    assert answering.command[1:] == ["-P", "-m", "trainers.weights", str(file), "r_1-2_0-0", "16", str(folder)]


@pytest.mark.parametrize(
    ("answering", "expected"),
    [
        (
            Answering(json.dumps({"ok": False, "error": "layer4 is missing"})),
            "a.search_space.weights: layer4 is missing",
        ),
        (Answering("", 137, "x\nKilled"), r"ended its process \(exit code 137\): Killed"),
        (Answering("no JSON", 1), r"ended its process \(exit code 1\)"),
    ],
)
def test_weights_that_can_not_be_used_are_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answering: Answering, expected: str
):
    with pytest.raises(ConfigError, match=expected):
        reading_weights(tmp_path, monkeypatch, answering)


def test_weights_that_are_not_there_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"a.search_space.weights: .*in/resnet.pth does not exist"):
        given(starting_from(None, space=WEIGHTS), tmp_path)


def test_a_simulated_run_reads_no_weights_but_their_file_has_to_be_there(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"a\.search_space\.weights: .*resnet\.pth does not exist"):
        the_one(starting_from(None, space=WEIGHTS), tmp_path, simulate=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "resnet.pth").write_text("never read")
    network = the_one(starting_from(None, space=WEIGHTS), tmp_path, simulate=True)
    assert network.source == "resnet.pth"
    assert network.checkpoint is not None


def audit(*candidates: str, run: str = "old") -> RunConfig:
    step = {"audit": {"run": run, "candidates": list(candidates)}, "search_space": SPACE, "trainer": TRAINER}
    return parse_config({"pipeline": ["check"], "check": step}, "test")


def test_an_audit_is_given_its_candidates_and_their_parents_once_each_under_their_own_names(
    tmp_path: Path, run: RunFolder, log: list[Event]
):
    state = folded(log)
    children = [one for one in state.candidates.values() if one.parent_id is not None and one.phase == "serial"]
    parents = {one.parent_id for one in children}
    networks = given(audit(*(one.candidate_id for one in reversed(children))), tmp_path)
    names = [network.candidate_id for network in networks]
    assert sorted(names) == sorted({one.candidate_id for one in children} | parents)
    for network in networks:
        theirs = state.candidates[network.candidate_id]
        assert (network.step, network.phase, network.source) == ("check", "audit", "old")
        assert (network.code, network.block_ids) == (theirs.blueprint.genotype.code, theirs.blueprint.block_ids)
        assert (network.ap, network.checkpoint, network.parent_id) == (theirs.ap, theirs.checkpoint, theirs.parent_id)
        assert network.morphisms == theirs.morphisms
        assert network.parent_id is None or names.index(network.parent_id) < names.index(network.candidate_id)
        assert (tmp_path / "new" / "checkpoints" / f"{network.checkpoint}.safetensors").exists()


def test_an_audited_parent_has_no_parent_that_is_not_given(tmp_path: Path, run: RunFolder, log: list[Event]):
    candidates = folded(log).candidates.values()
    ids = {one.candidate_id: one.parent_id for one in candidates if one.phase == "serial"}
    grandchild = next(one for one, parent in ids.items() if parent and ids[parent])
    parent, child = given(audit(grandchild), tmp_path)
    assert (parent.candidate_id, parent.parent_id, parent.morphisms) == (child.parent_id, None, ())


def test_an_audit_knows_the_seed_that_a_candidate_was_trained_from(tmp_path: Path):
    log = log_of(configuration(seeds_per_candidate=3, max_sample=3), until=12)
    write_run(tmp_path / "old", log)
    seeds = seeds_of_the_best(log)
    child = next(one for one, parent in parents_of(log).items() if parent and one in seeds)
    for network in given(audit(child), tmp_path):
        assert network.seed == seeds[network.candidate_id]


def test_a_training_that_failed_before_it_went_well_has_the_seed_of_the_last_attempt(tmp_path: Path):
    state, log = folded([]), []
    for event in log_of(until=6):
        if isinstance(event, JobAssigned) and event.subject_id == "s-0002" and event.attempt == 1:
            log += [event, JobFailed(job_id=event.job_id, attempt=1, fault="crash", message="killed")]
            event = event.model_copy(update={"attempt": 2})
        elif getattr(event, "job_id", None) == "j-s-0002":
            event = event.model_copy(update={"attempt": 2})
        log.append(event)
    write_run(tmp_path / "old", log)
    state = folded(log)
    assert state.candidates["s-0002"].outcome == "done"
    _, child = given(audit("s-0002"), tmp_path)
    assert child.seed == seeds_of_the_best(log)["s-0002"]


def parents_of(log: Sequence[Event]) -> dict[str, str | None]:
    return {one.candidate_id: one.parent_id for one in folded(log).candidates.values() if one.outcome == "done"}


def seeds_of_the_best(log: Sequence[Event]) -> dict[str, int]:
    """The seed in the job message of the training that each candidate's checkpoint is of."""
    assigned: dict[tuple[str, int], int] = {}
    seeds, state = {}, folded(log)
    for place, event in enumerate(log):
        if isinstance(event, JobAssigned):
            assigned[event.job_id, event.attempt] = job_of(folded(log[: place + 1]), event, Path()).seed
        if isinstance(event, JobFinished):
            job = state.jobs[event.job_id]
            candidate = state.candidates.get(job.subject_id)
            if candidate is not None and candidate.measurements[job.repeat].ap == max(
                one.ap for one in candidate.measurements.values()
            ):
                seeds.setdefault(job.subject_id, assigned[event.job_id, event.attempt])
    return seeds


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        ("s-0001", "not inherited from another candidate, so there is nothing to audit"),
        ("s-9999", "there is no such candidate"),
        ("i-0001", r"it was not trained there \(given\)"),
    ],
)
def test_what_can_not_be_audited_is_refused_with_the_reason(tmp_path: Path, candidate: str, expected: str):
    log = log_of(until=4)
    write_run(tmp_path / "old", [log[0], network_given("parallel"), *log[1:]])
    with pytest.raises(ConfigError, match=rf"check.audit.candidates: {candidate} of run .*old: .*{expected}"):
        given(audit(candidate), tmp_path)


def test_an_audit_of_no_run_names_those_there_are(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"check.audit.run: 'gone' is no run folder"):
        given(audit("s-0002", run="gone"), tmp_path)
