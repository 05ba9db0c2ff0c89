"""A seeded stand-in for training, on a virtual clock. Everything it reports is simulated; torch is never imported.

AP approaches a smooth function of the genotype (how deep and wide, and how evenly the depth is spread) from the parent's
AP, as inherited weights do (half of it from a backbone alone), plus noise; a reignition lifts it. Durations grow with
FLOPs. Each job's numbers depend on the run's seed and the job's id alone, so the order in which jobs run changes nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from lineage.architecture import Genotype
from lineage.events import EpochFinished, Event, JobAssigned, JobFinished, WeightsInherited, WorkerStarted
from lineage.morphism import preserves_function
from orchestrator.search.state import Candidate, SearchState

NAME = "simulated device"
EPOCH_S = 60.0
SECONDS_PER_GFLOP = 12.0
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class SimulatedExecutor:
    """`speed` paces the virtual clock at that many times real time; None: as fast as it goes."""

    def __init__(self, devices: Sequence[str], started_at: datetime = EPOCH, speed: float | None = None) -> None:
        self._devices = devices
        self._now = started_at
        self.speed = speed
        self._due: list[tuple[datetime, int, JobAssigned, list[Event]]] = []
        self._started: list[Event] = []
        self._count = 0
        self._draining = False
        self._waiting_since: tuple[datetime, float] | None = None  # virtual time, and the loop's when it began
        self._is_there_more = asyncio.Event()

    def now(self) -> datetime:
        """Virtual time."""
        return self._now

    async def start(self) -> None:
        self._started = [WorkerStarted(device=device, name=NAME) for device in self._devices]

    def assign(self, state: SearchState, assigned: JobAssigned) -> None:
        reports, duration_s = simulate(state, assigned)
        self._count += 1
        heapq.heappush(self._due, (self._now + timedelta(seconds=duration_s), self._count, assigned, reports))
        self._is_there_more.set()

    def delete(self, checkpoint: str) -> None:
        """There are no weights."""

    def cancel(self, job_id: str) -> None:
        cancelled = [assigned for _, _, assigned, _ in self._due if assigned.job_id == job_id]
        self._due = [due for due in self._due if due[2] not in cancelled]
        heapq.heapify(self._due)
        self._started += [WorkerStarted(device=one.device, name=NAME) for one in cancelled]
        self._is_there_more.set()

    def forget(self, job_id: str) -> None:
        """Nothing is kept."""

    async def reports(self) -> list[Event]:
        self._is_there_more.clear()
        if not (self._started or self._draining or self._due):  # the run is paused
            self._waiting_since = None
            await self._is_there_more.wait()
        if self._started:
            started, self._started = self._started, []
            return started
        if self._draining:
            return []
        await self._wait_until(self._due[0][0])
        self._now, *_, reports = heapq.heappop(self._due)  # only now: whoever waits may stop waiting
        return reports

    async def _wait_until(self, due: datetime) -> None:
        """As long as the speed says, however often whoever waits is called away meanwhile."""
        now = asyncio.get_running_loop().time()
        if self._waiting_since is None or self._waiting_since[0] != self._now:
            self._waiting_since = self._now, now
        seconds = (due - self._now).total_seconds() / self.speed if self.speed is not None else 0.0
        await asyncio.sleep(max(0.0, self._waiting_since[1] + seconds - now))

    def drain(self) -> None:
        self._draining = True  # nothing is lost that can't be simulated again
        self._is_there_more.set()

    async def close(self) -> None:
        self._due.clear()


def simulate(state: SearchState, assigned: JobAssigned) -> tuple[list[Event], float]:
    """Reports of a simulated job and how long it takes, in virtual seconds."""
    repeat = f"/{assigned.repeat}" if assigned.repeat > 1 else ""
    rng = random.Random(f"{state.subject(assigned.subject_id).run_seed}/{assigned.subject_id}{repeat}")
    reignition = state.reignitions.get(assigned.subject_id)
    candidate = state.candidates[reignition.candidate_id if reignition else assigned.subject_id]
    assert state.config is not None
    step = state.config.steps[candidate.step]
    job = {"job_id": assigned.job_id, "attempt": assigned.attempt}
    checkpoint = f"simulated-{assigned.subject_id}{repeat.replace('/', '-')}"
    epochs, size_bytes = step.trainer.epoch, 4 * candidate.params
    duration_s = epochs * (EPOCH_S + SECONDS_PER_GFLOP * candidate.flops / 1e9) * rng.uniform(0.9, 1.1)
    if reignition is not None:
        accuracy = round(0.9 + 0.09 * rng.random(), 3)
        epoch = EpochFinished(**job, epoch=1, epochs=1, loss=1 - accuracy, ap=accuracy)
        return [
            epoch,
            JobFinished(**job, checkpoint=checkpoint, checkpoint_bytes=size_bytes, accuracy=accuracy),
        ], duration_s
    reports: list[Event] = [*_inheritance(state, assigned, candidate)]
    ap = state.candidates[candidate.parent_id].ap if candidate.parent_id else 0.0
    ap *= {"detector": 1.0, "backbone": 0.5, "nothing": 0.0}[candidate.inherit]
    goal = potential(candidate.blueprint.genotype) + 0.03 * candidate.ignition
    for number in range(1, epochs + 1):
        ap = min(1.0, max(0.0, ap + 0.3 * (goal - ap) + rng.gauss(0, 0.006)))
        reports.append(EpochFinished(**job, epoch=number, epochs=epochs, loss=round(2 - 2 * ap, 4), ap=round(ap, 3)))
    done = JobFinished(
        **job,
        checkpoint=checkpoint,
        checkpoint_bytes=size_bytes,
        ap=round(ap, 3),
        ap50=round(min(1.0, 1.6 * ap), 3),
        latency_ms=round(5 + candidate.flops / 1e9, 2),
        peak_memory_bytes=16 * candidate.params + candidate.flops // 50,
    )
    return [*reports, done], duration_s


def potential(genotype: Genotype) -> float:
    """Simulated AP after long training: saturates with depth, best when later stages hold more blocks than early ones."""
    depths = [len(stage) for stage in genotype.stages]
    center = sum(place * depth for place, depth in enumerate(depths)) / sum(depths) / max(1, len(depths) - 1)
    doublings = "".join(genotype.stages).count("2")
    return (
        0.45 * (1 - math.exp(-genotype.depth / 12))
        - 0.3 * (center - 0.6) ** 2
        - 0.01 * abs(doublings - 3)
        + 0.02 * (len(depths) - 4)
        + 0.01 * math.log1p(sum(genotype.parallel))
    )


def _inheritance(state: SearchState, assigned: JobAssigned, candidate: Candidate) -> list[WeightsInherited]:
    if candidate.parent_id is None:
        return []
    parent = state.candidates[candidate.parent_id]
    ours, theirs = set(candidate.blueprint.positions), set(parent.blueprint.positions)
    per_block = 12
    kept = len(ours & theirs)
    return [
        WeightsInherited(
            job_id=assigned.job_id,
            attempt=assigned.attempt,
            child_id=candidate.candidate_id,
            parent_id=parent.candidate_id,
            tensors_copied=per_block * kept,
            tensors_adapted=0,
            tensors_new=per_block * (len(ours) - kept),
            tensors_dropped=per_block * (len(theirs) - kept),
            residual=0.0 if preserves_function(candidate.morphisms) else 0.5,
            dead_tensors=(),
        )
    ]
