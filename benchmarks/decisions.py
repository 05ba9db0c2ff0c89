"""The measurements that the decision records cite; nothing here is part of the program.

python benchmarks/decisions.py store     # events a second, one producer and 64
python benchmarks/decisions.py window    # how busy two simulated devices are when proposals run ahead of outcomes
python benchmarks/decisions.py ui        # how long the event loop of a search is held up, with and without the UI
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tui.feed import QueueFeed

from lineage.events import EpochFinished, JobAssigned, RunStarted
from lineage.store import EventStore
from lineage.writer import EventWriter
from orchestrator.config_file import load_config
from orchestrator.executors.simulated import EPOCH, SimulatedExecutor
from orchestrator.runtime import Runtime
from orchestrator.search.state import SearchState
from tui.app import SpnasApp

EXAMPLE = Path(__file__).parents[1] / "examples/digits/sp_nas.yml"
SPEED = 200.0
BUSY = """
    SELECT sum(epoch(finished_at - started_at)) / (2 * epoch(max(finished_at) - min(started_at))),
        (SELECT max(ap) FROM candidates)
    FROM jobs
"""


def store(folder: Path) -> None:
    """Events a second that are durable and projected, each producer waiting for its event before the next."""
    for producers, each in ((1, 300), (64, 100)):
        with EventStore.create(folder / f"{producers}.duckdb") as opened, EventWriter(opened) as writer:
            assigned = [
                JobAssigned(job_id=f"j-{n}", job_kind="fast_train", subject_id=f"s-{n}", device="cpu:0", attempt=1)
                for n in range(producers)
            ]
            writer.append(assigned, datetime.now(UTC)).result()

            def produce(job: JobAssigned, writer: EventWriter = writer, each: int = each) -> None:
                for epoch in range(1, each + 1):
                    event = EpochFinished(job_id=job.job_id, attempt=1, epoch=epoch, epochs=each, loss=1.0, ap=0.1)
                    writer.append([event], datetime.now(UTC)).result()

            start = time.perf_counter()
            with ThreadPoolExecutor(producers) as pool:
                list(pool.map(produce, assigned))
            rate = producers * each / (time.perf_counter() - start)
            sys.stdout.write(f"{producers} producers: {rate:.0f} events/s\n")


def window(folder: Path) -> None:
    """Share of two simulated devices' time that a serial step of 40 candidates uses, and its best AP, by window."""
    sets = ["serial.search_algorithm.max_sample=40", "serial.search_algorithm.reignite=", "pipeline=[serial]"]
    config, seeds = load_config(EXAMPLE, sets).to_mapping(), range(1, 11)
    for ahead in (1, 2, 3, 4):
        rows = [_simulate(folder / f"{ahead}-{seed}.duckdb", config, seed, ahead) for seed in seeds]
        busy, best = (sum(column) / len(seeds) for column in zip(*rows, strict=True))
        sys.stdout.write(f"window {ahead}: devices busy {busy:.0%} of the time, best AP (simulated) {best:.3f}\n")


def _simulate(path: Path, config: dict[str, Any], seed: int, ahead: int) -> tuple[float, float]:
    asyncio.run(_search(path, config, seed, ahead))
    with EventStore.open_read_only(path) as store:
        ((busy, best),) = store.query(BUSY).rows
    return busy, best


async def _search(
    path: Path, config: dict[str, Any], seed: int, ahead: int, speed: float | None = None, feed: QueueFeed | None = None
) -> None:
    started = RunStarted(run_id="measured", seed=seed, simulated=True, slots=2, window=ahead, config=config)
    with EventStore.create(path) as store, EventWriter(store) as writer:
        executor = SimulatedExecutor(["sim:0", "sim:1"], EPOCH, speed)
        runtime = Runtime(SearchState(), writer, executor, executor.now)
        runtime.listeners.extend([feed.publish] if feed else [])
        await runtime.run([started])


def ui(folder: Path) -> None:
    """Delay of a 5 ms timer in the event loop of a simulated search at 200 times real time, in milliseconds."""
    config = load_config(EXAMPLE, ["serial.search_algorithm.max_sample=40"]).to_mapping()

    async def measured(feed: QueueFeed | None) -> list[float]:
        search = asyncio.create_task(_search(folder / f"{bool(feed)}.duckdb", config, 1, 2, SPEED, feed))
        delays = []
        while not search.done():
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            delays.append(1000 * (time.perf_counter() - start) - 5)
        await search
        return sorted(delays)

    async def with_ui() -> list[float]:
        feed = QueueFeed()
        async with SpnasApp(feed, "measured").run_test(size=(160, 50)) as pilot:
            await pilot.pause()
            return await measured(feed)

    for name, delays in (("no UI", asyncio.run(measured(None))), ("UI, 160 x 50", asyncio.run(with_ui()))):
        p99 = delays[len(delays) * 99 // 100]
        sys.stdout.write(f"{name}: median {delays[len(delays) // 2]:.1f}, p99 {p99:.0f}, max {delays[-1]:.0f}\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=".") as temporary:
        {"store": store, "window": window, "ui": ui}[sys.argv[1]](Path(temporary))
