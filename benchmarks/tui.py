"""What the terminal UI costs, at 160x50: to open a long run; without a terminal (Textual's pilot) to keep up, and to wait.

    python -m benchmarks.tui open [--candidates 10000]
    python -m benchmarks.tui pace [--rate 1000] [--seconds 20]
    python -m benchmarks.tui memory [--events 3600000]
    python -m benchmarks.tui idle [--seconds 30]

`open`: from the start of `spnas-orch watch` to a picture of all candidates, of a run on disk. `pace`: from an event to the
picture that has it. `memory`: of the process, while an hour's worth of a thousand events a second is shown as fast as it
goes. `idle`: share of a core, on a live run that has no news. What it printed, and on what, is in benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from lineage.events import (
    CandidateProposed,
    EpochFinished,
    Event,
    JobAssigned,
    JobFinished,
    PhaseStarted,
    Recorded,
    RunStarted,
    WeightsInherited,
    WorkerStarted,
)
from lineage.store import EventStore
from orchestrator.run_folder import RunFolder
from orchestrator.watching import COMMAND, RUBBISH, app_of
from tui.app import SpnasApp
from tui.source import Answer, Contact, News, SourceError

SIZE = (160, 50)
DEVICES = 4
TIMES = 5
START = datetime(2026, 1, 1, tzinfo=UTC)


def search(epochs: int, candidates: int = 10**6) -> Iterator[Event]:
    """A serial search of so many candidates, and so many epochs each."""
    algorithm = {"search_algorithm": {"max_sample": 100_000}, "trainer": {"epoch": epochs}}
    config = {"pipeline": ["serial"], "serial": algorithm}
    yield RunStarted(run_id="benchmark", seed=1, simulated=False, slots=DEVICES, window=DEVICES, config=config)
    for number in range(DEVICES):
        yield WorkerStarted(device=f"cuda:{number}", name="GPU")
    yield PhaseStarted(step="serial", phase="serial")
    for number in range(1, candidates + 1):
        yield from _candidate(number, epochs)


def _candidate(number: int, epochs: int) -> Iterator[Event]:
    name, job = f"s-{number:04d}", f"j-s-{number:04d}"
    parent = f"s-{1 + (number * 7919) % (number - 1):04d}" if number > 1 else None
    ap = 0.5 - 0.4 / (1 + number / 500) - (number * 2654435761 % 1000) / 10_000
    stages = ["1" * (1 + number % 9), "2" + "1" * (number % 5), "2" + "1" * (number // 5 % 7), "21"]
    yield CandidateProposed(
        candidate_id=name,
        step="serial",
        phase="serial",
        parent_id=parent,
        morphisms=("expand(0@1 +1)",) if parent else (),
        code=f"b_{'-'.join(stages)}_0-0-0-0",
        block_ids=tuple(tuple(f"{name}.{block}" for block in range(len(stage))) for stage in stages),
        base_width=16,
        params=700_000 + 1000 * (number % 977),
        flops=130_000_000 + 10_000 * (number * 31 % 9973),
    )
    device = f"cuda:{number % DEVICES}"
    yield JobAssigned(job_id=job, job_kind="fast_train", subject_id=name, device=device, attempt=1, repeat=1)
    if parent is not None:
        counts = {"tensors_copied": 120, "tensors_adapted": 2, "tensors_new": 11, "tensors_dropped": 0}
        yield WeightsInherited(job_id=job, attempt=1, child_id=name, parent_id=parent, residual=1e-7, **counts)
    for epoch in range(1, epochs + 1):
        yield EpochFinished(job_id=job, attempt=1, epoch=epoch, epochs=epochs, loss=1 / epoch, ap=ap * epoch / epochs)
    yield JobFinished(job_id=job, attempt=1, checkpoint=f"{number:064x}", ap=ap)


def recorded(events: Iterator[Event], apart_s: float) -> Iterator[Recorded]:
    for seq, event in enumerate(events, 1):
        yield Recorded(seq=seq, event_id=f"e-{seq}", ts=START + timedelta(seconds=apart_s * seq), event=event)


class Told:
    """A run of which a benchmark tells news."""

    name = "benchmark"

    def __init__(self) -> None:
        self._news: asyncio.Queue[News] = asyncio.Queue(100)

    async def tell(self, news: News) -> None:
        await self._news.put(news)

    async def news(self) -> AsyncGenerator[News]:
        yield Contact("live")
        while True:
            yield await self._news.get()

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object) -> Answer:
            raise SourceError(f"a benchmark has no {name}")

        return refuse


class Frames:
    """When the app painted, and what it knew when it did."""

    def __init__(self, app: SpnasApp) -> None:
        self._app, self._paint = app, app._display
        self.seen: list[tuple[float, int]] = []
        app._display = self._display  # type: ignore[method-assign]

    def _display(self, *arguments: Any) -> None:
        self._paint(*arguments)
        self.seen.append((time.perf_counter(), self._app._shown.view.last_seq))

    async def until(self, seq: int, limit_s: float = 60) -> None:
        """Wait until something is painted that has event `seq`."""
        ends = time.perf_counter() + limit_s
        while not self.seen or self.seen[-1][1] < seq:
            if time.perf_counter() > ends:
                raise SystemExit(f"event {seq} is not on the screen after {limit_s} s")
            await asyncio.sleep(0.002)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write(folder: RunFolder, candidates: int) -> int:
    """A run on disk with so many candidates, all trained; how many events it has."""
    folder.path.mkdir()
    events, count = search(epochs=1, candidates=candidates), 0
    with EventStore.create(folder.database) as store:
        while page := list(itertools.islice(events, 5000)):
            store.append(page, START + timedelta(seconds=count))
            count += len(page)
    return count


def opened(run: Path, told: bytes) -> float:
    """Seconds from the start of `spnas-orch watch` until something is on its terminal."""
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, SIZE[::-1])
    began, seen = time.perf_counter(), b""
    with subprocess.Popen([*COMMAND, str(run)], stdin=terminal, stdout=terminal, stderr=terminal) as process:
        os.close(terminal)
        while told not in seen:
            seen += os.read(ours, 2**16)
        took = time.perf_counter() - began
        process.kill()
    os.close(ours)
    return took


def measure_open(candidates: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        run = Path(place) / "run"
        events = write(RunFolder(run), candidates)
        took = [opened(run, b"%d trained" % candidates) for _ in range(TIMES)]
    say(
        f"{candidates} candidates, {events} events: on the screen {statistics.median(took):.2f} s after the start of the "
        f"process (median of {TIMES}, {min(took):.2f} to {max(took):.2f})"
    )


async def measure_pace(rate: int, seconds: int) -> None:
    told, at = Told(), []
    app = app_of(told)
    async with app.run_test(size=SIZE):
        frames = Frames(app)
        began = time.perf_counter()
        for number, one in enumerate(recorded(itertools.islice(search(epochs=5), rate * seconds), 1 / rate)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            at.append(time.perf_counter())
            await told.tell([one])
        await frames.until(len(at))
    shown, waits = iter(frames.seen), []
    when, seq = next(shown)
    for number, sent in enumerate(at, 1):
        while seq < number:
            when, seq = next(shown)
        waits.append(1000 * (when - sent))
    cuts = statistics.quantiles(waits, n=100)
    say(
        f"{rate} events/s for {seconds} s, {len(at) / (at[-1] - at[0]):.0f}/s told: from event to screen {cuts[49]:.0f} ms "
        f"(median), {cuts[98]:.0f} ms (99 of 100), {max(waits):.0f} ms at most; {len(frames.seen)} pictures"
    )


async def measure_memory(events: int) -> None:
    told, process = Told(), psutil.Process()
    app = app_of(told)
    async with app.run_test(size=SIZE):
        frames, seq, began = Frames(app), 0, time.perf_counter()
        feed = recorded(search(epochs=events // 50), 1 / 1000)
        for tenth in range(1, 11):
            while page := list(itertools.islice(feed, min(1000, events * tenth // 10 - seq))):
                seq = page[-1].seq
                await told.tell(page)
            await frames.until(seq)
            frames.seen.clear()
            gc.collect()
            say(
                f"{seq} events: {process.memory_info().rss / 1e6:.0f} MB, {seq / (time.perf_counter() - began):.0f} events/s"
            )


async def measure_idle(seconds: int) -> None:
    told, process = Told(), psutil.Process()
    app = app_of(told)
    async with app.run_test(size=SIZE):
        page = list(recorded(itertools.islice(search(epochs=5), 5000), 1))
        await told.tell(page)
        await Frames(app).until(page[-1].seq)
        for mode in app.MODES:
            await app.switch_mode(mode)
            await asyncio.sleep(2)
            before, began = process.cpu_times(), time.perf_counter()
            await asyncio.sleep(seconds)
            after = process.cpu_times()
            used = after.user + after.system - before.user - before.system
            say(f"{mode}: {100 * used / (time.perf_counter() - began):.1f} % of a core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    for name, option, default in (
        ("open", "--candidates", 10_000),
        ("memory", "--events", 3_600_000),
        ("idle", "--seconds", 30),
    ):
        what.add_parser(name).add_argument(option, type=int, default=default)
    pace = what.add_parser("pace")
    pace.add_argument("--rate", type=int, default=1000)
    pace.add_argument("--seconds", type=int, default=20)
    options = parser.parse_args()
    gc.set_threshold(*RUBBISH)
    match options.what:
        case "open":
            measure_open(options.candidates)
        case "pace":
            asyncio.run(measure_pace(options.rate, options.seconds))
        case "memory":
            asyncio.run(measure_memory(options.events))
        case "idle":
            asyncio.run(measure_idle(options.seconds))


if __name__ == "__main__":
    main()
