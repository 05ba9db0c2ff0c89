"""A run whose database is damaged, incomplete or of a later version: every command says what to do and deletes nothing."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from terminals import Terminal

from lineage.wal import wal_of
from orchestrator import cli
from orchestrator.run_folder import RunFolder

COMMAND = str(Path(sys.executable).with_name("spnas-orch"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "sp_nas.yml"
HEADERS = 3 * 4096
COMMANDS = (
    ("status", "run"),
    ("status", "run", "--json"),
    ("status", "run", "--at", "1"),
    ("sql", "run", "SELECT 1"),
    ("fork", "run", "--at", "1"),
    ("lineage", "run"),
    ("why", "run", "s-0001"),
    ("reignite", "run"),
    ("audit", "run"),
    ("rebuild", "run"),
    ("resume", "run"),
)
Answer = tuple[int, str, str]
Spnas = Callable[..., Answer]


@pytest.fixture
def spnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Spnas:
    """Exit code, output and errors of a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["spnas-orch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (ended.value.code, *capfd.readouterr())  # type: ignore[return-value]

    return call


RESUMED_AND_KILLED = """
import os, signal, sys
from pathlib import Path
from lineage.events import RunResumed, WorkerStarted
from lineage.store import EventStore
from orchestrator.run_folder import RunFolder

folder = RunFolder(Path(sys.argv[1]))
with folder.held(), EventStore.open(folder.database) as store:
    now = list(store.read())[-1].ts
    store.append([RunResumed()], now)
    store._connection.execute("CHECKPOINT")  # as a long run does now and then
    for device in ("sim:0", "sim:1"):
        store.append([WorkerStarted(device=device, name="simulated")], now)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`finished` is a simulated run, `killed` one that was interrupted, resumed and killed."""
    folder = tmp_path_factory.mktemp("runs")
    start = [COMMAND, "start", str(EXAMPLE), "--simulate", "--run-dir"]
    subprocess.run([*start, "finished"], cwd=folder, check=True, capture_output=True, timeout=60)
    with subprocess.Popen([*start, "killed", "--speed", "100"], cwd=folder, stdout=subprocess.PIPE, text=True) as live:
        assert live.stdout is not None
        while "s-0002 AP" not in live.stdout.readline():
            assert live.poll() is None
        live.send_signal(signal.SIGINT)
    done = subprocess.run([sys.executable, "-c", RESUMED_AND_KILLED, str(folder / "killed")], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert wal_of(folder / "killed" / "lineage.duckdb").exists()
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run folder but the lock, which may be taken and let go."""
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "run.lock"}


def cut(size: float) -> Callable[[Path], None]:
    def damage(database: Path) -> None:
        content = database.read_bytes()
        database.write_bytes(content[: int(size * len(content)) if size < 1 else int(size)])

    return damage


def overwrite(*places: int) -> Callable[[Path], None]:
    def damage(database: Path) -> None:
        content, noise = bytearray(database.read_bytes()), random.Random(3)
        for at in places or range(HEADERS, len(content), 1024):
            content[at : at + 64] = noise.randbytes(64)
        database.write_bytes(content)

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": cut(0.0),
    "cut in its first header": cut(100),
    "cut behind its magic bytes": cut(20),
    "cut in its headers": cut(8192),
    "cut to its headers": cut(HEADERS),
    "cut in its first block": cut(HEADERS + 5000),
    "cut in half": cut(0.5),
    "first header overwritten": overwrite(0),
    "later headers overwritten": overwrite(4096, 8192),
    "blocks overwritten": overwrite(),
    "no database": lambda database: database.write_text("junk" * 9999) and None,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_told_by_every_command_and_nothing_is_lost(
    spnas: Spnas, runs: Path, tmp_path: Path, damage: str
) -> None:
    shutil.copytree(runs / "finished", tmp_path / "run")
    DAMAGES[damage](tmp_path / "run" / "lineage.duckdb")
    before = contents(tmp_path / "run")
    for command in COMMANDS:
        code, out, err = spnas(*command)
        assert (code, out) == (2, ""), command
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        assert str(tmp_path / "run" / "lineage.duckdb") in err
        assert "restore both files from a copy" in err
        assert "checkpoints" in err
        assert "began" not in err
    code, out, err = spnas("fsck", "run")
    assert (code, err) == (1, "")
    assert "restore both files from a copy" in out
    assert "spnas-fsck" not in out
    code, _, err = spnas("start", EXAMPLE, "--simulate", "--run-dir", "run")
    assert code == 2
    assert "exists already" in err
    assert contents(tmp_path / "run") == before


def test_a_database_cut_at_any_size_is_never_taken_for_a_run_that_did_not_begin(
    runs: Path, tmp_path: Path, spnas: Spnas
) -> None:
    """Alone in its folder, as only a simulated run leaves it: what can't be read is not deleted by a new start."""
    content = (runs / "finished" / "lineage.duckdb").read_bytes()
    (tmp_path / "run").mkdir()
    database = tmp_path / "run" / "lineage.duckdb"
    rng = random.Random(4)
    for size in (
        0,
        1,
        4095,
        4096,
        HEADERS - 1,
        HEADERS,
        HEADERS + 1,
        *(rng.randrange(len(content)) for _ in range(20)),
    ):
        database.write_bytes(content[:size])
        code, _, err = spnas("start", EXAMPLE, "--simulate", "--run-dir", "run")
        assert code == 2
        assert "exists already" in err
        assert database.read_bytes() == content[:size]


def test_a_damaged_write_ahead_log_is_told_with_the_last_resort(spnas: Spnas, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "killed", tmp_path / "run")
    log = wal_of(tmp_path / "run" / "lineage.duckdb")
    content = bytearray(log.read_bytes())
    content[-7] ^= 1
    log.write_bytes(content)
    for command in COMMANDS:
        code, out, err = spnas(*command)
        assert (code, out, err.count("\n")) == (2, "", 1), command
        assert f"{log} is damaged after byte " in err
    code, out, _ = spnas("fsck", "run")
    assert code == 1
    assert f" {log} gives up what was recorded after that byte" in out
    assert log.read_bytes() == content


def test_a_run_whose_write_ahead_log_is_missing_says_so_as_it_goes_on(spnas: Spnas, runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "killed", tmp_path / "run")
    log = wal_of(tmp_path / "run" / "lineage.duckdb")
    assert spnas("fsck", "run")[0] == 0
    log.unlink()
    code, out, _ = spnas("fsck", "run")
    assert code == 1
    assert "there is no lineage.duckdb.wal" in out
    code, _, err = spnas("resume", "run")
    assert code == 0
    assert err.startswith("note: its process was killed or had no room on the disk, but there is no lineage.duckdb.wal")
    assert spnas("resume", "run")[2] == ""


def test_a_database_alone_that_never_had_a_checkpoint_is_told_apart_from_none(
    spnas: Spnas, runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs / "killed", tmp_path / "run")
    database = tmp_path / "run" / "lineage.duckdb"
    wal_of(database).unlink()
    database.unlink()
    duckdb.connect(str(database)).close()
    for command in COMMANDS:
        code, _, err = spnas(*command)
        assert code == 2
        assert "unless lineage.duckdb was copied without lineage.duckdb.wal" in err


def write_later_version(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (999, '0999_future.sql', '7.8.9')")


def test_a_run_of_a_later_version_is_refused_by_every_command_with_the_version_it_needs(
    spnas: Spnas, runs: Path, tmp_path: Path
) -> None:
    shutil.copytree(runs / "finished", tmp_path / "run")
    write_later_version(tmp_path / "run" / "lineage.duckdb")
    before = contents(tmp_path / "run")
    for command in (*COMMANDS, ("fsck", "run")):
        code, out, err = spnas(*command)
        assert (code, out, err.count("\n")) == (2, "", 1), command
        assert "use spnas-orch 7.8.9 or later" in err
    start = ("start", EXAMPLE, "--simulate")
    assert spnas(*start, "--run-dir", "run")[0] == 2
    code, _, err = spnas(*start, "--set", f"serial.search_algorithm.last_search_result={tmp_path / 'run'}")
    assert code == 2
    assert "use spnas-orch 7.8.9 or later" in err
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize(
    ("damage", "expected"), [(cut(0.5), "restore both files"), (write_later_version, "spnas-orch 7.8.9 or later")]
)
def test_watching_what_can_not_be_read_ends_with_the_reason(
    runs: Path, tmp_path: Path, damage: Callable[[Path], None], expected: str
) -> None:
    shutil.copytree(runs / "finished", tmp_path / "run")
    damage(tmp_path / "run" / "lineage.duckdb")
    with Terminal(tmp_path, "watch", "run") as terminal:
        told = terminal.until(expected)
        assert terminal.process.wait(60) == 2
    assert "Traceback" not in told


def test_a_run_whose_process_was_killed_is_told_from_one_that_ended(runs: Path) -> None:
    assert RunFolder(runs / "killed").was_killed()
    assert not RunFolder(runs / "finished").was_killed()
