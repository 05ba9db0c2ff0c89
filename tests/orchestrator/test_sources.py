"""Runs, records and codes from outside become the networks that a run is given."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elsewhere import best_of, given, log_of, starting_from, the_one, write_run
from given import TRAINER, configuration, folded, run_started

from lineage.architecture import Genotype
from lineage.cost import cost
from lineage.events import (
    CandidateProposed,
    CandidateRuledOut,
    Event,
    JobFinished,
    RunStarted,
    WorkerStarted,
)
from lineage.morphism import Blueprint
from orchestrator.config import RunConfig
from orchestrator.config_faults import parse_config
from orchestrator.errors import ConfigError, RunError
from orchestrator.refetch import refetch
from orchestrator.run_folder import RunFolder
from orchestrator.search.decide import plan
from orchestrator.search.state import rank
from orchestrator.sources import given_networks

VEGA_RECORD = """arch,worker_id,pre_arch,pre_worker_id,t_start,t_end,t_eclapsed,memory,fps,mAP
r_111-2111-211111-211_0-0-0-0,1,111-2111-211111-211,-1,2020-08-01_10:00:00,2020-08-01_11:00:00, 1:00:00,4000,9.1,0.31
r_11-2111-211111-2111_0-0-0-0,2,111-2111-211111-211,1,2020-08-01_11:00:00,2020-08-01_12:00:00, 1:00:00,4100,8.7,0.334
r_111-2111-21111-2111_0-0-0-0,3,111-2111-211111-211,1,2020-08-01_12:00:00,2020-08-01_13:00:00, 1:00:00,0,-1,-1
"""


@pytest.mark.parametrize(
    ("source", "step"),
    [("old", "parallel"), ("{}/old", "parallel"), ("old/s.csv", "serial"), ("./old/p.csv", "parallel")],
)
def test_a_run_gives_the_best_network_of_its_last_search_or_of_the_record_that_is_named(
    tmp_path: Path, old_run: RunFolder, old_log: list[Event], source: str, step: str
):
    best = folded(old_log).candidates[best_of(old_log, step)]
    network = the_one(starting_from(source.format(tmp_path)), tmp_path)
    assert network.candidate_id == "i-0001"
    assert (network.step, network.phase, network.source) == ("a", "serial", source.format(tmp_path))
    assert network.code == best.blueprint.genotype.code
    assert network.block_ids == best.blueprint.block_ids
    assert (network.ap, network.base_width, network.ignition) == (best.ap, best.base_width, best.ignition)
    assert network.checkpoint == best.checkpoint


def test_its_weights_lie_in_the_new_run_afterwards(tmp_path: Path, old_run: RunFolder):
    network = the_one(starting_from("old"), tmp_path)
    name = f"{network.checkpoint}.safetensors"
    assert (tmp_path / "new" / "checkpoints" / name).samefile(old_run.checkpoints / name)
    assert the_one(starting_from("old"), tmp_path) == network


def test_its_weights_are_copied_where_they_can_not_be_linked(
    tmp_path: Path, old_run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError("another device")

    monkeypatch.setattr("os.link", refuse)
    network = the_one(starting_from("old"), tmp_path)
    (copy,) = (tmp_path / "new" / "checkpoints").iterdir()
    assert copy.read_text() == (old_run.checkpoints / f"{network.checkpoint}.safetensors").read_text()
    assert copy.name == f"{network.checkpoint}.safetensors"


def test_a_run_may_be_one_in_runs(tmp_path: Path, old_log: list[Event], monkeypatch: pytest.MonkeyPatch):
    write_run(tmp_path / "here" / "runs" / "first", old_log)
    monkeypatch.chdir(tmp_path / "here")
    assert the_one(starting_from("first"), tmp_path).ap == folded(old_log).candidates[best_of(old_log, "parallel")].ap
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


def test_a_live_run_may_be_started_from(tmp_path: Path, old_run: RunFolder, old_log: list[Event]):
    script = (
        "import sys, time; from pathlib import Path; from lineage.store import EventStore\n"
        f"with EventStore.open(Path({str(old_run.database)!r})):\n    print('open', flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "open\n"
        assert the_one(starting_from("old"), tmp_path).ap == folded(old_log).candidates[best_of(old_log, "parallel")].ap
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


def test_a_simulated_run_touches_no_weights(tmp_path: Path, old_run: RunFolder):
    for file in old_run.checkpoints.iterdir():
        file.unlink()
    assert the_one(starting_from("old"), tmp_path, simulate=True).checkpoint is not None
    assert not (tmp_path / "new").exists()


def test_weights_that_are_gone_are_named(tmp_path: Path, old_run: RunFolder):
    for file in old_run.checkpoints.iterdir():
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


def test_a_record_that_lies_in_a_run_folder_but_is_not_its_own_stands_for_itself(tmp_path: Path, old_run: RunFolder):
    (old_run.path / "mine.csv").write_text(VEGA_RECORD)
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


def test_a_full_training_may_start_from_a_run(tmp_path: Path, old_run: RunFolder):
    raw = {"pipeline": ["a"], "a": {"trainer": {**TRAINER, "model_desc_file": "old"}}}
    network = the_one(parse_config(raw, "test"), tmp_path)
    assert network.phase == "fullytrain"
    assert network.checkpoint is not None
    with pytest.raises(ConfigError, match=r"a\.trainer\.model_desc_file: 'other' is no run"):
        given(parse_config({**raw, "a": {"trainer": {**TRAINER, "model_desc_file": "other"}}}, "test"), tmp_path)


def test_a_search_goes_on_from_what_it_is_given(tmp_path: Path, old_run: RunFolder):
    config = starting_from("old")
    network = the_one(config, tmp_path)
    started = RunStarted(run_id="r", seed=0, simulated=True, slots=1, window=1, config=config.to_mapping())
    first = next(
        event
        for event in plan(folded([started, network, WorkerStarted(device="sim:0", name="x")]))
        if isinstance(event, CandidateProposed)
    )
    assert (first.parent_id, first.code, first.block_ids) == ("i-0001", network.code, network.block_ids)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: (file.unlink(), file.write_bytes(b"damaged"))])
def test_given_weights_that_are_lost_are_fetched_again(
    tmp_path: Path, old_run: RunFolder, damage: Callable[[Path], Any]
):
    new = RunFolder(tmp_path / "new")
    started = run_started(configuration(last_search_result=str(old_run.path)))
    (event,) = given_networks(RunConfig.model_validate(started.config), tmp_path, new.checkpoints, simulate=False)
    state = folded([started, event])
    file = new.checkpoints / f"{event.checkpoint}.safetensors"
    whole = file.read_bytes()
    damage(file)
    refetch(new, state, tmp_path)
    assert file.read_bytes() == whole
    shutil.rmtree(old_run.path)
    damage(file)
    refetch(new, state, tmp_path)
    assert not file.exists()
