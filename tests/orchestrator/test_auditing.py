"""An audit: which candidates it takes, what it trains, and what it reports. Trainings are simulated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.auditing import audit_plan, report, sentence
from orchestrator.errors import UserError
from orchestrator.outside import open_run
from orchestrator.run_folder import RunFolder

COMMAND = str(Path(sys.executable).with_name("spnas-orch"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "sp_nas.yml"


def spnas(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, and an audit of three of its candidates."""
    folder = tmp_path_factory.mktemp("audited")
    started = spnas(folder, "start", str(EXAMPLE), "--simulate", "--no-tui", "--run-dir", "run")
    assert started.returncode == 0, started.stderr
    audited = spnas(folder, "audit", "run", "--candidates", "3", "--run-dir", "audit")
    assert audited.returncode == 0, audited.stderr
    return folder


@pytest.fixture
def found(folder: Path) -> dict[str, Any]:
    return report(RunFolder(folder / "audit"))


def test_the_best_the_worst_and_those_between_are_audited_and_no_reignited_network(folder: Path):
    state = open_run(folder / "run").state
    plan = audit_plan(RunFolder(folder / "run"), 3, None, None)
    audit = plan.config.steps["audit"].audit
    assert audit is not None
    aps = sorted(state.candidates[one].ap for one in audit.candidates)
    children = [
        one.ap
        for one in state.candidates.values()
        if one.step == "serial" and one.parent_id is not None and one.reignition_id is None
    ]
    assert (aps[0], aps[-1]) == (min(children), max(children))


def test_the_report_has_the_ap_of_each_way_and_the_searchs_own(folder: Path, found: dict[str, Any]):
    audited, audit = open_run(folder / "run").state, open_run(folder / "audit").state
    assert len(found["candidates"]) == 3
    for row in found["candidates"]:
        again = {one.inherit: one.ap for one in audit.candidates.values() if one.audited_id == row["candidate"]}
        assert row["ap"] == {"detector": audited.candidates[row["candidate"]].ap, **again}
    assert found["simulated"] is True


def test_what_the_search_trained_several_times_is_told(found: dict[str, Any]):
    assert found["search_seeds"] == 1
    assert "the mean of" not in sentence(found)
    assert "with the whole detector" in sentence(found)
    assert ", there the mean of 3 trainings; " in sentence(found | {"search_seeds": 3})


def test_tau_is_one_for_the_same_order_and_minus_one_for_the_opposite(monkeypatch: pytest.MonkeyPatch):
    from orchestrator.auditing import _tau

    assert _tau([0.1, 0.2, 0.3], [0.01, 0.02, 0.5]) == 1
    assert _tau([0.1, 0.2, 0.3], [0.5, 0.02, 0.01]) == -1
    assert _tau([0.1, 0.2, 0.3], [0.2, 0.2, 0.2]) is None


def test_the_audit_of_an_audit_prints_it_again(folder: Path, found: dict[str, Any]):
    again = spnas(folder, "audit", "audit", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == found


def test_json_stands_alone_on_standard_output_and_progress_goes_to_the_other(folder: Path):
    done = spnas(folder, "audit", "run", "--candidates", "2", "--epochs", "3", "--json", "--run-dir", "longer")
    assert json.loads(done.stdout)["epochs"] == 3
    told = spnas(folder, "audit", "longer").stdout
    assert "AP, whole detector (1 epoch, in the search)" in told
    assert "after 1 epoch in the search, which is no comparison" in told
    assert "times that" not in told
    assert "audit phase started" in done.stderr


def test_an_audit_may_be_longer_than_the_search(folder: Path):
    plan = audit_plan(RunFolder(folder / "run"), 2, "parallel", 7)
    assert plan.config.steps["audit"].trainer.epoch == 7
    assert plan.config.general.seed == open_run(folder / "run").state.seed


@pytest.mark.parametrize(
    ("count", "step", "message"),
    [
        (99, None, "fewer than 99; ask for at most as many"),
        (2, "nas1", "has no search step nas1; its search steps: serial, parallel"),
    ],
)
def test_what_can_not_be_audited_is_told(folder: Path, count: int, step: str | None, message: str):
    with pytest.raises(UserError, match=message):
        audit_plan(RunFolder(folder / "run"), count, step, None)


def test_a_killed_audit_is_resumed_and_reports_the_same(folder: Path, tmp_path: Path, found: dict[str, Any]):
    command = [COMMAND, "audit", "run", "--candidates", "3", "--run-dir", str(tmp_path / "cut")]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "a-0002 AP" not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    process.communicate()
    resumed = spnas(folder, "resume", str(tmp_path / "cut"), "--no-tui")
    assert resumed.returncode == 0, resumed.stderr
    assert "Kendall's tau" in resumed.stdout
    assert report(RunFolder(tmp_path / "cut")) == found


def test_only_those_whose_weights_are_kept_are_audited(tmp_path: Path):
    started = spnas(
        tmp_path,
        *("start", str(EXAMPLE), "--simulate", "--no-tui", "--run-dir", "run"),
        *("--set", "general.keep_checkpoints=4", "--set", "serial.search_algorithm.max_sample=20"),
    )
    assert started.returncode == 0, started.stderr
    state = open_run(tmp_path / "run").state
    audit = audit_plan(RunFolder(tmp_path / "run"), 2, None, None).config.steps["audit"].audit
    assert audit is not None
    for name in audit.candidates:
        candidate = state.candidates[name]
        assert not {candidate.checkpoint, state.candidates[candidate.parent_id or ""].checkpoint} & state.deleted
    refused = spnas(tmp_path, "audit", "run", "--candidates", "15")
    assert refused.returncode == 2
    assert "candidates with inherited weights that are kept, fewer than 15" in refused.stderr
