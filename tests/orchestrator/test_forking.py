"""A fork begins as another run was, decides as that one did, shares its weights, and changes nothing of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from elsewhere import log_in, log_of, write_run
from given import configuration, network_given
from histories import tables

from lineage.errors import NoSuchMoment
from lineage.events import Event, ReignitionRequested, RunForked, RunStarted
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from orchestrator import forking, launch
from orchestrator.config_file import load_config
from orchestrator.drive import Watchers
from orchestrator.errors import ConfigError, RunError, UserError
from orchestrator.executors.simulated import SimulatedExecutor
from orchestrator.forking import fork_at, settings
from orchestrator.fsck import examine
from orchestrator.launch import Plan, fork_run, resume_run, start_run
from orchestrator.outside import open_run, seed_of_training
from orchestrator.run_folder import RunFolder, find_run, has_begun, new_run

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "sp_nas.yml"
SHORT = (
    "serial.search_algorithm.max_sample=4",
    "serial.search_algorithm.reignite.n_stuck=1",
    "serial.search_algorithm.reignite.min_delta=0.9",
    "serial.search_algorithm.reignite.max_reignitions=1",
    "parallel.search_algorithm.max_sample=1",
    "fullytrain.trainer.epoch=1",
    "general.keep_checkpoints=1",
)
DECISIONS = (
    "SELECT candidate_id, arch, step, parent_id, reignition_id, ap, status FROM candidates ORDER BY ALL",
    "SELECT * FROM inheritance ORDER BY ALL",
    "SELECT reignition_id, candidate_id, accuracy, status FROM reignitions ORDER BY ALL",
    "SELECT step, status, reason, best_candidate_id FROM phases ORDER BY ALL",
    "SELECT status, reason, best_candidate_id FROM run",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished simulated run with a reignition, short enough to be forked at every event."""
    folder = RunFolder(tmp_path_factory.mktemp("source") / "run")
    plan = Plan(load_config(EXAMPLE, list(SHORT)), EXAMPLE.read_text(), EXAMPLE.parent, simulate=True)
    start_run(folder, plan, Watchers())
    return folder


def decided(folder: RunFolder) -> list[list[tuple[Any, ...]]]:
    with open_snapshot(folder.database) as store:
        return [store.query(query).rows for query in DECISIONS]


