"""Asking a live run for something, with its key and without."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from simulated import Spnas, offered, paced, rows, wait_for

from lineage.snapshot import open_snapshot
from orchestrator.live.messages import Envelope, signature

REQUESTS = "SELECT request, who, refused FROM requests ORDER BY seq"


def test_what_is_asked_is_done_and_recorded_with_who_asked(spnas: Spnas, run: Path) -> None:
    for command in (
        ["pause", "run"],
        ["continue", "run"],
        ["set", "run", "serial.search_algorithm.max_sample=30"],
        ["reignite", "run"],
    ):
        done = spnas(*command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("event ")
        assert len(done.stdout.splitlines()) == 1
    asked = rows(run, REQUESTS)
    assert [one["request"] for one in asked] == [
        "pause",
        "continue",
        "set serial.search_algorithm.max_sample=30",
        "reignite",
    ]
    assert {one["refused"] for one in asked} == {None}
    assert all("@" in one["who"] for one in asked)


@pytest.mark.parametrize("run", ["10"], indirect=True)
def test_what_can_not_be_done_is_refused_with_the_reason_and_recorded_too(spnas: Spnas, run: Path) -> None:
    for command, words in (
        (["continue", "run"], "it is not paused"),
        (["cancel", "run", "s-0999"], "no training of that name runs; running: j-s-"),
        (["set", "run", "serial.search_algorithm.max_sample=no"], "valid integer"),
        (["set", "run", "general.seed=4"], "is fixed once the run has begun"),
    ):
        done = spnas(*command)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
    assert [one["refused"] is not None for one in rows(run, REQUESTS)] == [True] * 4


@pytest.mark.parametrize("job", ["", "j" * 300, "\x1b[31mj"])
def test_what_is_no_name_of_a_job_is_refused(spnas: Spnas, finished: Path, job: str) -> None:
    refused = spnas("cancel", str(finished), job)
    assert refused.returncode == 2, refused.stderr
    assert refused.stderr.startswith("error: cancel ")
    assert "\x1b" not in refused.stderr


def test_a_paused_run_says_so_and_trains_nothing_new(spnas: Spnas, run: Path) -> None:
    assert spnas("pause", "run").returncode == 0
    status = json.loads(spnas("status", "run", "--json").stdout)
    assert status["status"] == "paused"
    assert status["process"] is not None
    wait_for(lambda: not rows(run, "FROM jobs WHERE status = 'running'"))
    before = rows(run, "SELECT max(seq) AS last FROM events")
    time.sleep(1)
    assert rows(run, "SELECT max(seq) AS last FROM events") == before
    answer = json.loads(spnas("continue", "run", "--json").stdout)
    assert answer["event"]["kind"] == "RunContinued"
    wait_for(lambda: rows(run, "FROM jobs WHERE status = 'running'"))


@pytest.mark.parametrize("run", ["15"], indirect=True)
def test_a_cancelled_training_is_given_up(spnas: Spnas, run: Path) -> None:
    running = (
        "SELECT candidate_id, job_id FROM jobs WHERE status = 'running' AND candidate_id > 's-0001' ORDER BY started_at"
    )
    cancelled: list[str] = []

    def cancel() -> bool:
        """The newest one; it may be over before it is cancelled."""
        with open_snapshot(run / "lineage.duckdb") as store:
            newest = store.query(running).rows[-1:]
        cancelled.extend(candidate for candidate, job in newest if spnas("cancel", "run", job).returncode == 0)
        return bool(cancelled)

    wait_for(cancel)
    (candidate,) = rows(run, f"FROM candidates WHERE candidate_id = '{cancelled[0]}'")
    assert (candidate["status"], candidate["fault"]) == ("abandoned", "cancelled")


def test_a_run_that_is_asked_to_stop_ends_as_by_a_signal(spnas: Spnas, tmp_path: Path) -> None:
    process = paced(tmp_path, "--speed", "40")
    wait_for(lambda: "mqtt" in offered(tmp_path / "run"))
    assert "stop requested by" in spnas("stop", "run").stdout
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "spnas-orch resume run" in output
    assert not (tmp_path / "run" / "endpoint.json").exists()


def test_of_a_run_that_is_not_live_only_what_it_can_take_up_later_can_be_asked(spnas: Spnas, tmp_path: Path) -> None:
    process = paced(tmp_path, "--speed", "40")
    wait_for(lambda: "mqtt" in offered(tmp_path / "run"))
    process.kill()
    process.communicate()
    refused = spnas("pause", "run")
    assert refused.returncode == 2
    assert "is not live, so there is nothing to pause" in refused.stderr
    recorded = spnas("set", "run", "serial.search_algorithm.max_sample=11")
    assert recorded.returncode == 0, recorded.stderr
    assert "spnas-orch resume run" in recorded.stdout
    assert spnas("resume", "run", "--no-tui").returncode == 0
    assert len(rows(tmp_path / "run", "FROM candidates WHERE phase = 'serial'")) == 11
    assert "it is over" in spnas("set", "run", "serial.search_algorithm.max_sample=12").stderr


async def conversation(run: Path, messages: list[bytes], answers: int, **changes: Any) -> list[dict[str, Any]]:
    """What comes back for messages sent to a run as they are."""
    mqtt = offered(run)["mqtt"] | changes
    host, port = mqtt["url"].removeprefix("mqtt://").split(":")
    found: list[dict[str, Any]] = []
    async with (
        asyncio.timeout(20),
        aiomqtt.Client(host, int(port), username=mqtt["username"], password=mqtt["password"], timeout=5) as client,
    ):
        await client.subscribe("spnas/run/replies/me", qos=1)
        for message in messages:
            await client.publish("spnas/run/requests/me", message, qos=1)
        async for message in client.messages:
            if message.topic.matches("spnas/run/replies/me"):
                found.append(json.loads(message.payload))
            if len(found) == answers:
                return found
    raise AssertionError


async def session_of(run: Path) -> str:
    mqtt = offered(run)["mqtt"]
    host, port = mqtt["url"].removeprefix("mqtt://").split(":")
    async with (
        asyncio.timeout(20),
        aiomqtt.Client(host, int(port), username=mqtt["username"], password=mqtt["password"], timeout=5) as client,
    ):
        await client.subscribe("spnas/run/status", qos=1)
        async for message in client.messages:
            return json.loads(message.payload)["session"]
    raise AssertionError


def signed(run: Path, session: str, key: str | None = None, identity: str = "12345678") -> bytes:
    envelope = Envelope(id=identity, by="eve", body={"request": "pause"}, session=session)
    written = signature(key or offered(run)["key"], "run", envelope)
    return envelope.model_copy(update={"signature": written}).model_dump_json().encode()


def test_what_is_not_signed_with_the_key_or_was_said_before_is_refused_and_leaves_no_trace(
    spnas: Spnas, run: Path
) -> None:
    session = asyncio.run(session_of(run))
    good = signed(run, session)
    unsigned = Envelope(id="87654321", by="eve", body={"request": "stop"}).model_dump_json().encode()
    other = json.loads(signed(run, session, identity="a" * 8)) | {"body": {"request": "stop"}}
    tries = [
        unsigned,
        signed(run, session, key="0" * 32, identity="b" * 8),
        signed(run, "another session", identity="c" * 8),
        json.dumps(other).encode(),
        good,
        good,
    ]
    answers = asyncio.run(conversation(run, tries, len(tries)))
    assert [answer.get("error") for answer in answers if "error" in answer] == [
        "the request is not signed with this run's key"
    ] * 4 + ["this request was taken before"]
    assert [answer["event"]["event"]["kind"] for answer in answers if "event" in answer] == ["RunPaused"]
    assert [one["request"] for one in rows(run, REQUESTS)] == ["pause"]


def test_garbage_is_ignored_and_the_run_goes_on(spnas: Spnas, run: Path) -> None:
    deep = b'{"body":' + b"[" * 60_000
    garbage = [b"", b"x", b"\xff" * 100, b"{}", b"[]", b"null", deep, b"9" * 10**6, json.dumps({"id": 7}).encode()]
    good = signed(run, asyncio.run(session_of(run)))
    (answer,) = asyncio.run(conversation(run, [*garbage, good], 1))
    assert answer["event"]["event"]["kind"] == "RunPaused"


def test_without_the_password_nobody_gets_in_and_the_owner_can_say_nothing_but_requests(
    spnas: Spnas, run: Path
) -> None:
    for wrong in ({"password": "guess"}, {"username": "run"}, {"username": None, "password": None}):
        with pytest.raises(aiomqtt.MqttError):
            asyncio.run(conversation(run, [b"x"], 1, **wrong))

    async def forge() -> list[str]:
        mqtt = offered(run)["mqtt"]
        host, port = mqtt["url"].removeprefix("mqtt://").split(":")
        login = {"username": mqtt["username"], "password": mqtt["password"]}
        topics = []
        async with aiomqtt.Client(host, int(port), **login, timeout=5) as client:
            await client.subscribe("#", qos=1)
            for topic in ("spnas/run/events/Forged", "spnas/run/status", "spnas/run/requests/a/b", "elsewhere"):
                await client.publish(topic, b'{"state": "completed"}', qos=1)
            await client.publish("spnas/run/requests/me", b"the last", qos=1)
            async for message in client.messages:
                if message.payload == b"the last":
                    return topics
                topics.append(f"{message.topic} {message.payload!r}")
        raise AssertionError

    assert not any("Forged" in one or "completed" in one or "elsewhere" in one for one in asyncio.run(forge()))


def children(pid: int) -> dict[str, int]:
    """Process ids of what a run started, by the last part of their module's name."""
    found = {}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        found[command[-2].decode().rpartition(".")[2]] = int(child)
    return found


def test_a_bus_that_is_killed_is_replaced(spnas: Spnas, run: Path) -> None:
    before = offered(run)
    os.kill(children(before["pid"])["bus_server"], signal.SIGKILL)
    wait_for(lambda: offered(run).get("mqtt") not in (None, before["mqtt"]))
    assert spnas("pause", "run").returncode == 0


def test_a_bus_that_hangs_delays_nothing(spnas: Spnas, run: Path) -> None:
    bus = children(offered(run)["pid"])["bus_server"]
    os.kill(bus, signal.SIGSTOP)
    before = rows(run, "SELECT max(seq) AS last FROM events")
    wait_for(lambda: rows(run, "SELECT max(seq) AS last FROM events") != before)
    hopeless = spnas("pause", "run")
    assert hopeless.returncode == 1
    assert "Traceback" not in hopeless.stderr
    os.kill(bus, signal.SIGCONT)
    assert spnas("continue", "run").returncode in (0, 2)  # the pause may have been heard later
