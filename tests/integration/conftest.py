"""A command line in a folder of its own, a finished run or a live one in it, and a broker."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from brokers import Mosquitto
from simulated import COMMAND, EXAMPLE, Spnas, offered, paced, wait_for


@pytest.fixture
def spnas(tmp_path: Path) -> Spnas:
    """Run the command in an empty folder; without a terminal, as a script would."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )

    return run


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    subprocess.run(
        [COMMAND, "start", EXAMPLE / "sp_nas.yml", "--simulate", "--run-dir", folder],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder


@pytest.fixture
def finished(finished_once: Path, tmp_path: Path) -> Path:
    """A finished simulated run."""
    return Path(shutil.copytree(finished_once, tmp_path / "run"))


@pytest.fixture
def run(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A run that goes on for a minute or so (or at another speed), once its bus is there."""
    with paced(tmp_path, "--speed", getattr(request, "param", "40")) as process:
        folder = tmp_path / "run"
        wait_for(lambda: "mqtt" in offered(folder))
        yield folder
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that runs, without TLS."""
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.stop()