def contents(folder: RunFolder) -> dict[str, tuple[bytes, int]]:
    return {
        str(file): (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.path.rglob("*") if file.is_file()
    }


def test_forked_at_any_event_a_run_comes_to_what_it_came_to(source: RunFolder, tmp_path: Path) -> None:
    expected, log, before = decided(source), log_in(source), contents(source)
    assert expected[2], "nothing was reignited"
    for seq in range(1, len(log) + 1):
        folder = RunFolder(tmp_path / f"fork-{seq}")
        fork_run(folder, fork_at(source, seq), Watchers())
        assert decided(folder) == expected, seq
        forked = log_in(folder)
        assert [one.event for one in forked[1:seq]] == [one.event for one in log[1:seq]]
        assert [one.ts for one in forked[:seq]] == [one.ts for one in log[:seq]]
        assert forked[seq].event.kind == "RunForked"
        assert forked[seq].ts == log[seq - 1].ts
        assert seq == len(log) or forked[seq + 1].event.kind == "RunResumed"
        if seq % 4 == 0:  # it takes as long as all the rest
            assert examine(folder).faults == [], seq
        shutil.rmtree(folder.path)
    assert contents(source) == before


def test_the_tables_of_then_are_those_of_the_events_up_to_then_alone(source: RunFolder, tmp_path: Path) -> None:
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        for recorded in log_in(source):
            store.append([recorded.event], recorded.ts)
            if recorded.seq % 3:
                continue
            with open_snapshot(source.database, recorded.seq) as then:
                assert tables(then) == tables(store), recorded.seq


def test_only_the_name_of_the_run_changes_and_the_log_says_where_it_is_from(
    source: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "user_name", lambda: "somebody")
    folder = RunFolder(tmp_path / "other")
    heard: list[Event] = []
    replayed: list[Event] = []
    watchers = Watchers((lambda one: heard.append(one.event),), (lambda one: replayed.append(one.event),))
    request = ReignitionRequested(by="somebody")
    fork_run(folder, fork_at(source, 9), watchers, more=[request])
    before, log = log_in(source), [one.event for one in log_in(folder)]
    started = before[0].event
    assert isinstance(started, RunStarted)
    assert log[0] == started.model_copy(update={"run_id": "other"})
    assert log[9:11] == [RunForked(source=str(source.path), at_seq=9, by="somebody"), request]
    assert (replayed, heard) == (log[:9], log[9:])
    with open_snapshot(folder.database) as store:
        assert store.query("SELECT run_id, forked_from, forked_at_seq FROM run").rows == [
            ("other", str(source.path), 9)
        ]
    assert folder.config.read_bytes() == source.config.read_bytes()


def test_a_fork_can_be_forked_and_resumed(source: RunFolder, tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "first"), RunFolder(tmp_path / "second")
    fork_run(first, fork_at(source, 12), Watchers())
    fork_run(second, fork_at(first, 13), Watchers())
    resume_run(second, Watchers())
    assert decided(second) == decided(source)
    with open_snapshot(second.database) as store:
        assert store.query("SELECT forked_from, forked_at_seq FROM run").rows == [(str(first.path), 13)]


@pytest.mark.parametrize("at", [0, 10_000])
def test_a_moment_that_the_run_does_not_have_is_refused(source: RunFolder, at: int) -> None:
    with pytest.raises(NoSuchMoment, match="it goes from event 1, "):
        fork_at(source, at)


def test_a_run_is_not_forked_in_the_middle_of_what_it_is_given(tmp_path: Path) -> None:
    config = configuration()
    config["serial"]["search_algorithm"]["last_search_result"] = "elsewhere.csv"
    source = write_run(tmp_path / "run", log_of(config, real=False, given=[network_given("serial")]))
    with pytest.raises(UserError, match="at event 1: it had not been given all that it starts from"):
        fork_at(source, 1)
    assert len(fork_at(source, 2).log) == 2


class Refusing(SimulatedExecutor):
    """Workers that can't be used."""

    async def reports(self) -> list[Event]:
        raise ConfigError("the template is odd")


@pytest.mark.parametrize("there", [False, True])
def test_a_fork_that_can_not_be_set_up_leaves_nothing(
    source: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr(launch, "SimulatedExecutor", Refusing)
    folder = RunFolder(tmp_path / "not" / "fork")
    if there:
        folder.path.mkdir(parents=True)
    with pytest.raises(ConfigError, match="the template is odd"):
        fork_run(folder, fork_at(source, 3), Watchers())
    assert list((tmp_path / "not").rglob("*")) == [folder.path] * there
    assert (tmp_path / "not").exists() == there


KILLED = """
import os, signal, sys
from pathlib import Path
from lineage.store import EventStore
from orchestrator import forking, launch
from orchestrator.drive import Watchers
from orchestrator.run_folder import RunFolder

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

source, folder, moment = RunFolder(Path(sys.argv[1])), RunFolder(Path(sys.argv[2])), sys.argv[3]
fork = forking.fork_at(source, int(sys.argv[4]))
if moment == "made":
    launch.share_weights = die
elif moment == "linked":
    link, count = os.link, []
    os.link = lambda *names: (link(*names), count.append(1), len(count) < 2 or die())
elif moment == "store":
    EventStore.append_groups = die
launch.fork_run(folder, fork, Watchers())
"""


@pytest.mark.parametrize("moment", ["made", "linked", "store"])
def test_a_fork_that_is_killed_is_no_run_and_can_be_made_again(
    trained: RunFolder, source: RunFolder, tmp_path: Path, moment: str
) -> None:
    folder = RunFolder(tmp_path / "fork")
    command = [sys.executable, "-c", KILLED, str(trained.path), str(folder.path), moment, "20"]
    done = subprocess.run(command, timeout=60, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    weights = contents(trained)
    assert folder.path.exists()
    assert not has_begun(folder)
    if folder.database.exists():
        with pytest.raises(RunError, match="was killed before it began"):
            find_run(str(folder.path))
    assert new_run(folder.path, "x") == folder
    assert not folder.path.exists()
    assert contents(trained) == weights
    fork_run(folder, fork_at(source, 20), Watchers())
    assert decided(folder) == decided(source)


def test_a_run_without_a_configuration_file_is_forked_with_that_of_its_log(source: RunFolder, tmp_path: Path) -> None:
    bare = RunFolder(tmp_path / "bare")
    bare.path.mkdir()
    shutil.copy(source.database, bare.database)
    os.mkfifo(bare.config)
    fork = fork_at(bare, 5)
    assert re.search('"pipeline"', fork.text)
    fork_run(RunFolder(tmp_path / "fork"), fork, Watchers())
    assert decided(RunFolder(tmp_path / "fork")) == decided(source)


def test_a_fork_goes_its_own_way_by_settings_that_are_in_its_log(source: RunFolder, tmp_path: Path) -> None:
    fork = fork_at(source, 20)
    changes = settings(fork, ["general.seed=77", "serial.search_algorithm.max_sample=11"])
    folder = RunFolder(tmp_path / "fork")
    state = fork_run(folder, fork, Watchers(), more=changes)
    assert state.seed == 77
    assert state.config is not None
    assert state.config.value_of("serial.search_algorithm.max_sample") == 11
    assert [one.event for one in log_in(folder) if one.event.kind == "SettingChanged"] == changes
    assert resume_run(folder, Watchers()).config == state.config


def test_what_was_trained_before_a_fork_keeps_its_seed_and_what_comes_has_the_new_one(
    source: RunFolder, tmp_path: Path
) -> None:
    fork = fork_at(source, 20)
    before = {one for one, candidate in fork.state.candidates.items() if candidate.outcome == "done"}
    folder = RunFolder(tmp_path / "fork")
    state = fork_run(folder, fork, Watchers(), more=settings(fork, ["general.seed=77"]))
    started = open_run(source.path)
    ended = open_run(folder.path)
    assert before
    for one in before:
        seed = seed_of_training(ended, state.candidates[one])
        assert seed == seed_of_training(started, started.state.candidates[one]) is not None
    later = next(one for one, candidate in state.candidates.items() if candidate.run_seed == 77)
    assert seed_of_training(ended, state.candidates[later]) != seed_of_training(
        started, started.state.candidates[later]
    )
    with open_snapshot(folder.database) as store:
        assert store.query("SELECT seed FROM run").rows == [(77,)]


def test_settings_for_a_run_that_was_over_are_refused(source: RunFolder) -> None:
    with pytest.raises(UserError, match="the run was over by then"):
        settings(fork_at(source, len(log_in(source))), ["general.seed=77"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("serial.search_algorithm.max_sample=x", "valid integer"),
        ("serial.trainer.epoch=5", "has begun"),
        ("max_sample", "expected KEY=VALUE"),
        ("general.sed=1", "unknown key"),
        ("general.disk_quota=.inf", "expected text or finite numbers, found inf"),
        ("serial.search_algorithm.reignite.min_delta=.nan", "expected text or finite numbers, found nan"),
        ("general.keep_checkpoints=!!binary gIGC", "expected text or finite numbers, found b"),
        ('general.keep_checkpoints="\\ud800"', "expected text or finite numbers"),
        ("=1", "expected KEY=VALUE"),
        (f"{'k' * 300}=1", "at most 200 characters"),
    ],
)
def test_a_setting_that_can_not_change_any_more_is_refused(source: RunFolder, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        settings(fork_at(source, 20), [override])
