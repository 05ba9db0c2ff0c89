"""A world of faults: the real decisions, runtime, writer and store; trainings, clock, deaths and disk out of a seed.

A world outlives the orchestrators in it. Each life opens the store that the last one left, folds it, and runs until the
search is over or the world ends that life: between two steps, or while a transaction is written. Now and then the disk is
full, and weights are lost. What a training comes to depends on its job and on how often it failed before alone, so the
outcome of a search without any of that is what it has to come to with it.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lineage.errors import StoreFull
from lineage.events import (
    Event,
    Fault,
    JobAssigned,
    JobFailed,
    JobFinished,
    Recorded,
    RunResumed,
    RunStarted,
    WorkerLost,
    WorkerStarted,
)
from lineage.store import EventStore
from lineage.writer import EventWriter
from orchestrator.executors.simulated import simulate
from orchestrator.runtime import Runtime
from orchestrator.search.evolve import evolve
from orchestrator.search.state import SearchState
from orchestrator.search.weights import needs

TRIALS: tuple[tuple[Fault, ...], ...] = (
    ("crash",),
    ("crash", "crash"),
    ("hang",),
    ("out_of_memory",),
    ("out_of_memory", "crash"),
    ("non_finite",),
    ("lost_device", "crash"),
    ("data",),
    ("checkpoint",),
)
"""Faults of one job, one after another, before it ends well."""

DOOMED: tuple[Fault, ...] = ("crash", "hang", "out_of_memory", "non_finite", "broken_promise", "bug")
MAX_LIVES = 400


class Died(BaseException):
    """The orchestrator is gone, without a last word."""


@dataclass(frozen=True)
class Plan:
    """What goes wrong: how likely each job fails, how likely the orchestrator dies or the disk is full at a write, and how
    likely weights are lost after a training.
    """

    seed: int
    faults: float = 0.25
    doom: float = 0.05
    deaths: float = 0.0
    full_disk: float = 0.0
    losses: float = 0.0
    kill_at: int | None = None  # the first life dies once so many events are recorded


@dataclass
class World:
    """Runs one search on `path` to its end, through as many lives as it takes."""

    path: Path | None  # None: in memory, without any death
    started: RunStarted
    plan: Plan
    lives: int = 0
    mended: set[str] = field(default_factory=set)
    weights: set[str] = field(default_factory=set)  # on the disk
    losses: int = 0
    waits: int = 0
    clock: datetime = datetime(2030, 1, 1, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.random = random.Random(f"world {self.plan.seed}")  # of deaths and delays, not of what trainings come to
        self._memory: list[Recorded] = []

    def run(self) -> tuple[SearchState, list[Recorded]]:
        """The state and the log at the end."""
        while self.lives < MAX_LIVES:
            self.lives += 1
            try:
                state, log = self._live()
                if state.is_over:
                    return state, log
            except Died:
                pass
        raise AssertionError(f"not over after {MAX_LIVES} lives\n{self.story()}")

    def _live(self) -> tuple[SearchState, list[Recorded]]:
        if self.path is None:
            first = [RunResumed()] if self._memory else [self.started]
            memory = _Memory(self._memory)
            runtime = Runtime(self._look()[0], memory, _Executor(self), self._now, 0)  # type: ignore[arg-type]
            return asyncio.run(runtime.run(first)), self._memory
        new = not self.path.exists()
        with EventStore.create(self.path) if new else EventStore.open(self.path) as store:
            log = list(store.read())
            state = SearchState()
            for recorded in log:
                state = evolve(state, recorded.event)
            if state.is_over:
                return state, log
            with EventWriter(store) as writer:
                runtime = Runtime(state, _Writer(writer, self, len(log)), _Executor(self), self._now, 0)  # type: ignore[arg-type]
                state = asyncio.run(runtime.run([RunResumed()] if log else [self.started]))
            return state, list(store.read())

    def _look(self) -> tuple[SearchState, list[Recorded]]:
        log = self._memory
        if self.path is not None:
            with EventStore.open(self.path) as store:
                log = list(store.read())
        state = SearchState()
        for recorded in log:
            state = evolve(state, recorded.event)
        return state, log

    def _now(self) -> datetime:
        """A clock that is set forward and back now and then."""
        self.clock += timedelta(seconds=self.random.choice([1, 1, 1, 7, -3600, 86400]))
        return self.clock

    def trial(self, state: SearchState, assigned: JobAssigned) -> Fault | None:
        """How a training ends; None: well. What the user has to mend happens once."""
        rng = random.Random(f"{self.plan.seed}/{assigned.job_id}")
        if (
            rng.random() < self.plan.doom
            and assigned.subject_id != "s-0001"
            and not assigned.subject_id.startswith("f-")
        ):
            return rng.choice(DOOMED)
        faults = rng.choice(TRIALS) if rng.random() < self.plan.faults else ()
        failures = len(state.jobs[assigned.job_id].failures)
        fault = faults[failures] if failures < len(faults) else None
        if fault in ("data", "checkpoint"):
            if assigned.job_id in self.mended:
                return None
            self.mended.add(assigned.job_id)
        return fault

    def story(self) -> str:
        """The events so far, a line each."""
        _, log = self._look()
        lines = [f"{recorded.seq:4d} {recorded.event.kind} {_brief(recorded.event)}" for recorded in log]
        return "\n".join([f"seed {self.plan.seed}, {self.lives} lives", *lines])


def _brief(event: Event) -> str:
    values: dict[str, Any] = event.model_dump(
        exclude={"kind", "config", "block_ids", "versions"}, exclude_defaults=True
    )
    return ", ".join(f"{key} {value}" for key, value in values.items())[:160]


class _Writer:
    """The way to the store, on which the orchestrator may die before or after a transaction, or find no room."""

    def __init__(self, writer: EventWriter, world: World, recorded: int) -> None:
        self._writer, self._world, self._recorded = writer, world, recorded

    def append(self, events: Sequence[Event], ts: datetime) -> Future[list[Recorded]]:
        plan, rng = self._world.plan, self._world.random
        if rng.random() < plan.deaths / 2:
            raise Died
        if rng.random() < plan.full_disk:
            self._world.waits += 1
            raise StoreFull("no space left on device")
        future = self._writer.append(events, ts)
        future.result()
        self._recorded += len(events)
        first = self._world.lives == 1 and plan.kill_at is not None
        if rng.random() < plan.deaths / 2 or (first and self._recorded >= (plan.kill_at or 0)):
            raise Died
        return future


class _Memory:
    """A writer that keeps the log in a list."""

    def __init__(self, log: list[Recorded]) -> None:
        self._log = log

    def append(self, events: Sequence[Event], ts: datetime) -> Future[list[Recorded]]:
        future: Future[list[Recorded]] = Future()
        start = len(self._log) + 1
        recorded = [
            Recorded(seq=seq, event_id=f"e-{seq}", ts=ts, event=event) for seq, event in enumerate(events, start)
        ]
        self._log += recorded
        future.set_result(recorded)
        return future


class _Executor:
    """Trains by the world's plan, on its clock; reports come twice, late, and from attempts that are over."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._due: list[tuple[float, int, list[Event]]] = []
        self._count = 0
        self._time = 0.0

    async def start(self) -> None:
        for slot in range(self._world.started.slots):
            self._later(0, [WorkerStarted(device=f"d:{slot}", name="simulated")])

    def assign(self, state: SearchState, assigned: JobAssigned) -> None:
        world, rng = self._world, self._world.random
        fault = world.trial(state, assigned)
        reports, duration_s = simulate(state, assigned)
        lost = sorted(needs(state, assigned.subject_id) - world.weights)
        if lost:
            assert world.plan.losses, f"{assigned.subject_id} begins without {lost}\n{world.story()}"
            message = f"{lost[0]} is gone"
            reports = [
                JobFailed(
                    job_id=assigned.job_id,
                    attempt=assigned.attempt,
                    fault="checkpoint",
                    message=message,
                    checkpoint=lost[0],
                )
            ]
        elif fault is not None:
            failed = JobFailed(
                job_id=assigned.job_id, attempt=assigned.attempt, fault=fault, message=f"{fault} happened"
            )
            reports = [*reports[: rng.randrange(len(reports))], failed]
        if fault in ("crash", "hang", "lost_device") and not lost:
            lost = WorkerLost(device=assigned.device, message=f"{fault} happened")
            reports = [*reports, lost, WorkerStarted(device=assigned.device, name="simulated, again")]
        self._later(duration_s + assigned.pause_s, reports)
        if rng.random() < 0.3:  # all of it once more, later
            about_jobs = [one for one in reports if not isinstance(one, WorkerStarted | WorkerLost)]
            self._later(duration_s * rng.uniform(1, 3) + assigned.pause_s, about_jobs)
        if assigned.attempt > 1 and rng.random() < 0.5:  # an attempt that was given up comes to an end
            late = JobFinished(job_id=assigned.job_id, attempt=assigned.attempt - 1, checkpoint="late", ap=0.99)
            self._later(duration_s * rng.uniform(0, 2), [late])

    def delete(self, checkpoint: str) -> None:
        world = self._world
        assert checkpoint in world.weights or world.plan.losses, f"{checkpoint} is deleted twice\n{world.story()}"
        world.weights.discard(checkpoint)

    def cancel(self, job_id: str) -> None:
        """Nobody asks a world for anything."""

    def forget(self, job_id: str) -> None:
        """Trainings of a world are kept whole or not at all."""

    def drain(self) -> None:
        """Nobody asks a world to stop."""

    def _later(self, delay_s: float, reports: list[Event]) -> None:
        self._count += 1
        heapq.heappush(self._due, (self._time + delay_s, self._count, reports))

    async def reports(self) -> list[Event]:
        assert self._due, f"nothing more can happen\n{self._world.story()}"
        self._time, _, reports = heapq.heappop(self._due)
        await asyncio.sleep(0)
        world = self._world
        world.weights |= {
            one.checkpoint for one in reports if isinstance(one, JobFinished) and one.checkpoint != "late"
        }
        if world.weights and world.random.random() < world.plan.losses:
            world.weights.discard(world.random.choice(sorted(world.weights)))
            world.losses += 1
        return reports

    async def close(self) -> None:
        self._due.clear()


def outcome(log: Sequence[Recorded]) -> dict[str, Any]:
    """What a search has come to, whatever happened on the way: candidates, edges, results, decisions."""
    state = SearchState()
    for recorded in log:
        state = evolve(state, recorded.event)
    decisions = [
        recorded.event
        for recorded in log
        if recorded.event.kind in ("CandidateProposed", "ReignitionProposed", "PhaseFinished", "RunFinished")
    ]
    candidates = {
        name: (one.outcome, one.ap, one.checkpoint, one.parent_id, one.ruled_out)
        for name, one in state.candidates.items()
    }
    return {"candidates": candidates, "decisions": decisions, "status": state.status}
