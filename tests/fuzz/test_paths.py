"""Names that users give, of files, runs and candidates: whatever they are, the outcome is ours and stays in its folder."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from elsewhere import log_of, write_run
from hostile import tries
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.cli import main
from orchestrator.errors import RunError
from orchestrator.run_folder import RunFolder, find_run, new_run

CONFIG = """
pipeline: [s]
s:
  search_algorithm: {{sample_level: serial, max_sample: 1, total_list: {record}}}
  search_space: {{start: b_1-1_0-0, min_blocks: 1, min_stages: 1}}
  trainer: {{config_template_file: t.py}}
"""
NAMES = st.text(max_size=20) | st.sampled_from(
    ["..", ".", "", "\0", "a\0b", "n" * 300, "d/" * 3000, "a\nb", "\udcff", "~", "-1", "/dev/null", "/dev/zero", "pipe"]
)


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


SpnasOrch = Callable[..., Result]


@pytest.fixture
def spnas_orch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> SpnasOrch:
    """The command line, in this process: called with arguments and the folder it runs in."""

    def call(*arguments: str | bytes, folder: Path) -> Result:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["spnas-orch", *map(os.fsdecode, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert isinstance(caught.value.code, int)
        return Result(caught.value.code, *capsys.readouterr())

    return call


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paths")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.fixture
def old_run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "old", log_of())


@tries(300)
@given(NAMES, st.booleans())
@example("n" * 255, False)
def test_any_name_is_a_new_run_or_an_error(folder: Path, name: str, in_folder: bool):
    before = files(folder)
    try:
        found = new_run(folder / name if in_folder else None, "a" if in_folder else name)
    except RunError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert not found.path.exists() or not any(found.path.iterdir())
    assert len(refusal) < 7000
    assert files(folder) == before


@tries(300)
@given(NAMES)
def test_any_name_is_a_run_that_is_there_or_an_error(folder: Path, name: str):
    with pytest.raises(RunError):
        find_run(str(folder / "none") + name)
    if "\0" not in name:
        with pytest.raises(RunError):
            find_run(name)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "text", "nothing"])
def test_a_run_whose_database_is_none_is_an_error(spnas_orch: SpnasOrch, tmp_path: Path, kind: str):
    database = tmp_path / "lineage.duckdb"
    match kind:
        case "pipe":
            os.mkfifo(database)
        case "folder":
            database.mkdir()
        case "loop":
            database.symlink_to(database)
        case "text":
            database.write_text("not a database " * 1000)
    result = spnas_orch("status", str(tmp_path), folder=tmp_path)
    assert (result.returncode, result.stderr[:6]) == (2, "error:"), result.stderr
    (tmp_path / "c.yml").write_text(CONFIG.format(record="s.csv"))
    result = spnas_orch("start", "c.yml", "--simulate", "--run-dir", str(tmp_path), folder=tmp_path)
    assert (result.returncode, result.stderr[:6]) == (2, "error:"), result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--run-dir", "n" * 300],
        ["--run-dir", "d/" * 3000],
        ["--run-dir", b"\xff"],
        ["--run-dir", "pipe"],
        ["--run-dir", "pipe/run"],
        ["--run-dir", "/dev/null"],
        ["--run-dir", "link"],
        ["--run-dir", "loop"],
        ["--run-dir", "dangling"],
        ["--set", "s.search_algorithm.total_list=.."],
        ["--set", "s.search_algorithm.last_search_result='../../../etc/passwd'"],
        ["--set", 's.search_algorithm.last_search_result="a\\0b"'],
        ["--set", "s.search_algorithm.last_search_result=pipe"],
        ["--set", "s.search_algorithm.last_search_result=" + "n" * 5000],
        ["--set", "s.search_space.weights=pipe"],
        ["--set", b"s.trainer.debug=\xff"],
    ],
    ids=lambda arguments: repr(arguments[1])[:40],
)
def test_a_name_that_can_not_be_meant_ends_in_one_message_and_leaves_nothing(
    spnas_orch: SpnasOrch, tmp_path: Path, arguments: Sequence[str | bytes]
):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "checkpoints").mkdir()
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "c.yml").write_text(CONFIG.format(record="s.csv"))
    before = files(tmp_path)
    result = spnas_orch("start", "c.yml", "--simulate", "--no-tui", *arguments, folder=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "\nerror: " in f"\n{result.stderr}", result.stderr
    assert files(tmp_path) == before


def test_a_configuration_in_a_folder_that_the_log_can_not_name_is_refused(spnas_orch: SpnasOrch, tmp_path: Path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "c.yml").write_text(CONFIG.format(record="s.csv"))
    result = spnas_orch("start", "c.yml", "--simulate", "--no-tui", folder=folder)
    assert result.returncode == 2, result.stderr
    assert "is no UTF-8" in result.stderr


@pytest.mark.parametrize(
    "record", ["../../escaped.csv", "/tmp/escaped.csv", "a/b/c.csv", "'{local_base_path}/../x.csv'"]
)
def test_outputs_stay_in_the_run_folder(spnas_orch: SpnasOrch, tmp_path: Path, record: str):
    (tmp_path / "c.yml").write_text(CONFIG.format(record=record))
    name = "a run\n'of' mine"
    result = spnas_orch("start", "c.yml", "--simulate", "--no-tui", "--run-dir", name, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert {path.split("/")[0] for path in files(tmp_path)} == {"c.yml", name}
    assert (tmp_path / name / Path(record.strip("'")).name).is_file()
    shown = spnas_orch("status", name, "--json", folder=tmp_path)
    assert json.loads(shown.stdout)["run_id"] == name


@pytest.mark.parametrize(
    "candidate", ["..", "../../x", "", "n" * 5000, "'; DROP TABLE run", b"\xff", "%s"], ids=lambda name: repr(name[:9])
)
def test_a_candidate_that_no_run_has_is_an_error(spnas_orch: SpnasOrch, old_run: RunFolder, candidate: str | bytes):
    for command in ("lineage", "why"):
        result = spnas_orch(command, str(old_run.path), candidate, folder=old_run.path)
        assert (result.returncode, result.stderr[:6]) == (2, "error:"), result.stderr
