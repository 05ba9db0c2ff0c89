"""What a failing start leaves behind, and what a resumption clears away."""

from __future__ import annotations

from pathlib import Path

import pytest
from elsewhere import write_run

from lineage.events import Event, WorkerStarted
from lineage.store import EventStore
from orchestrator import launch
from orchestrator.auditing import audit_plan
from orchestrator.config_file import load_config
from orchestrator.drive import Watchers
from orchestrator.errors import ConfigError, RunError
from orchestrator.executors.simulated import SimulatedExecutor
from orchestrator.launch import Plan, resume_run, start_run
from orchestrator.run_folder import RunFolder

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "sp_nas.yml"


class Refusing(SimulatedExecutor):
    """Workers that refuse to go on after so many reports."""

    patience = 0

    async def reports(self) -> list[Event]:
        self.patience -= 1
        if self.patience < 0:
            raise ConfigError("the template is odd")
        return await super().reports()


@pytest.mark.parametrize(("patience", "kept"), [(0, False), (6, True)])
def test_a_run_that_never_began_leaves_nothing_and_one_that_did_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int, kept: bool
):
    monkeypatch.setattr(Refusing, "patience", patience)
    monkeypatch.setattr(launch, "SimulatedExecutor", Refusing)
    folder = RunFolder(tmp_path / "not" / "there" / "run")
    heard: list[Event] = []
    watchers = Watchers((lambda recorded: heard.append(recorded.event),))
    with pytest.raises(ConfigError, match="the template is odd"):
        start_run(folder, Plan(load_config(EXAMPLE), EXAMPLE.read_text(), EXAMPLE.parent, simulate=True), watchers)
    assert any(isinstance(event, WorkerStarted) for event in heard) == kept
    assert folder.database.exists() == kept
    assert (tmp_path / "not").exists() == kept


def test_a_resumption_sweeps_what_a_killed_worker_was_writing(tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    start_run(folder, Plan(load_config(EXAMPLE), EXAMPLE.read_text(), EXAMPLE.parent, simulate=True), Watchers())
    kept = [folder.checkpoints / name for name in (f"{'a' * 64}.safetensors", "j-x.0f.unfinished")]
    for file in (*kept, *(folder.checkpoints / name for name in (".0f.partial", "j-s-0001.0f.unfinished"))):
        file.touch()
    resume_run(folder, Watchers())
    assert sorted(folder.checkpoints.iterdir()) == kept


def test_a_resumption_removes_weights_that_were_to_go(tmp_path: Path):
    folder = RunFolder(tmp_path / "run")
    config = load_config(EXAMPLE, ["general.keep_checkpoints=0"])
    start_run(folder, Plan(config, EXAMPLE.read_text(), EXAMPLE.parent, simulate=True), Watchers())
    with EventStore.open(folder.database) as store:
        gone = [one.event.checkpoint for one in store.read(kinds=["CheckpointDeleted"])]
        kept = store.query("SELECT checkpoint FROM measurements WHERE deleted_at IS NULL").rows
    for name in (*gone, *(name for (name,) in kept)):
        (folder.checkpoints / f"{name}.safetensors").touch()
    resume_run(folder, Watchers())
    assert gone
    assert sorted(file.stem for file in folder.checkpoints.iterdir()) == sorted(name for (name,) in kept)


def test_a_configuration_that_was_moved_since_the_run_began_is_told_with_the_remedy(
    tmp_path: Path, old_log: list[Event]
):
    workdir = tmp_path / "my work" / "digits"
    log = [old_log[0].model_copy(update={"workdir": str(workdir)}), *old_log[1:-1]]
    folder = write_run(tmp_path / "run", log)
    before = folder.database.read_bytes()
    told = f"the run began in {workdir}, .*, and {workdir.parent} is gone: .* ln -s NEW_PLACE '{workdir.parent}'$"
    with pytest.raises(RunError, match=told):
        resume_run(folder, Watchers())
    with pytest.raises(RunError, match=told):
        audit_plan(folder, 2, None, None)
    assert folder.database.read_bytes() == before
    assert not folder.was_killed()
    (tmp_path / "moved" / "digits").mkdir(parents=True)
    workdir.parent.symlink_to(tmp_path / "moved")
    assert audit_plan(folder, 2, None, None).workdir == workdir
