"""A run is followed as lines of JSON, from its folder or from a broker, and a run that is over is told again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from simulated import COMMAND, Spnas, offered, paced, wait_for

from lineage.snapshot import open_snapshot


def lines_of(process: subprocess.Popen[str], until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    assert process.stdout is not None
    found: list[dict[str, Any]] = []
    for line in process.stdout:
        found.append(json.loads(line))
        if until(found[-1]):
            break
    return found


@pytest.mark.parametrize("after", [0, 12])
def test_a_run_is_followed_from_another_machine_as_lines_of_json(spnas: Spnas, tmp_path: Path, after: int) -> None:
    with paced(tmp_path, "--speed", "150") as process:
        folder = tmp_path / "run"
        wait_for(lambda: "mqtt" in offered(folder))
        mqtt = offered(folder)["mqtt"]
        url = mqtt["url"].replace("mqtt://", f"mqtt://{mqtt['username']}@") + "/run"
        watching = subprocess.run(
            [COMMAND, "watch", url, "--json", "--after", str(after)],
            env={**os.environ, "SPNAS_MQTT_PASSWORD": mqtt["password"]},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=90,
        )
        process.communicate(timeout=60)
    assert watching.returncode == 0, watching.stderr
    with open_snapshot(folder / "lineage.duckdb") as store:
        expected = [json.loads(one.model_dump_json()) for one in store.read(after_seq=after)]
    assert [json.loads(line) for line in watching.stdout.splitlines()] == expected


def test_a_run_is_followed_on_its_own_machine(spnas: Spnas, run: Path) -> None:
    command = [COMMAND, "watch", str(run), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        found = lines_of(process, lambda one: one["seq"] > 40)
        process.kill()
    assert [one["seq"] for one in found] == list(range(1, len(found) + 1))


def test_a_finished_run_is_told_from_its_folder(spnas: Spnas, finished: Path) -> None:
    done = spnas("watch", "run", "--json", "--after", "3")
    assert done.returncode == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[0]["seq"] == 4
    assert found[-1]["event"]["kind"] == "RunFinished"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://owner:secret@localhost/run", "put it in $SPNAS_MQTT_PASSWORD"),
        ("http://localhost/run", "names no run on a broker"),
        ("mqtt://localhost", "names no run on a broker"),
        ("mqtt://localhost:99999/run", "out of range"),
        ("mqtt://[x/run", "names no run on a broker (it is no URL)"),
        ("mqtt://a..b/run", "names a host that can't be one"),
        ("mqtt://owner:se/cret@localhost/run", "mqtt://owner:...@localhost/run names no run"),
    ],
)
def test_what_is_no_url_of_a_run_is_refused(spnas: Spnas, url: str, words: str) -> None:
    for command in (["watch", url, "--json"], ["pause", url]):
        done = spnas(*command)
        assert done.returncode == 2
        assert words in done.stderr
        assert "cret" not in done.stderr


def test_a_password_that_is_wrong_or_missing_is_told_with_where_it_is_from(run: Path) -> None:
    mqtt = offered(run)["mqtt"]
    url = mqtt["url"].replace("mqtt://", f"mqtt://{mqtt['username']}@") + "/run"
    unset = {name: value for name, value in os.environ.items() if name != "SPNAS_MQTT_PASSWORD"}
    for environment, words in (
        (unset | {"SPNAS_RUN_KEY": "k"}, "$SPNAS_MQTT_PASSWORD, which is not set"),
        (unset | {"SPNAS_RUN_KEY": "k", "SPNAS_MQTT_PASSWORD": "wrong"}, "the password is from $SPNAS_MQTT_PASSWORD\n"),
    ):
        for command in (["watch", url, "--json"], ["pause", url]):
            done = subprocess.run([COMMAND, *command], env=environment, capture_output=True, text=True, timeout=60)
            assert done.returncode == 2
            assert f"does not let '{mqtt['username']}' in" in done.stderr
            assert done.stderr.endswith(words if words.endswith("\n") else f"{words}\n")


def test_a_broker_that_is_not_there_is_told(spnas: Spnas) -> None:
    done = spnas("watch", "mqtt://127.0.0.1:1/run", "--json")
    assert done.returncode == 1
    assert "the broker on 127.0.0.1:1 can't be reached" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("after", [0, 60])
def test_the_events_of_a_run_that_is_over_are_published_again(
    spnas: Spnas, tmp_path: Path, finished: Path, after: int
) -> None:
    command = [COMMAND, "replay", "run", "--after", str(after)]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_for((finished / "replay.json").exists)
        second = spnas("replay", "run")
        assert (second.returncode, second.stderr.startswith(f"error: process {process.pid} replays")) == (2, True)
        assert (finished / "replay.json").stat().st_mode & 0o777 == 0o600
        mqtt = json.loads((finished / "replay.json").read_text())["mqtt"]
        url = mqtt["url"].replace("mqtt://", f"mqtt://{mqtt['username']}@") + "/run"
        refused, watching = [
            subprocess.run(
                [COMMAND, "watch", url, "--json", "--after", str(after)],
                env={**os.environ, "SPNAS_MQTT_PASSWORD": password},
                capture_output=True,
                text=True,
                timeout=60,
            )
            for password in ("guessed", mqtt["password"])
        ]
        _, told = process.communicate(timeout=30)
        assert process.returncode == 0
    assert refused.returncode == 2  # and it is not the client that is waited for
    assert len(told.splitlines()) == 1
    assert watching.stderr == ""
    assert watching.returncode == 0, watching.stderr
    with open_snapshot(finished / "lineage.duckdb") as store:
        expected = [json.loads(one.model_dump_json()) for one in store.read(after_seq=after)]
    assert [json.loads(line) for line in watching.stdout.splitlines()] == expected
    assert not (finished / "replay.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_replay_that_is_ended_leaves_no_password(tmp_path: Path, finished: Path, number: signal.Signals) -> None:
    command = [COMMAND, "replay", "run"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        wait_for((finished / "replay.json").exists)
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert len(told.splitlines()) == 1
    assert not (finished / "replay.json").exists()


def test_a_live_run_is_not_replayed(spnas: Spnas, run: Path) -> None:
    done = spnas("replay", "run")
    assert done.returncode == 2
    assert "its events are published as they come" in done.stderr


def test_a_replay_from_after_the_end_is_refused(spnas: Spnas, finished: Path) -> None:
    done = spnas("replay", "run", "--after", "99999")
    assert done.returncode == 2
    assert "and none after 99999" in done.stderr


@pytest.fixture
def mute() -> Iterator[socket.socket]:
    """Somebody who lets everyone in, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        yield server


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("scheme", ["mqtt", "mqtts"])
def test_whoever_waits_for_a_broker_ends_at_once(
    tmp_path: Path, mute: socket.socket, scheme: str, number: signal.Signals
) -> None:
    command = [COMMAND, "watch", f"{scheme}://me@127.0.0.1:{mute.getsockname()[1]}/run", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        connection, _ = mute.accept()
        began = time.monotonic()
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
        assert time.monotonic() - began < 3  # its patience with a handshake is 5 s and more
        connection.close()
    assert process.returncode == 128 + number
    assert told == ""
