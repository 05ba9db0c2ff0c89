"""A temporary folder goes with who made it; what a killed process left goes when somebody needs one next."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage.scratch import scratch_folder

HOLDER = """
import sys
from lineage.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "copy").write_text("large")
    print(folder, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield tmp_path
    monkeypatch.undo()


@pytest.fixture
def holder(place: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has such a folder."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert Path(process.stdout.readline().strip()).parent == place
        yield process
        process.kill()


def test_a_folder_is_for_its_user_alone_and_goes_with_its_context(place: Path) -> None:
    with scratch_folder() as folder:
        assert list(place.iterdir()) == [folder]
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "copy").write_text("large")
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(place: Path, holder: subprocess.Popen[str]) -> None:
    (left,) = place.iterdir()
    with scratch_folder():
        assert (left / "copy").read_text() == "large"  # the process has it still
    holder.kill()
    holder.wait()
    assert left.exists()
    with scratch_folder() as folder:
        assert list(place.iterdir()) == [folder]


def test_nothing_else_is_removed(place: Path) -> None:
    (place / "else").mkdir()
    (place / "else" / "file").write_text("mine")
    (place / "spnas-scratch-link").symlink_to(place / "else")
    (place / "spnas-scratch-file").write_text("mine")
    (place / "spnas-other").mkdir()
    with scratch_folder():
        pass
    assert {path.name for path in place.iterdir()} == {
        "else",
        "spnas-scratch-link",
        "spnas-scratch-file",
        "spnas-other",
    }
    assert (place / "else" / "file").read_text() == "mine"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_what_another_user_left_is_theirs(place: Path) -> None:
    (place / "spnas-scratch-theirs").mkdir()
    os.chown(place / "spnas-scratch-theirs", 12345, 12345)
    with scratch_folder():
        pass
    assert (place / "spnas-scratch-theirs").exists()


def test_a_folder_that_is_swept_away_before_it_is_locked_is_made_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def swept(prefix: str) -> str:
        path = place / f"{prefix}{len(made)}"
        path.mkdir()
        if not made:
            path.rmdir()
        made.append(path)
        return str(path)

    monkeypatch.setattr("tempfile.mkdtemp", swept)
    with scratch_folder() as folder:
        assert folder == made[1]
        assert folder.exists()
