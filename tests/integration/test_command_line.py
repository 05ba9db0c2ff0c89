"""The command line as a user meets it: real processes, simulated training."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from simulated import COMMAND, DECISIONS, EXAMPLE, Spnas, rows

from lineage.store import EventStore


def test_every_output_of_a_simulated_run_says_so(spnas: Spnas, finished: Path):
    again = spnas("start", EXAMPLE / "sp_nas.yml", "--simulate", "--run-dir", "other")
    assert "simulated" in again.stdout.splitlines()[0]
    assert "Pareto front (simulated)" in again.stdout
    assert "simulated" in spnas("status", finished).stdout.splitlines()[0]
    assert json.loads(spnas("status", finished, "--json").stdout)["simulated"] is True
    assert "simulated" in spnas("lineage", finished).stdout
    with (finished / "pareto_front.csv").open() as file:
        assert all(row["checkpoint"].startswith("simulated") for row in csv.DictReader(file))


def test_a_run_leaves_the_files_that_were_promised(finished: Path):
    with (finished / "total_list_s.csv").open() as file:
        serial = list(csv.DictReader(file))
    assert " ".join(serial[0]) == (
        "arch worker_id pre_arch pre_worker_id t_start t_end t_eclapsed memory fps mAP ruled_out"
    )
    assert len(serial) == 9
    assert serial[0]["pre_arch"] == ""
    with (finished / "total_list_p.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    assert (finished / "config.yml").read_text() == (EXAMPLE / "sp_nas.yml").read_text()


def test_equal_seeds_give_equal_searches(spnas: Spnas, finished: Path, tmp_path: Path):
    spnas("start", EXAMPLE / "sp_nas.yml", "--simulate", "--run-dir", "again")
    spnas("start", EXAMPLE / "sp_nas.yml", "--simulate", "--run-dir", "seed2", "--set", "general.seed=2")
    assert rows(tmp_path / "again", DECISIONS) == rows(finished, DECISIONS)
    assert rows(tmp_path / "seed2", DECISIONS) != rows(finished, DECISIONS)


def test_sql_prints_table_csv_and_json_and_refuses_to_write(spnas: Spnas, finished: Path):
    query = "SELECT candidate_id, ap FROM leaderboard LIMIT 2"
    assert "candidate_id" in spnas("sql", finished, query).stdout
    assert spnas("sql", finished, query, "--format", "csv").stdout.splitlines()[0] == "candidate_id,ap"
    found = json.loads(spnas("sql", finished, query, "--format", "json").stdout)
    assert [list(row) for row in found] == [["candidate_id", "ap"]] * 2
    for bad in (
        "DELETE FROM events",
        "SELEC 1",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT nothing",
    ):
        refused = spnas("sql", finished, bad)
        assert (refused.returncode, refused.stdout) == (2, ""), bad
        assert refused.stderr.startswith("error: ")
        assert "Traceback" not in refused.stderr


def test_lineage_shows_the_path_of_a_candidate_from_the_seed(spnas: Spnas, finished: Path):
    shown = spnas("lineage", finished, "f-0001")
    assert "s-0001" in shown.stdout
    assert "full_train" in shown.stdout
    path = json.loads(spnas("lineage", finished, "f-0001", "--json").stdout)["path"]
    assert [path[0]["candidate_id"], path[-1]["candidate_id"]] == ["s-0001", "f-0001"]
    missing = spnas("lineage", finished, "f-0002")
    assert missing.returncode == 2
    assert "f-0001" in missing.stderr


def test_what_is_printed_is_utf_8_in_any_locale(spnas: Spnas, finished: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    printed = spnas("lineage", finished)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert "├" in printed.stdout


def test_resuming_a_finished_run_changes_nothing(spnas: Spnas, finished: Path):
    before = rows(finished, "SELECT count(*) AS n FROM events")
    assert spnas("resume", finished).returncode == 0
    assert rows(finished, "SELECT count(*) AS n FROM events") == before


def test_init_writes_an_example_that_can_be_started(spnas: Spnas, tmp_path: Path):
    assert spnas("init", "mine").returncode == 0
    assert spnas("start", "mine/sp_nas.yml", "--simulate").returncode == 0
    assert (tmp_path / "runs" / "sp_nas-1").is_dir()
    again = spnas("init", "mine")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert "did you mean 'digits'?" in spnas("init", "x", "--example", "digit").stderr


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    raw = yaml.safe_load((EXAMPLE / "sp_nas.yml").read_text())
    change(raw)
    path = folder / "changed.yml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("start", "none.yml"), "No such file"),
        (
            ("start", "EXAMPLE", "--set", "serial.search_algoritm.max_sample=3", "--simulate"),
            "did you mean 'search_algorithm'?",
        ),
        (("start", "EXAMPLE", "--set", "general.seed=many", "--simulate"), "general.seed"),
        (("start", "EXAMPLE", "--set", "serial.search_space.start=q_1_0", "--simulate"), "no genotype code"),
        (("start", "EXAMPLE", "--simulate", "--run-dir", "/proc/here"), "can't make"),
        (("start", "EXAMPLE", "--simulate", "--run-dir", "full"), "exists already"),
        (("start", "EXAMPLE", "--simulate", "--run-dir", "why?/run"), "why?/run can't be a run folder"),
        (("start", "EXAMPLE", "--speed", "2"), "--simulate"),
        (("start", "EXAMPLE", "--nonsense"), "--nonsense"),
        (("start", "notemplate.yml"), "does not exist"),
        (("start", "badtemplate.yml"), "template.py"),
        (("check", "badtemplate.yml"), "template.py"),
        (("resume", "none"), "no run 'none'"),
        (("status", "none"), "no run 'none'"),
        (("watch", "full"), "no run 'full'"),
    ],
)
def test_a_mistake_gets_one_message_exit_code_2_and_leaves_nothing(
    spnas: Spnas, tmp_path: Path, arguments: tuple[str, ...], expected: str
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "template.py").write_text("model = dict(\n")
    text = (EXAMPLE / "sp_nas.yml").read_text()
    (tmp_path / "notemplate.yml").write_text(text)
    (tmp_path / "badtemplate.yml").write_text(text.replace("faster_rcnn_r50_fpn_1x.py", "template.py"))
    before = sorted(tmp_path.rglob("*"))
    done = spnas(*(str(EXAMPLE / "sp_nas.yml") if word == "EXAMPLE" else word for word in arguments))
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_help_and_simulation_never_import_torch(tmp_path: Path):
    for arguments in (
        ["--help"],
        ["start", str(EXAMPLE / "sp_nas.yml"), "--simulate", "--run-dir", str(tmp_path / "r")],
    ):
        program = (
            "import sys; from orchestrator import cli\n"
            f"sys.argv = ['spnas-orch', *{arguments!r}]\n"
            "heavy = {'torch', 'mmdet', 'mmengine', 'textual', 'prompt_toolkit'}\n"
            "try: cli.main()\n"
            "finally: print(sorted(heavy & sys.modules.keys()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ, timeout=60
        )
        assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_file_that_is_no_store_is_named_as_the_user_named_it(spnas: Spnas, tmp_path: Path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "lineage.duckdb").write_text("junk")
    for command in (("status", "bad"), ("lineage", "bad"), ("sql", "bad", "SELECT 1"), ("resume", "bad")):
        done = spnas(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert str(tmp_path / "bad" / "lineage.duckdb") in done.stderr


def test_markup_in_data_and_paths_is_shown_as_it_is(spnas: Spnas, tmp_path: Path):
    done = spnas("start", EXAMPLE / "sp_nas.yml", "--simulate", "--run-dir", "a[b]c")
    assert "files: a[b]c/" in done.stdout
    assert "│ [red]x[/red] [/foo] │" in spnas("sql", "a[b]c", "SELECT '[red]x[/red] [/foo]' AS \"[/x]\"").stdout


def test_a_run_that_was_moved_to_a_path_no_database_may_have_is_looked_at_and_told(
    spnas: Spnas, finished: Path, tmp_path: Path
):
    finished.rename(tmp_path / "run?")
    assert spnas("status", "run?").returncode == 0
    for command in ("resume", "rebuild"):
        done = spnas(command, "run?")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"error: lineage.duckdb can't be opened in {tmp_path}/run?: no path of a DuckDB file may have '?' in it; "
            "rename that folder\n"
        )


def test_a_reader_that_goes_away_does_not_stop_the_search(spnas: Spnas, tmp_path: Path):
    command = f"{COMMAND} start {EXAMPLE / 'sp_nas.yml'} --simulate --run-dir run | head -1"
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert json.loads(spnas("status", "run", "--json").stdout)["status"] == "completed"


def test_a_run_killed_before_it_began_says_so_and_can_be_started_again(spnas: Spnas, tmp_path: Path):
    with EventStore.create(tmp_path / "lineage.duckdb"):
        pass
    for name, files in (("empty", ()), ("store", ("lineage.duckdb",))):
        run = tmp_path / name
        (run / "checkpoints").mkdir(parents=True)
        (run / "logs").mkdir()
        for file in files:
            (run / file).write_bytes((tmp_path / file).read_bytes())
            for command in ("status", "lineage", "resume"):
                done = spnas(command, run)
                assert done.returncode == 2
                assert "before it began" in done.stderr
        assert spnas("start", EXAMPLE / "sp_nas.yml", "--simulate", "--run-dir", run).returncode == 0


def test_modules_in_the_users_folder_do_not_shadow_ours(spnas: Spnas, tmp_path: Path):
    spnas("init")
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "__init__.py").touch()
    (tmp_path / "random.py").write_text("raise RuntimeError('not this one')")
    assert spnas("check", "sp_nas.yml").returncode == 0


@pytest.mark.parametrize(
    ("line", "returncode", "expected"),
    [
        ("import sys; sys.exit(3)", 2, "SystemExit"),
        ("import os; os._exit(0)", 2, "ended the process"),
        ("raise KeyboardInterrupt", 2, "KeyboardInterrupt"),
        ("input('name? ')", 2, "EOFError"),
        ("import os; os.write(1, b'\\xff hello')", 0, ""),
    ],
)
def test_whatever_a_template_does_it_gets_one_message(
    spnas: Spnas, tmp_path: Path, line: str, returncode: int, expected: str
):
    spnas("init")
    with (tmp_path / "faster_rcnn_r50_fpn_1x.py").open("a") as template:
        template.write(line + "\n")
    done = spnas("check", "sp_nas.yml")
    assert done.returncode == returncode
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_class_folders_are_told_before_anything_is_made(spnas: Spnas, tmp_path: Path):
    spnas("init")
    for command in ("start", "check"):
        overrides = ("--set", "serial.search_algorithm.reignite.data=nowhere", "--set", "general.make_data=null")
        done = spnas(command, "sp_nas.yml", *overrides)
        assert done.returncode == 2
        assert str(tmp_path / "nowhere" / "train") in done.stderr
    assert not (tmp_path / "runs").exists()


def test_two_columns_of_one_name_are_not_lost_in_json(spnas: Spnas, finished: Path):
    done = spnas("sql", finished, "SELECT 1 AS a, 2 AS a", "--format", "json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "use AS" in done.stderr


def test_times_with_a_zone_can_be_asked_for(spnas: Spnas, finished: Path):
    (row,) = rows(finished, "SELECT now() > max(ts) AS later FROM events")
    assert row == {"later": True}
    assert spnas("sql", finished, "SELECT now()").returncode == 0


def test_a_check_reads_the_weights_and_leaves_nothing(spnas: Spnas, tmp_path: Path):
    spnas("init")
    (tmp_path / "resnet.pth").write_text("no weights")
    before = sorted(tmp_path.rglob("*"))
    done = spnas("check", "sp_nas.yml", "--set", "serial.search_space.weights=resnet.pth")
    assert done.returncode == 2
    assert f"serial.search_space.weights: {tmp_path / 'resnet.pth'}" in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_can_not_be_written_is_no_traceback(finished: Path):
    for arguments in (("status", finished), ("status", finished, "--json"), ("lineage", finished), ("--help",)):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run([COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 1
        assert done.stderr == "error: the output could not be written: No space left on device\n"
