"""A live run, asked and heard from outside: real processes, simulated trainings that take a while."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from orchestrator.live.sql_server import load_extensions

COMMAND = str(Path(sys.executable).parent / "spnas-orch")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """The folder of a run that goes on for a minute or so."""
    subprocess.run([COMMAND, "init"], cwd=tmp_path, check=True, capture_output=True)
    start = [COMMAND, "start", "sp_nas.yml", "--run-dir", "run", "--simulate", "--speed", "40", "--no-tui"]
    with subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        yield tmp_path / "run"
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(30)


def offered(run: Path, part: str) -> dict[str, str]:
    """What the endpoint says of a part, once it does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if (run / "endpoint.json").exists():
            found = json.loads((run / "endpoint.json").read_text()).get(part)
            if found:
                return found
        time.sleep(0.1)
    raise AssertionError(f"no {part} was offered")


def test_a_live_run_answers_any_duckdb_client_that_has_the_token(live: Path) -> None:
    quack = offered(live, "quack")
    assert (live / "endpoint.json").stat().st_mode & 0o777 == 0o600
    with duckdb.connect() as client:
        load_extensions(client)
        client.execute(f"ATTACH '{quack['uri']}' AS live (TOKEN '{quack['token']}')")
        ((before,),) = client.execute("SELECT max(seq) FROM live.events").fetchall()
        deadline = time.monotonic() + 30
        while client.execute("SELECT max(seq) FROM live.events").fetchall() == [(before,)]:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        with pytest.raises(duckdb.Error):
            client.execute("DELETE FROM live.events")
    with duckdb.connect() as stranger:
        load_extensions(stranger)
        with pytest.raises(duckdb.Error):
            stranger.execute(f"ATTACH '{quack['uri']}' AS live (TOKEN 'somethingelse')")
