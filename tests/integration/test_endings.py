"""However a command ends, by a signal or because nobody reads on, it ends in order and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from simulated import COMMAND, Spnas, is_gone, only_child, paced, wait_for
from test_sql import ENDLESS, Terminal

from orchestrator.run_folder import RunFolder

ENDING = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where temporary files lie."""
    place = tmp_path / "temporary"
    place.mkdir()
    return place


@contextmanager
def asking(
    run: Path, place: Path, *, nohup: bool = False, live: bool = False
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process with a question that takes for ever, and the number of the one that answers it."""
    command = [COMMAND, "sql", str(run), ENDLESS, "--memory", "9GB"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        ["nohup", *command] if nohup else command,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env={**os.environ, "TMPDIR": str(place)},
    ) as process:
        answering = only_child(process.pid)
        if live:
            answering = only_child(answering)  # what asks a live run has a session of its own
        wait_for(lambda: cores_s(answering) > 0.4)
        yield process, answering
        process.kill()


def cores_s(process: int) -> float:
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(params=[False, True], ids=["finished", "live"])
def run(request: pytest.FixtureRequest, finished: Path) -> Iterator[tuple[Path, bool]]:
    """A run, and whether it is live."""
    with RunFolder(finished).held() if request.param else nullcontext():
        yield finished, request.param


@pytest.mark.parametrize("number", [*ENDING, signal.SIGINT])
def test_a_signal_ends_a_query_and_what_answers_it_and_no_file_is_left(
    run: tuple[Path, bool], place: Path, number: signal.Signals
) -> None:
    with asking(run[0], place, live=run[1]) as (process, answering):
        assert len(list(place.iterdir())) == 2  # the copy of the run, and the answer
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (128 + number, "", "")
    assert list(place.iterdir()) == []
    wait_for(lambda: is_gone(answering))


def test_what_answers_ends_with_who_asked_even_if_that_is_killed_and_the_next_tidies_up(
    run: tuple[Path, bool], finished: Path, place: Path
) -> None:
    with asking(run[0], place, live=run[1]) as (process, answering):
        process.kill()
        process.wait()
        wait_for(lambda: is_gone(answering), timeout_s=5)
    assert list(place.iterdir()) != []
    command, environment = [COMMAND, "sql", str(finished), "SELECT 1"], {**os.environ, "TMPDIR": str(place)}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    assert list(place.iterdir()) == []


def test_a_hangup_that_is_ignored_ends_nothing(finished: Path, place: Path) -> None:
    with asking(finished, place, nohup=True) as (process, answering):
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        assert not is_gone(answering)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_the_prompt_in_order(finished: Path, tmp_path: Path, number: signal.Signals) -> None:
    with Terminal(tmp_path, "sql", "run") as terminal:
        terminal.until("run>")
        terminal.process.send_signal(number)
        assert terminal.process.wait(30) == 128 + number


def test_a_search_hears_signals_itself(tmp_path: Path) -> None:
    for number, code in ((signal.SIGTERM, 130), (signal.SIGHUP, -signal.SIGHUP)):
        folder = tmp_path / number.name
        folder.mkdir()
        live = paced(folder, "--speed", "20")
        wait_for((folder / "run" / "endpoint.json").exists)
        live.send_signal(number)
        live.communicate(timeout=30)
        assert live.returncode == code


def test_a_command_whose_streams_are_closed_says_nothing(finished: Path, tmp_path: Path) -> None:
    for command in ("status run", "lineage run", "why run s-0001", "sql run 'SELECT 1'", "watch run --json"):
        for closed in (">&-", ">&- 2>&- <&-"):
            done = subprocess.run(
                ["bash", "-c", f"{COMMAND} {command} {closed}"],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=60,
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), command


@pytest.mark.parametrize(
    "command", ["sql run 'FROM range(100000)' --format csv", "sql run 'FROM range(100000)'", "watch run --json"]
)
def test_a_reader_who_has_seen_enough_is_no_error(finished: Path, tmp_path: Path, command: str) -> None:
    script = f"{COMMAND} {command} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")


def test_an_error_is_told_where_no_output_can_be(spnas: Spnas, tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{COMMAND} status none >&-"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr[:11]) == (2, "error: no r")
