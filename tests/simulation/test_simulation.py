"""Whatever happens to orchestrator, workers, disk and clock, a search ends, and with what it would have ended with.

A failure names its seed and tells the story of its run, event by event. `make soak` tries more seeds.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from given import REIGNITE, configuration, run_started
from world import Plan, World, outcome

from lineage.events import JobFailed, JobFinished, Recorded, RunStarted

SHARED_MEMORY = Path("/dev/shm")
met = Counter[str]()  # in all stormy worlds
SEEDS = int(os.environ.get("SPNAS_SOAK_SEEDS", "100"))


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one: deaths are of the process here, not of the machine."""
    if not SHARED_MEMORY.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=SHARED_MEMORY) as folder:
        yield Path(folder)


def search(seed: int) -> RunStarted:
    """One of several kinds of searches, on one to three devices."""
    slots = 1 + seed % 3
    config = configuration(
        max_sample=3 + seed % 4,
        seeds_per_candidate=1 + (seed % 5 == 0),
        paired=seed % 4 == 0,
        reignite=REIGNITE | {"n_stuck": 2} if seed % 2 else None,
    )
    config["parallel"]["search_algorithm"]["max_sample"] = 2
    config["general"]["keep_checkpoints"] = [None, 0, 2][seed % 3]
    return run_started(config, slots, slots, seed)


def check(log: list[Recorded], world: World) -> None:
    """The laws of every log."""
    assert [recorded.seq for recorded in log] == list(range(1, len(log) + 1)), world.story()
    trained = [recorded.event.job_id for recorded in log if isinstance(recorded.event, JobFinished)]
    if not world.losses:
        assert len(trained) == len(set(trained)), f"trained twice\n{world.story()}"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_through_deaths_faults_and_full_disks_a_search_comes_to_what_it_would_have(seed: int, memory: Path) -> None:
    calm = World(None, search(seed), Plan(seed))
    _, expected = calm.run()
    losses = 0.1 if seed % 2 else 0.0
    stormy = World(memory / "stormy.duckdb", search(seed), Plan(seed, deaths=0.06, full_disk=0.02, losses=losses))
    _, log = stormy.run()
    check(expected, calm)
    check(log, stormy)
    assert outcome(log) == outcome(expected), stormy.story()
    failed = sum(isinstance(recorded.event, JobFailed) for recorded in log)
    met.update(
        seeds=1,
        events=len(log),
        deaths=stormy.lives - 1,
        failed_attempts=failed,
        full_disks=stormy.waits,
        lost_weights=stormy.losses,
    )


def test_all_of_that_did_happen(capsys: pytest.CaptureFixture[str]) -> None:
    if met["seeds"] < SEEDS:
        pytest.skip("counts are of all seeds together")
    with capsys.disabled():
        sys.stdout.write(f"\n{', '.join(f'{count} {name}' for name, count in met.items())}\n".replace("_", " "))
    assert all(count >= SEEDS / 10 for count in met.values()), met


def test_killed_at_any_event_a_search_comes_to_what_it_would_have(memory: Path) -> None:
    calm = World(None, search(1), Plan(1))
    _, expected = calm.run()
    for kill_at in range(1, len(expected)):
        killed = World(memory / f"{kill_at}.duckdb", search(1), Plan(1, kill_at=kill_at))
        _, log = killed.run()
        check(log, killed)
        assert outcome(log) == outcome(expected), f"killed at {kill_at}\n{killed.story()}"
