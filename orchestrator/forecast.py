"""What a search will do, as far as it can be told before it: proposals that are certain, costs, and how long it takes.

Certain is what follows from the configuration and from the first network being trained at all, whatever its AP: the search
itself says it, given a made-up report. Everything after that depends on APs; a simulated search stands in for it, of which
only costs and refusals are used. This module is pure: it reads no file and starts nothing.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lineage.architecture import Genotype
from lineage.cost import Cost, cost
from lineage.events import (
    CandidateProposed,
    Event,
    JobAssigned,
    JobFinished,
    NetworkGiven,
    PhaseFinished,
    ReignitionProposed,
    RunStarted,
    WorkerStarted,
)
from lineage.space import parallel_size, serial_size
from orchestrator.config import RunConfig
from orchestrator.executors.simulated import simulate
from orchestrator.preparation import NetworkTimes
from orchestrator.search.decide import plan
from orchestrator.search.evolve import evolve
from orchestrator.search.proposal import DUPLICATE
from orchestrator.search.state import SearchState
from orchestrator.sections import Step

MAX_SAMPLED = 60  # candidates of a step that are simulated; a larger sample costs seconds and says little more


@dataclass(frozen=True, slots=True)
class Sample:
    """What the new networks that a simulated search draws cost, and how many more were refused, by the limit they break."""

    costs: tuple[Cost, ...]
    refused: dict[str, int]

    @property
    def drawn(self) -> int:
        return len(self.costs) + sum(self.refused.values())

    @property
    def share_kept(self) -> float:
        """Share of the networks drawn that keep every limit that can be told before training."""
        return len(self.costs) / self.drawn

    @property
    def largest(self) -> Cost | None:
        return max(self.costs, key=lambda cost: cost.flops, default=None)

    @property
    def mean_flops(self) -> float | None:
        return statistics.fmean(cost.flops for cost in self.costs) if self.costs else None


@dataclass(frozen=True, slots=True)
class Trainings:
    """How many networks a step trains at most, how often each, and for how long."""

    networks: int
    controls: int
    seeds: int
    epochs: int

    @property
    def total(self) -> int:
        return (self.networks + self.controls) * self.seeds


def first_proposals(
    started: RunStarted, given: Sequence[NetworkGiven], devices: Sequence[str]
) -> list[CandidateProposed | ReignitionProposed]:
    """What the search proposes until it needs the AP of a second network, exactly as it will."""
    state = _begun(started, given, devices)
    proposals: list[CandidateProposed | ReignitionProposed] = []
    while True:
        trained = any(candidate.outcome == "done" for candidate in state.candidates.values())
        intents = plan(state)
        state = _folded(state, intents)
        proposals += [event for event in intents if isinstance(event, CandidateProposed | ReignitionProposed)]
        assigned = [event for event in intents if isinstance(event, JobAssigned)]
        if trained or not assigned:
            return proposals
        for job in assigned:
            state = evolve(state, _made_up(job))


def sample(started: RunStarted, given: Sequence[NetworkGiven], devices: Sequence[str]) -> dict[str, Sample]:
    """A sample of each search step, from a simulated search with as many candidates as are needed for one."""
    limited = started.model_copy(update={"config": _limited(started.config)})
    log = _simulated(_begun(limited, given, devices))
    config = RunConfig.model_validate(started.config)
    samples = {name: _sample_of(config.steps[name], name, log, started) for name in config.pipeline}
    return {name: found for name, found in samples.items() if found is not None}


def trainings(config: RunConfig, name: str) -> Trainings:
    """What step `name` trains at most."""
    step = config.steps[name]
    if step.audit is not None:
        return Trainings(2 * len(step.audit.candidates), 0, 1, step.trainer.epoch)
    if step.search_algorithm is None:
        return Trainings(1, 0, 1, step.trainer.epoch)
    algorithm = step.search_algorithm
    parents = 1 if step.phase == "parallel" else algorithm.max_sample  # the start is the only parent of branches
    controls = min(parents, algorithm.max_sample - 1) if algorithm.paired else 0
    return Trainings(algorithm.max_sample, max(0, controls), algorithm.seeds_per_candidate, step.trainer.epoch)


def space_size(step: Step, start: Genotype) -> int | None:
    """How many codes a search step can reach from `start`; None: it does not search."""
    if step.search_algorithm is None:
        return None
    if step.phase == "parallel":
        return parallel_size(start, step.search_space.max_branches)
    settings = step.search.serial_settings
    return serial_size(
        start,
        step.search_space.max_blocks,
        settings.max_stages,
        swap=settings.swap_ratio > 0,
        expand=settings.expand_ratio > 0,
        add_stage=settings.addstage_ratio > 0,
    )


def epoch_ms(times: NetworkTimes, train_images: int, val_images: int) -> float:
    """Milliseconds of an epoch that trains on all images of one set and validates on all of another."""
    return train_images * times["training_ms"] + val_images * times["forward_ms"]


def hours(total: int, seconds_by_device: Sequence[float]) -> float:
    """Hours that so many trainings take on devices that share them, each of its own speed; at least as long as one."""
    together = total / sum(1 / seconds for seconds in seconds_by_device)
    return max(together, min(seconds_by_device)) / 3600


def _begun(started: RunStarted, given: Sequence[NetworkGiven], devices: Sequence[str]) -> SearchState:
    workers = [WorkerStarted(device=device, name=device) for device in devices]
    return _folded(SearchState(), [started, *given, *workers])


def _folded(state: SearchState, events: Sequence[Event]) -> SearchState:
    for event in events:
        state = evolve(state, event)
    return state


def _made_up(job: JobAssigned) -> JobFinished:
    result = {"accuracy": 0.0} if job.job_kind == "reignite" else {"ap": 0.0}
    return JobFinished(job_id=job.job_id, attempt=job.attempt, checkpoint="made-up", **result)


def _simulated(state: SearchState) -> list[Event]:
    """Log of a whole simulated search, one training after another."""
    log: list[Event] = []
    while intents := plan(state):
        log += intents
        state = _folded(state, intents)
        for job in [event for event in intents if isinstance(event, JobAssigned)]:
            state = _folded(state, [_unmeasured(report) for report in simulate(state, job)[0]])
    return log


def _unmeasured(report: Event) -> Event:
    """A simulated report without the measurements that a limit could be broken by."""
    if not isinstance(report, JobFinished):
        return report
    return report.model_copy(update={"peak_memory_bytes": None, "latency_ms": None})


def _limited(config: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration whose steps try no more candidates than a sample needs, once each."""
    result = dict(config)
    for name in config["pipeline"]:
        algorithm = config[name].get("search_algorithm")
        if algorithm is not None:
            fewer = min(algorithm["max_sample"], MAX_SAMPLED)
            result[name] = config[name] | {
                "search_algorithm": algorithm | {"max_sample": fewer, "seeds_per_candidate": 1}
            }
    return result


def _sample_of(step: Step, name: str, log: Sequence[Event], started: RunStarted) -> Sample | None:
    if step.search_algorithm is None:
        return None
    own = [event for event in log if isinstance(event, CandidateProposed | PhaseFinished) and event.step == name]
    refused = sum((Counter(event.refused) for event in own), Counter[str]())
    del refused[DUPLICATE]
    space = step.search_space
    costs = tuple(
        cost(Genotype.parse(event.code), event.base_width, space.image_size, space.neck_channels, started.heads)
        for event in own
        if isinstance(event, CandidateProposed)
        and event.morphisms
        and event.morphisms[0] not in ("continue", "reignite")
    )
    return Sample(costs, dict(refused)) if costs or refused else None
