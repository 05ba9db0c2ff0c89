"""A run's events on MQTT: on the broker of its own and on Debian's mosquitto, whatever becomes of the broker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from brokers import PASSWORD, PROGRAM, USER, Mosquitto
from simulated import COMMAND, EXAMPLE, Spnas, paced, wait_for

from lineage.snapshot import open_snapshot

needs_mosquitto = pytest.mark.skipif(PROGRAM is None, reason="there is no mosquitto: apt-get install mosquitto")
Seen = list[tuple[str, dict[str, Any]]]
"""Topics and payloads."""


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def mosquitto(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path / "broker", tls=request.param)
    yield broker
    broker.stop()


def client(broker: Mosquitto, password: str = PASSWORD) -> aiomqtt.Client:
    tls = ssl.create_default_context(cafile=broker.folder / "ca.pem") if broker.tls else None
    return aiomqtt.Client("localhost", broker.port, username=USER, password=password, tls_context=tls, timeout=10)


async def listen(broker: Mosquitto, until: str, seen: Seen) -> None:
    """Hear everything until the status is a certain one."""
    async with asyncio.timeout(60), client(broker) as connection:
        await connection.subscribe("spnas/#", qos=1)
        async for message in connection.messages:
            assert isinstance(message.payload, bytes)
            seen.append((str(message.topic), json.loads(message.payload)))
            if str(message.topic).endswith("/status") and seen[-1][1]["state"] == until:
                return


def heard(broker: Mosquitto, process: subprocess.Popen[str], until: str = "completed") -> Seen:
    """What a client hears until the run is over; the run ends well."""
    seen: Seen = []
    asyncio.run(listen(broker, until, seen))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return seen


def logged(run: Path) -> list[tuple[int, str]]:
    with open_snapshot(run / "lineage.duckdb") as store:
        return [(one.seq, one.event.kind) for one in store.read()]


def events(seen: Seen) -> list[tuple[int, str]]:
    return [(payload["seq"], topic.rpartition("/")[2]) for topic, payload in seen if "/events/" in topic]


def endpoint(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def is_there() -> bool:
        if (run / "endpoint.json").exists():
            found.update(json.loads((run / "endpoint.json").read_text()))
        return "mqtt" in found

    wait_for(is_there)
    return found


@needs_mosquitto
def test_every_event_is_published_in_order_with_its_number(mosquitto: Mosquitto, tmp_path: Path) -> None:
    mosquitto.start()
    process = paced(tmp_path, *mosquitto.settings)
    seen = heard(mosquitto, process)
    assert events(seen) == logged(tmp_path / "run")
    assert {topic.split("/")[1] for topic, _ in seen} == {"run"}
    assert seen[-1][1]["seq"] == logged(tmp_path / "run")[-1][0]


@needs_mosquitto
def test_the_password_is_in_no_file_of_the_run_and_in_no_process_list(plain: Mosquitto, tmp_path: Path) -> None:
    process = paced(tmp_path, *plain.settings)
    endpoint(tmp_path / "run")
    shown = [file.read_bytes() for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
    heard(plain, process)
    files = [file for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert len(files) > 5
    for content in [*shown, *(file.read_bytes() for file in files)]:
        assert PASSWORD.encode() not in content


@needs_mosquitto
def test_an_absent_broker_delays_nothing_and_gets_everything_once_it_is_there(plain: Mosquitto, tmp_path: Path) -> None:
    plain.stop()
    process = paced(tmp_path, *plain.settings, "--speed", "60")
    wait_for(lambda: (tmp_path / "run" / "total_list_s.csv").exists() or _count(tmp_path / "run") > 40)
    plain.start()
    assert events(heard(plain, process)) == logged(tmp_path / "run")


def _count(run: Path) -> int:
    try:
        return len(logged(run))
    except Exception:
        return 0


@needs_mosquitto
def test_a_broker_that_hangs_delays_nothing_and_misses_nothing(plain: Mosquitto, tmp_path: Path) -> None:
    run, seen = tmp_path / "run", Seen()
    process = paced(tmp_path, *plain.settings, "--speed", "150")

    async def story() -> None:
        listening = asyncio.create_task(listen(plain, "completed", seen))
        while len(events(seen)) < 20:
            await asyncio.sleep(0.05)
        plain.signal(signal.SIGSTOP)
        await asyncio.to_thread(wait_for, lambda: _count(run) > 60)
        plain.signal(signal.SIGCONT)
        await listening

    asyncio.run(story())
    process.communicate(timeout=60)
    assert list(dict.fromkeys(events(seen))) == logged(run)


@needs_mosquitto
def test_what_a_broker_missed_of_a_run_that_was_killed_it_gets_from_its_resumption(
    plain: Mosquitto, tmp_path: Path
) -> None:
    plain.stop()
    process = paced(tmp_path, *plain.settings)
    wait_for(lambda: _count(tmp_path / "run") > 30)
    process.kill()
    process.communicate()
    plain.start()
    seen = Seen()

    async def story() -> None:
        listening = asyncio.create_task(listen(plain, "completed", seen))
        resume = [COMMAND, "resume", "run", "--no-tui", "--speed", "300"]
        resumed = await asyncio.create_subprocess_exec(*resume, cwd=tmp_path, stdout=asyncio.subprocess.DEVNULL)
        await asyncio.gather(listening, resumed.wait())

    asyncio.run(story())
    assert list(dict.fromkeys(events(seen))) == logged(tmp_path / "run")


@needs_mosquitto
def test_a_wrong_password_is_told_and_the_run_goes_on(plain: Mosquitto, tmp_path: Path) -> None:
    (plain.folder / "password").write_text("wrong")
    process = paced(tmp_path, *plain.settings)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"publishing to localhost:{plain.port}" in errors
    assert "not authori" in errors.lower()
    assert errors.count("\n") < 5


@needs_mosquitto
def test_a_broker_whose_certificate_is_not_trusted_gets_nothing(tmp_path: Path) -> None:
    broker, stranger = (Mosquitto(tmp_path / name, tls=True) for name in ("broker", "stranger"))
    broker.start()
    try:
        (broker.folder / "ca.pem").write_bytes((stranger.folder / "ca.pem").read_bytes())
        process = paced(tmp_path, *broker.settings)
        _, errors = process.communicate(timeout=60)
    finally:
        broker.stop()
    assert process.returncode == 0
    assert "certificate verify failed" in errors


@needs_mosquitto
def test_the_broker_says_lost_when_a_run_is_gone_without_a_word(plain: Mosquitto, tmp_path: Path) -> None:
    seen: Seen = []
    process = paced(tmp_path, *plain.settings, "--speed", "30")
    endpoint(tmp_path / "run")

    async def kill() -> None:
        listening = asyncio.create_task(listen(plain, "lost", seen))
        while not any(payload.get("state") == "running" for _, payload in seen):
            await asyncio.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        await listening

    asyncio.run(kill())
    process.communicate()
    assert [payload["state"] for topic, payload in seen if topic.endswith("/status")] == ["running", "lost"]
    in_log = logged(tmp_path / "run")
    assert set(events(seen)) <= set(in_log), "an event was published before it was durable"


@needs_mosquitto
def test_a_run_on_a_broker_of_the_users_is_asked_and_followed_there(
    mosquitto: Mosquitto, tmp_path: Path, spnas: Spnas
) -> None:
    mosquitto.start()
    with paced(tmp_path, *mosquitto.settings, "--speed", "60") as process:
        found = endpoint(tmp_path / "run")
        assert "password" not in found["mqtt"]
        assert "paused by" in spnas("pause", "run").stdout
        url, certificate = f"{mosquitto.url}/run", ["--ca", mosquitto.folder / "ca.pem"] if mosquitto.tls else []
        environment = os.environ | {"SPNAS_MQTT_PASSWORD": PASSWORD}
        unsigned = elsewhere(environment, "continue", url, *certificate)
        assert (unsigned.returncode, unsigned.stdout) == (2, "")
        assert "SPNAS_RUN_KEY" in unsigned.stderr
        forged = elsewhere(environment | {"SPNAS_RUN_KEY": "0" * 32}, "continue", url, *certificate)
        assert forged.returncode == 2
        assert "is not signed with this run's key" in forged.stderr
        signed = elsewhere(environment | {"SPNAS_RUN_KEY": found["key"]}, "continue", url, *certificate)
        assert "continued by" in signed.stdout, signed.stderr
        watched = elsewhere(environment, "watch", url, "--json", *certificate)
        assert watched.returncode == 0, watched.stderr
        process.communicate(timeout=60)
    told = [json.loads(line) for line in watched.stdout.splitlines()]
    assert [(one["seq"], one["event"]["kind"]) for one in told] == logged(tmp_path / "run")


def elsewhere(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command as on a machine that has nothing of the run."""
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=90)


