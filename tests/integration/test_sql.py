"""`sql` as a user meets it: answers in every form, limits, statements by a pipe, and a prompt on a terminal."""

from __future__ import annotations

import csv
import io
import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from simulated import COMMAND, Spnas, is_gone, only_child, wait_for
from terminals import Terminal

from lineage.events import RunResumed
from lineage.store import EventStore

ENDLESS = "SELECT list_reduce(range(100000000), lambda a, b: a + b)"  # DuckDB does not end it when it is asked to
TYPED = (
    "SELECT candidate_id, proposed_at, morphisms, ap::DECIMAL(9, 3) AS ap, "
    "TIMESTAMPTZ '2024-01-01 00:00:00+00' AS zoned, payload, [1.5::DECIMAL(4, 2)] AS listed "
    "FROM candidates JOIN inheritance ON child_id = candidate_id, events LIMIT 3 -- and no more"
)
TYPES = ["VARCHAR", "TIMESTAMP", "VARCHAR[]", "DECIMAL(9,3)", "TIMESTAMP WITH TIME ZONE", "JSON", "DECIMAL(4,2)[]"]


def piped(folder: Path, text: bytes, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [COMMAND, "sql", "run", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, input=text, capture_output=True, timeout=60)


def types_in(file: Path) -> list[str]:
    with duckdb.connect() as connection:
        return list(map(str, connection.read_parquet(str(file)).types))


def test_a_parquet_file_keeps_the_types(spnas: Spnas, finished: Path, tmp_path: Path) -> None:
    done = spnas("sql", finished, TYPED, "--format", "parquet", "--output", "a b'c.parquet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert types_in(tmp_path / "a b'c.parquet") == TYPES
    to_pipe = subprocess.run([COMMAND, "sql", finished, TYPED, "--format", "parquet"], capture_output=True, timeout=60)
    assert (to_pipe.returncode, to_pipe.stderr) == (0, b"")
    (tmp_path / "piped").write_bytes(to_pipe.stdout)
    with duckdb.connect() as connection:
        ours, theirs = (connection.read_parquet(str(tmp_path / name)).fetchall() for name in ("a b'c.parquet", "piped"))
    assert ours == theirs
    assert len(ours) == 3


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_an_answer_goes_into_a_file_or_a_pipe_alike(spnas: Spnas, finished: Path, tmp_path: Path, form: str) -> None:
    query = ("sql", finished, "SELECT candidate_id, 'é\n\"' AS odd FROM leaderboard", "--format", form)
    printed = spnas(*query)
    assert spnas(*query, "--output", "file").stdout == ""
    assert (tmp_path / "file").read_text(encoding="utf-8") == printed.stdout
    assert "é" in printed.stdout or "\\u00e9" in printed.stdout


def test_a_file_is_replaced_once_the_answer_is_whole(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "file").symlink_to("real")
    (tmp_path / "real").chmod(0o600)
    query = [COMMAND, "sql", "run", "FROM range(200000)", "--format", "csv", "--output", "file"]
    done = subprocess.run(["bash", "-c", f"umask 027; exec {shlex.join(query)}"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "real").read_text().splitlines() == ["range", *map(str, range(200000))]
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "file").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"real", "file", "run"}


def test_a_new_file_may_lie_in_the_runs_folder_and_stays(spnas: Spnas, finished: Path) -> None:
    query = ("sql", finished, "SELECT 1 AS a", "--format", "csv", "--output", finished / "mine.csv")
    assert spnas(*query).returncode == 0
    assert (finished / "mine.csv").read_text() == "a\n1\n"
    assert spnas(*query).returncode == 2


def test_statements_by_a_pipe_are_answered_one_after_another(finished: Path, tmp_path: Path) -> None:
    text = b"SELECT ';' AS a; -- one;\n\nFROM (SELECT 2 AS b);; -- two"
    done = piped(tmp_path, text, "--format", "csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a\n;\nb\n2\n", b"")
    done = piped(tmp_path, b"SELECT 1 AS a; SELEC; SELECT 3 AS c", "--format", "csv")
    assert (done.returncode, done.stdout) == (2, b"a\n1\n")
    assert done.stderr.startswith(b"error: the query failed: Parser Error")


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        (b"", (), b"nothing to answer: give a SELECT as an argument or on standard input"),
        (b" -- nothing\n;", (), b"nothing to answer"),
        (b"SELECT '\xff'", (), b"standard input is no UTF-8"),
        (b"SELECT 1" + b" " * 2**20, (), b"standard input has more than 1 MiB of SQL"),
        (b"SELECT 1; SELECT 2", ("--format", "parquet"), b"one file holds one answer, found 2 statements"),
        (b"SELECT 1; SELECT 2", ("--output", "file"), b"one file holds one answer, found 2 statements"),
        (
            b"SELECT 1",
            ("--output", "none/file"),
            b"the answer can't be written to none/file: No such file or directory",
        ),
        (b"SELECT 1", ("--output", "."), b"the answer can't be written to .: Is a directory"),
        (b"SELECT 1", ("--memory", "1KB"), b"--memory: DuckDB needs at least 16 MiB for itself, found '1KB'"),
        (b"SELECT 1", ("--memory", "lots"), b"--memory: expected bytes, or text such as 8GB or 8GiB, found 'lots'"),
        (b"SELECT 1", ("--memory", "8589934592GB"), b"--memory: expected 16 MiB to 1024 TiB, found '8589934592GB'"),
        (b"SELECT 1", ("--timeout", "0"), b"--timeout: expected 0.001 to 10000000 seconds, found 0\n"),
        (b"SELECT 1", ("--timeout", "inf"), b"--timeout: expected 0.001 to 10000000 seconds, found inf\n"),
        (b"SELECT 1", ("--timeout", "nan"), b"--timeout: expected 0.001 to 10000000 seconds, found nan\n"),
        (b"SELECT 1", ("--timeout", "1e300"), b"--timeout: expected 0.001 to 10000000 seconds, found 1e+300\n"),
        (b"SELECT 1", ("--output", "run/lineage.duckdb"), b"run/lineage.duckdb belongs to run run: name another file"),
        (b"SELECT 1", ("--output", "run/lineage.duckdb.wal"), b"lineage.duckdb.wal belongs to run run"),
        (b"SELECT 1", ("--output", "run/../run/config.yml"), b"belongs to run run: name another file for the answer"),
        (b"PRAGMA table_info('events')", (), b"only SELECT is allowed, found PRAGMA"),
        (b"PIVOT events ON kind USING count(*)", (), b"PIVOT has to say which values become columns"),
        (b"SELECT 1", ("--at", "9999"), b"the run has no event 9999"),
        (b"SELECT 1 AS a, 2 AS a", ("--format", "json"), b"two columns have one name in a, a"),
        (b"COPY run TO 'file'", (), b"only SELECT is allowed, found"),
        (b"ATTACH 'file'", (), b"only SELECT is allowed, found"),
        (b"FROM 'file'", (), b"the query failed"),
        (b"FROM read_text('/etc/passwd')", (), b"file system operations are disabled"),
        (b"FROM glob('/etc/*')", (), b"file system operations are disabled"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_can_not_be_answered_gets_one_message_and_exit_code_2(
    finished: Path, tmp_path: Path, text: bytes, arguments: tuple[str, ...], expected: bytes
) -> None:
    done = piped(tmp_path, text, *arguments)
    assert (done.returncode, done.stdout) == (2, b""), done
    assert expected in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "file").exists()


@pytest.mark.parametrize(
    ("query", "limit", "expected"),
    [
        (
            ENDLESS,
            ("--timeout", 0.5, "--memory", "9GB"),
            "took longer than 0.5 s; spnas-orch sql --timeout SECONDS gives it more",
        ),
        ("SELECT list(i) FROM range(1000000000) t(i)", ("--memory", "100MB"), "needs more memory than 0.1 GB, or its"),
        ("SELECT list_sum(range(300000000))", ("--memory", "100MB"), "needs more memory than 0.1 GB"),
        ("SELECT length(repeat('x', 1500000000))", ("--memory", "100MB"), "needs more memory than 0.1 GB"),
        (
            "FROM range(9000000)",
            ("--timeout", 3),
            "gives it more; if it is the table that takes long, --format csv is faster",
        ),
        ("FROM range(9000000)", ("--memory", "100MB"), "needs more memory than 0.1 GB"),
        ("FROM range(1000000000)", ("--memory", "20MB", "--format", "parquet"), "needs more memory than 0.02 GB"),
    ],
)
def test_a_query_that_passes_a_limit_is_ended_with_one_line(
    spnas: Spnas, finished: Path, query: str, limit: tuple[object, ...], expected: str
) -> None:
    done = spnas("sql", finished, query, *limit)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert expected in done.stderr


def test_an_interrupt_ends_the_query_and_what_answers_it(finished: Path, tmp_path: Path) -> None:
    command = [COMMAND, "sql", str(finished), ENDLESS, "--memory", "9GB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asking:
        child = only_child(asking.pid)
        asking.send_signal(signal.SIGINT)
        out, err = asking.communicate(timeout=30)
    assert (asking.returncode, out, err) == (130, "", "")
    wait_for(lambda: is_gone(child))


def test_the_past_is_asked_and_a_table_says_so(spnas: Spnas, finished: Path) -> None:
    query = ("sql", finished, "SELECT max(seq) AS last FROM events", "--at", 20)
    assert spnas(*query).stdout.startswith("as of event 20, ")
    assert json.loads(spnas(*query, "--format", "json").stdout) == [{"last": 20}]
    assert list(csv.reader(io.StringIO(spnas(*query, "--format", "csv").stdout))) == [["last"], ["20"]]


def test_where_there_is_no_room_for_the_answer_that_is_told(finished: Path, tmp_path: Path) -> None:
    command = [COMMAND, "sql", str(finished), "FROM range(100000)", "--format", "csv"]
    done = subprocess.run([*command, "--output", "/dev/full"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: the answer can't be written to /dev/full: No space left on device\n"


@pytest.fixture
def terminal(finished: Path, tmp_path: Path) -> Iterator[Terminal]:
    with Terminal(tmp_path, "sql", "run", "--memory", "9GB") as terminal:
        terminal.until("Ctrl-D leaves")
        terminal.until("run>")
        yield terminal


def test_a_prompt_answers_over_lines_and_sees_what_was_recorded_since(
    terminal: Terminal, finished: Path, tmp_path: Path
) -> None:
    terminal.type("SELECT 'x' || 'y;'\r")
    terminal.until("...")
    terminal.type(", count(*) || ' events' AS n FROM events;\r")
    before = int(terminal.until(" events │").split("│")[-2].split()[0])
    with EventStore.open(finished / "lineage.duckdb") as store:
        now = list(store.read())[-1].ts
        store.append([RunResumed()], now)
    terminal.until("run>")
    terminal.type("SELECT count(*) || ' after' FROM events;\r")
    terminal.until(f"│ {before + 1} after")
    terminal.until("run>")
    terminal.type("SELECT nothing;\r")
    terminal.until("error: the query failed: Binder Error")
    terminal.until("run>")
    terminal.type("\x04")
    assert terminal.process.wait(30) == 0
    history = tmp_path / "state" / "spnas-orch" / "sql_history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+, count(*) || ' events' AS n FROM events;" in history.read_text().splitlines()


def test_ctrl_c_gives_up_a_line_or_a_query_and_the_prompt_stays(terminal: Terminal) -> None:
    terminal.type("SELECT half")
    terminal.until("half")
    terminal.type("\x03")
    terminal.until("run>")
    terminal.type(f"{ENDLESS};\r")
    children = Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children")
    wait_for(lambda: children.read_text().split())
    terminal.type("\x03")
    terminal.until("given up")
    wait_for(lambda: all(is_gone(int(child)) for child in children.read_text().split()))
    terminal.until("run>")
    terminal.type("SELECT 'still' || ' here';\r")
    terminal.until("│ still here")


def test_the_prompt_completes_names_and_lists_them(terminal: Terminal) -> None:
    terminal.type("SELECT candidate_id FROM leaderb")
    terminal.until("leaderboard")  # offered
    terminal.type("\t LIMIT 1;\r")
    terminal.until("│ f-0001")
    terminal.until("run>")
    terminal.type(".tables\r")
    shown = terminal.until("│ weighed")
    assert "│ ancestors(id)" in shown
    assert "residual dead_tensors" in shown
    terminal.type(".help\r")
    terminal.until("Ctrl-D leaves.")
    terminal.type(".hlep\r")
    terminal.until("error: there is no command .hlep, but .tables and .help")


def test_a_prompt_may_look_at_the_past(finished: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path, "sql", "run", "--at", "20", "--format", "csv") as terminal:
        terminal.until("run at 20>")
        terminal.type("SELECT 'last ' || max(seq) AS \"is\" FROM events;\r")
        terminal.until("last 20\r\n")


def test_a_terminal_gets_no_parquet_and_no_file_without_a_statement(finished: Path, tmp_path: Path) -> None:
    for arguments, expected in (
        (("run", "SELECT 1", "--format", "parquet"), "parquet is not for people to read: name a file"),
        (("run", "--output", "file"), "--output goes with a statement"),
    ):
        with Terminal(tmp_path, "sql", *arguments) as terminal:
            terminal.until(expected)
            assert terminal.process.wait(30) == 2
