"""A fork has the weights of then under names of its own, and tells which are gone."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from elsewhere import log_in, log_of, sha256, write_run
from given import configuration, network_given
from histories import NOON

from lineage.events import CheckpointDeleted, Event, JobFinished
from lineage.room import is_no_room
from lineage.snapshot import open_snapshot
from lineage.store import EventStore
from orchestrator.drive import Watchers
from orchestrator.errors import RunError
from orchestrator.forking import Fork, fork_at, share_weights
from orchestrator.fsck import examine
from orchestrator.launch import fork_run
from orchestrator.run_folder import RunFolder


def made(fork: Fork) -> list[str]:
    """Checkpoints that the fork's log knows."""
    return [one.event.checkpoint for one in fork.log if isinstance(one.event, JobFinished)]


def half(folder: RunFolder) -> Fork:
    return fork_at(folder, len(log_in(folder)) // 2)


def shared(fork: Fork, path: Path) -> tuple[RunFolder, Sequence[Event]]:
    folder = RunFolder(path)
    folder.checkpoints.mkdir(parents=True)
    return folder, share_weights(fork, folder)


def test_weights_of_then_are_the_same_files_and_nothing_else_is_shared(trained: RunFolder, tmp_path: Path) -> None:
    (trained.checkpoints / "j-s-0002.00.unfinished").touch()
    fork = half(trained)
    folder, gone = shared(fork, tmp_path / "fork")
    assert gone == []
    files = sorted(folder.checkpoints.iterdir())
    assert [file.stem for file in files] == sorted(made(fork))
    assert 0 < len(files) < len(list(trained.checkpoints.iterdir())) - 1
    assert all(file.samefile(trained.checkpoints / file.name) for file in files)


def test_where_there_can_be_no_links_weights_are_copied(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse)
    folder, gone = shared(half(trained), tmp_path / "fork")
    assert gone == []
    for file in folder.checkpoints.iterdir():
        assert sha256(file.read_text()) == file.stem
        assert not file.samefile(trained.checkpoints / file.name)


def test_weights_that_moved_behind_a_link_are_shared_and_not_the_link(trained: RunFolder, tmp_path: Path) -> None:
    shutil.move(trained.checkpoints, tmp_path / "elsewhere")
    trained.checkpoints.symlink_to("../elsewhere")
    name = sorted((tmp_path / "elsewhere").iterdir())[0].name
    fork = fork_at(trained, len(log_in(trained)))
    (tmp_path / "elsewhere" / name).rename(tmp_path / "one")
    (tmp_path / "elsewhere" / name).symlink_to("../one")
    folder, gone = shared(fork, tmp_path / "fork")
    assert gone == []
    assert not (folder.checkpoints / name).is_symlink()
    assert sha256((folder.checkpoints / name).read_text()) == Path(name).stem


def test_weights_that_are_gone_since_are_told_to_be(trained: RunFolder, tmp_path: Path) -> None:
    fork = half(trained)
    lost = sha256("j-s-0002")
    (trained.checkpoints / f"{lost}.safetensors").unlink()
    folder, gone = shared(fork, tmp_path / "fork")
    assert gone == [CheckpointDeleted(checkpoint=lost, subject_id="s-0002")]
    with EventStore.create(folder.database) as store:
        store.append_groups(fork.groups("fork", list(gone), []))
    assert examine(folder).faults == []
    with open_snapshot(folder.database) as snapshot:
        assert snapshot.query("SELECT candidate_id FROM measurements WHERE deleted_at IS NOT NULL").rows == [
            ("s-0002",)
        ]


def test_weights_that_were_deleted_by_then_stay_deleted(tmp_path: Path) -> None:
    """Even where the source has made them again since."""
    log = log_of(configuration(max_sample=3))
    deleted = CheckpointDeleted(checkpoint=sha256("one"), subject_id="s-0001")
    first = next(at for at, event in enumerate(log) if isinstance(event, JobFinished))
    log[first] = log[first].model_copy(update={"checkpoint": sha256("one")})
    log.insert(first + 1, deleted)
    source = write_run(tmp_path / "run", [log[0].model_copy(update={"workdir": str(tmp_path)}), *log[1:]])
    folder, gone = shared(fork_at(source, first + 2), tmp_path / "fork")
    assert (list(folder.checkpoints.iterdir()), gone) == ([], [])


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "a" * 64 + "/../b", "simulated-s-0001"])
def test_a_log_can_not_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    log = log_of(configuration(max_sample=3))
    log = [event.model_copy(update={"checkpoint": name}) if isinstance(event, JobFinished) else event for event in log]
    (tmp_path / "secret.safetensors").touch()
    source = RunFolder(tmp_path / "run")
    source.checkpoints.mkdir(parents=True)
    with EventStore.create(source.database) as store:
        store.append([log[0].model_copy(update={"workdir": str(tmp_path)}), *log[1:]], NOON)
    folder, gone = shared(fork_at(source, 15), tmp_path / "fork")
    assert list(folder.checkpoints.iterdir()) == []
    assert gone


def test_given_weights_that_are_gone_are_left_to_be_fetched(tmp_path: Path) -> None:
    config = configuration()
    config["serial"]["search_algorithm"]["last_search_result"] = "elsewhere.csv"
    network = network_given("serial", checkpoint=sha256("given"))
    log = log_of(config, given=[network])
    source = write_run(tmp_path / "run", [log[0].model_copy(update={"workdir": str(tmp_path)}), *log[1:]])
    assert shared(fork_at(source, 2), tmp_path / "without")[1] == []
    (source.checkpoints / f"{network.checkpoint}.safetensors").write_text("given")
    folder, gone = shared(fork_at(source, 2), tmp_path / "with")
    assert ([file.stem for file in folder.checkpoints.iterdir()], gone) == ([network.checkpoint], [])


def test_a_fork_that_finds_no_room_says_so_and_leaves_nothing(
    trained: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fork = half(trained)
    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(RunError, match=r"can't be copied to .*/deep/fork/checkpoints: No space left on device") as told:
        fork_run(RunFolder(tmp_path / "deep" / "fork"), fork, Watchers())
    assert is_no_room(told.value)
    assert not (tmp_path / "deep").exists()


def test_a_real_run_whose_configuration_is_gone_is_not_forked(trained: RunFolder, tmp_path: Path) -> None:
    with EventStore.open(trained.database) as store:
        log = [one.event for one in store.read()]
    moved = write_run(tmp_path / "moved", [log[0].model_copy(update={"workdir": "/nowhere/at/all"}), *log[1:]])
    with pytest.raises(RunError, match="the run began in /nowhere/at/all"):
        half(moved)
