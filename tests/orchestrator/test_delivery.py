"""An answer takes the place of an older file whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import pytest

from orchestrator.delivery import must_not_replace, write
from orchestrator.errors import UserError
from orchestrator.run_folder import RunFolder


@pytest.fixture
def answer(tmp_path: Path) -> Path:
    (tmp_path / "answer").write_bytes(b"new" * 1000)
    return tmp_path / "answer"


def test_a_full_disk_leaves_the_older_file_as_it_was(
    answer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: BinaryIO, target: BinaryIO) -> None:
        target.write(source.read(100))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(shutil, "copyfileobj", half)
    with pytest.raises(UserError, match=r"can't be written to .*file: No space left on device"):
        write(answer, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"answer", "file"}


def test_a_pipe_with_a_name_is_written_and_stays(answer: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write(answer, tmp_path / "pipe")
    assert os.read(reader, 10_000) == answer.read_bytes()
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    "name", ["run/config.yml", "run/logs/a.log", "link", "folder/config.yml", "run/lineage.duckdb.wal"]
)
def test_what_belongs_to_the_run_is_refused_by_whatever_name(tmp_path: Path, name: str) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.logs.mkdir(parents=True)
    folder.config.write_text("seed: 1")
    (folder.logs / "a.log").write_text("began")
    (tmp_path / "link").symlink_to(folder.config)
    (tmp_path / "folder").symlink_to(folder.path)
    with pytest.raises(UserError, match="belongs to run run: name another file for the answer"):
        must_not_replace(tmp_path / name, folder)
    for other in ("else", "run/new.csv", "run/logs", "run-2/config.yml", "run/" + "x" * 300):
        must_not_replace(tmp_path / other, folder)