@needs_mosquitto
def test_a_run_that_is_over_is_published_again_on_the_users_broker(
    plain: Mosquitto, tmp_path: Path, spnas: Spnas
) -> None:
    paced(tmp_path, *plain.settings).communicate(timeout=60)
    seen = Seen()

    async def story() -> None:
        async with client(plain) as forgetting:
            await forgetting.publish("spnas/run/status", b"", qos=1, retain=True)
        listening = asyncio.create_task(listen(plain, "completed", seen))
        replaying = await asyncio.create_subprocess_exec(COMMAND, "replay", "run", cwd=tmp_path)
        await asyncio.gather(listening, replaying.wait())

    asyncio.run(story())
    assert events(seen) == logged(tmp_path / "run")
    plain.stop()
    gone = spnas("replay", "run")
    assert gone.returncode == 1
    assert f"publishing to localhost:{plain.port}" in gone.stderr


def test_a_configuration_that_names_what_is_not_there_is_refused_before_anything_starts(spnas: Spnas) -> None:
    for setting, words in (
        ("password_env=NO_SUCH_VARIABLE", "there is no environment variable NO_SUCH_VARIABLE"),
        ("password_file=no/such/file", "can't read"),
        ("ca=no/such/file", "can't read"),
        ("url=mqtt://a:hunter2@localhost", "holds a password"),
        ("url=http://localhost", "is no broker"),
        ("url=mqtt://a..b", "names a host that can't be one"),
        (f"ca={EXAMPLE / 'sp_nas.yml'}", "holds no certificate"),
    ):
        url = [] if setting.startswith("url") else ["--set", "general.bus.url=mqtts://localhost"]
        told = [*url, "--set", f"general.bus.{setting}"]
        done = spnas("start", EXAMPLE / "sp_nas.yml", "--simulate", "--speed", "9", *told, "--run-dir", "run")
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert "hunter2" not in done.stderr


def test_a_configuration_is_checked_for_what_its_broker_needs(spnas: Spnas) -> None:
    told = ["--set", "general.bus.url=mqtt://localhost", "--set", "general.bus.password_env=NO_SUCH_VARIABLE"]
    done = spnas("check", EXAMPLE / "sp_nas.yml", *told)
    assert done.returncode == 2
    assert "there is no environment variable NO_SUCH_VARIABLE" in done.stderr
