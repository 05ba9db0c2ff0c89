"""The terminal UI on real terminals, beside a search and from elsewhere: whatever becomes of it, the search goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from brokers import PROGRAM, Mosquitto
from simulated import COMMAND, DECISIONS, EXAMPLE, Spnas, offered, paced, rows, wait_for
from terminals import Screen, Terminal

SEARCH = ("start", str(EXAMPLE / "sp_nas.yml"), "--simulate", "--run-dir", "run", "--speed")


@pytest.fixture
def expected(finished_once: Path) -> object:
    """What the search decides where nobody looks."""
    return rows(finished_once, DECISIONS)


def bus_of(search: int) -> psutil.Process:
    (bus,) = [one for one in psutil.Process(search).children() if "orchestrator.live.bus_server" in one.cmdline()]
    return bus


def test_a_search_on_a_terminal_opens_the_view_and_its_lines_follow_it(
    tmp_path: Path, spnas: Spnas, expected: object
) -> None:
    with Screen(tmp_path, *SEARCH, "150") as terminal:
        terminal.sees("SIMULATED", "▶ running", "AP over candidates", "Leaderboard")
        terminal.type("q")
        terminal.sees("files: run/", "next:")
        assert terminal.process.wait(60) == 0
    assert rows(tmp_path / "run", DECISIONS) == expected


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_view_that_is_killed_leaves_the_search_and_the_terminal(
    tmp_path: Path, spnas: Spnas, expected: object, number: signal.Signals
) -> None:
    with Screen(tmp_path, *SEARCH, "150") as terminal:
        terminal.sees("▶ running")
        children = Path(f"/proc/{terminal.process.pid}/task/{terminal.process.pid}/children").read_text().split()
        (view,) = [int(one) for one in children if "watch" in Path(f"/proc/{one}/cmdline").read_text()]
        os.kill(view, number)
        terminal.sees("files: run/")
        assert terminal.process.wait(60) == 0
    assert rows(tmp_path / "run", DECISIONS) == expected


def test_a_search_goes_on_when_its_terminal_is_closed(tmp_path: Path, spnas: Spnas, expected: object) -> None:
    with Screen(tmp_path, *SEARCH, "150") as terminal:
        terminal.sees("▶ running")
        terminal.hang_up()
        assert terminal.process.wait(60) == 0
    assert rows(tmp_path / "run", DECISIONS) == expected


def test_ctrl_c_beside_a_search_is_explained_and_stops_nothing(tmp_path: Path, spnas: Spnas) -> None:
    with Screen(tmp_path, *SEARCH, "40") as terminal:
        terminal.sees("▶ running")
        terminal.type("\x03")
        terminal.sees("q closes this view", "▶ running")
        count = "SELECT count(*) AS n FROM events"
        before = rows(tmp_path / "run", count)
        wait_for(lambda: rows(tmp_path / "run", count) != before)
        assert terminal.process.poll() is None


def test_a_live_run_is_paused_and_goes_on_from_another_terminal(run: Path, tmp_path: Path, spnas: Spnas) -> None:
    with Screen(tmp_path, "watch", "run") as terminal:
        terminal.sees("▶ running", "SIMULATED")
        terminal.type("p")
        terminal.sees("Pause?")
        terminal.answer("y")
        terminal.sees("‖ paused", "p goes on")
        assert "paused" in spnas("status", "run").stdout
        terminal.type("p")
        terminal.sees("y yes")
        terminal.answer("y")
        terminal.sees("▶ running")
        terminal.type("5")
        terminal.sees("tab completes a name")
        terminal.type("\n")  # ctrl+j
        terminal.sees("rows in", "candidate_id")
        terminal.type("\x1b")
        time.sleep(0.5)
        terminal.type("q")
        assert terminal.process.wait(30) == 0
    assert "running" in spnas("status", "run").stdout


def test_a_run_that_is_killed_looks_lost_and_one_that_is_resumed_runs_again(tmp_path: Path) -> None:
    with paced(tmp_path, "--speed", "40") as process:
        wait_for(lambda: "mqtt" in offered(tmp_path / "run"))
        with Screen(tmp_path, "watch", "run") as terminal:
            terminal.sees("▶ running")
            process.kill()
            terminal.sees("✗ lost", "go on with spnas-orch resume run")
            with Screen(tmp_path, "resume", "run", "--no-tui", "--speed", "40") as again:
                terminal.sees("▶ running")
                again.process.kill()


def test_a_search_that_is_suspended_and_a_bus_that_is_stuck_are_told_of(tmp_path: Path) -> None:
    with paced(tmp_path, "--speed", "40") as search:
        wait_for(lambda: "mqtt" in offered(tmp_path / "run"))
        bus = bus_of(search.pid)
        with Screen(tmp_path, "watch", "run") as terminal:
            terminal.sees("▶ running")
            for process, told in (
                (search, "STALE: its process is suspended"),
                (bus, "STALE: nothing was heard for 10 s"),
            ):
                process.send_signal(signal.SIGSTOP)
                terminal.sees(told)
                process.send_signal(signal.SIGCONT)
                wait_for(lambda: "STALE" not in terminal.text())
            terminal.sees("▶ running")
        search.kill()


def test_a_view_beside_a_search_that_is_killed_leaves_the_terminal_to_the_shell(tmp_path: Path) -> None:
    command = f"{COMMAND} {' '.join(SEARCH)} 40; echo back in the shell; exec sleep 60"
    with Screen(tmp_path, program=("sh", "-c", command)) as terminal:
        terminal.sees("▶ running")
        (search,) = psutil.Process(terminal.process.pid).children()
        (view,) = [one for one in search.children() if "watch" in one.cmdline()]
        search.kill()
        wait_for(lambda: not view.is_running() or view.status() == psutil.STATUS_ZOMBIE)
        terminal.sees("back in the shell")
        assert "Traceback" not in terminal.text()


def test_a_view_that_nobody_would_see_is_not_opened(tmp_path: Path, finished: Path) -> None:
    start = f"{COMMAND} start {EXAMPLE / 'sp_nas.yml'} --simulate --run-dir lines 2> errors"
    command = f"{start}; {COMMAND} watch run < /dev/null"
    with Terminal(tmp_path, program=("sh", "-c", command)) as terminal:
        terminal.until("run lines finished: all steps are done")
        terminal.until("watch needs a terminal")
    assert "\x1b" not in (tmp_path / "errors").read_text()


def test_a_bus_that_is_killed_leaves_a_view_of_the_files(tmp_path: Path) -> None:
    with paced(tmp_path, "--speed", "40") as search:
        wait_for(lambda: "mqtt" in offered(tmp_path / "run"))
        with Screen(tmp_path, "watch", "run") as terminal:
            terminal.sees("▶ running")
            before = offered(tmp_path / "run")["mqtt"]
            (bus,) = [
                one for one in psutil.Process(search.pid).children() if "orchestrator.live.bus_server" in one.cmdline()
            ]
            bus.kill()
            wait_for(lambda: offered(tmp_path / "run").get("mqtt") not in (None, before))
            terminal.type("p")
            terminal.sees("Pause?")
            terminal.answer("y")
            terminal.sees("‖ paused", "p goes on")
            assert "STALE" not in terminal.text()
        search.kill()


def test_a_run_that_its_broker_does_not_know_is_told(run: Path, tmp_path: Path) -> None:
    mqtt = offered(run)["mqtt"]
    url = mqtt["url"].replace("mqtt://", f"mqtt://{mqtt['username']}@") + "/another"
    with Terminal(tmp_path, "watch", url, SPNAS_MQTT_PASSWORD=mqtt["password"]) as terminal:
        terminal.until("see its name, and that the run has this broker")
        assert terminal.process.wait(30) == 2


def test_a_run_is_watched_from_elsewhere_and_asked_with_its_key(run: Path, tmp_path: Path) -> None:
    found = offered(run)
    mqtt = found["mqtt"]
    url = mqtt["url"].replace("mqtt://", f"mqtt://{mqtt['username']}@") + "/run"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    secrets = {"SPNAS_MQTT_PASSWORD": mqtt["password"], "SPNAS_RUN_KEY": found["key"]}
    with Screen(elsewhere, "watch", url, **secrets) as terminal:
        terminal.sees("▶ running", "s-0002")
        terminal.type("5")
        terminal.sees("tab completes a name")
        terminal.type("\n")
        terminal.sees("b_11-21-21-21_0-0-0-0", "rows in")
        terminal.type("\x1b")
        time.sleep(0.5)
        terminal.type("4]]")
        terminal.sees("Why", "proposed")
        terminal.type("]]")
        terminal.sees("its logs are on the machine where it runs")
        terminal.type("1")
        terminal.type("\x1b")
        time.sleep(0.5)
        terminal.type("1p")
        terminal.sees("Pause?")
        terminal.answer("y")
        terminal.sees("‖ paused")


def test_signs_are_drawn_in_a_locale_that_does_not_know_them(finished: Path, tmp_path: Path) -> None:
    with Screen(tmp_path, "watch", str(finished), PYTHONIOENCODING="latin-1") as terminal:
        terminal.sees("✓ finished", "━")
        terminal.type("q")
        assert terminal.process.wait(30) == 0


def test_whoever_is_not_let_in_is_told_so_without_secrets(run: Path, tmp_path: Path) -> None:
    mqtt = offered(run)["mqtt"]
    url = mqtt["url"].replace("mqtt://", f"mqtt://{mqtt['username']}@") + "/run"
    with Terminal(tmp_path, "watch", url, SPNAS_MQTT_PASSWORD="guessed", SPNAS_RUN_KEY="secret") as terminal:
        told = terminal.until("does not let 'owner' in")
        assert terminal.process.wait(30) == 2
    assert "Traceback" not in told
    assert "guessed" not in told
    assert "secret" not in told


@pytest.mark.skipif(PROGRAM is None, reason="there is no mosquitto: apt-get install mosquitto")
def test_while_the_broker_is_away_what_is_shown_is_called_stale(plain: Mosquitto, tmp_path: Path) -> None:
    with paced(tmp_path, "--speed", "40", *plain.settings) as process:
        wait_for(lambda: "mqtt" in offered(tmp_path / "run"))
        with Screen(tmp_path, "watch", f"{plain.url}/run", SPNAS_MQTT_PASSWORD="correct horse") as terminal:
            terminal.sees("▶ running")
            plain.stop()
            terminal.sees("STALE")
            plain.start()
            wait_for(lambda: "STALE" not in terminal.text(), timeout_s=60)
            terminal.sees("▶ running")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def test_a_run_that_is_not_there_and_a_pipe_are_told(spnas: Spnas, finished: Path) -> None:
    missing = spnas("watch", "nothing")
    assert missing.returncode == 2
    piped = spnas("watch", "run")
    assert piped.returncode == 2
    assert "watch needs a terminal" in piped.stderr
