"""Given: logs of events to decide upon, made by the real decisions and the simulated trainer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lineage.architecture import Genotype
from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    CandidateRuledOut,
    Event,
    JobAssigned,
    JobFailed,
    JobFinished,
    NetworkGiven,
    PhaseFinished,
    PhaseStarted,
    ReignitionProposed,
    RunFinished,
    RunResumed,
    RunStarted,
    WorkerStarted,
)
from lineage.morphism import Blueprint
from orchestrator.config_faults import parse_config
from orchestrator.executors.simulated import simulate
from orchestrator.search.decide import plan
from orchestrator.search.evolve import evolve
from orchestrator.search.state import SearchState

SPACE = {"start": "b_11-21-21-21_0-0-0-0", "base_width": 16, "image_size": [96, 96], "neck_channels": 32}
TRAINER = {"config_template_file": "t.py"}
REIGNITE = {"n_stuck": 2, "min_delta": 0.01, "max_reignitions": 1, "data": "d"}


def configuration(**serial: Any) -> dict[str, Any]:
    """A three-step configuration; `serial` overrides keys of the serial step's search_algorithm."""
    algorithm = {"sample_level": "serial", "total_list": "s.csv", "max_sample": 6, "max_optimal": 3, **serial}
    return {
        "general": {"seed": 5},
        "pipeline": ["serial", "parallel", "fullytrain"],
        "serial": {"search_algorithm": algorithm, "search_space": SPACE, "trainer": TRAINER},
        "parallel": {
            "search_algorithm": {"sample_level": "parallel", "total_list": "p.csv", "max_sample": 3},
            "search_space": SPACE,
            "trainer": TRAINER,
        },
        "fullytrain": {"trainer": {**TRAINER, "epoch": 3}},
    }


def run_started(config: dict[str, Any], slots: int = 2, window: int = 3, seed: int = 5) -> RunStarted:
    return RunStarted(
        run_id="t-1",
        seed=seed,
        simulated=True,
        slots=slots,
        window=window,
        config=parse_config(config, "test").to_mapping(),
    )


def network_given(step: str, code: str = "b_11-21-21-21_0-0-0-0", **changes: Any) -> NetworkGiven:
    """A network from outside, by default without weights."""
    values = {
        "candidate_id": "i-0001",
        "step": step,
        "phase": "serial",
        "source": "elsewhere",
        "code": code,
        "block_ids": Blueprint.seed(Genotype.parse(code), "i-0001").block_ids,
        "base_width": 16,
        "params": 1,
        "flops": 1,
    }
    return NetworkGiven(**values | changes)


T = TypeVar("T")


def of(log: Sequence[Event], kind: type[T]) -> list[T]:
    return [event for event in log if isinstance(event, kind)]


def decisions(log: Sequence[Event]) -> list[Event]:
    """What was decided, without where and when it was carried out; who is ruled out, but not when that was known."""
    kinds = (
        CandidateProposed,
        ReignitionProposed,
        PhaseStarted,
        PhaseFinished,
        RunFinished,
        CandidateAbandoned,
    )
    ruled_out = sorted(of(log, CandidateRuledOut), key=lambda event: event.candidate_id)
    return [*(event for event in log if isinstance(event, kinds)), *ruled_out]


def folded(events: list[Event]) -> SearchState:
    state = SearchState()
    for event in events:
        state = evolve(state, event)
    return state


def finish(log: list[Event]) -> list[Event]:
    """Go on from a log to the end, one job after another."""
    state = folded(log)
    while intents := plan(state):
        log = log + intents
        for event in intents:
            state = evolve(state, event)
        for assigned in of(intents, JobAssigned):
            for report in simulate(state, assigned)[0]:
                log.append(report)
                state = evolve(state, report)
    return log


def resumed(log: list[Event]) -> list[Event]:
    """A log that was cut off, gone on with to the end."""
    return finish([*log, RunResumed(), WorkerStarted(device="sim:0", name="simulated")])


def failing(config: dict[str, Any], job_id: str) -> list[Event]:
    """The log of a search in which one training crashes whenever it is tried."""
    log: list[Event] = [run_started(config), WorkerStarted(device="sim:0", name="simulated")]
    state = folded(log)
    while intents := plan(state):
        log += intents
        for event in intents:
            state = evolve(state, event)
        for assigned in of(intents, JobAssigned):
            reports = simulate(state, assigned)[0]
            if assigned.job_id == job_id:
                reports = [JobFailed(job_id=job_id, attempt=assigned.attempt, fault="crash", message="killed")]
            for report in reports:
                log.append(report)
                state = evolve(state, report)
    return log


def search(
    config: dict[str, Any],
    slots: int = 2,
    window: int = 3,
    last_first: bool = False,
    aps: dict[str, float] | Callable[[SearchState, str], float] | None = None,
    given: Sequence[Event] = (),
    until: int | None = None,
    **measured: Any,
) -> list[Event]:
    """The log of a whole search, or of its first `until` trainings.

    `aps` replaces simulated APs by candidate, or says them, `measured` other results of all; `last_first` lets the newest
    job end first.
    """
    log: list[Event] = [run_started(config, slots, window), *given]
    log += [WorkerStarted(device=f"sim:{slot}", name="simulated") for slot in range(slots)]
    state, running = folded(log), []
    while True:
        intents = plan(state)
        log += intents
        for event in intents:
            state = evolve(state, event)
        running += [event for event in intents if isinstance(event, JobAssigned)]
        if not running or until == 0:
            return log
        until = None if until is None else until - 1
        assigned = running.pop(-1 if last_first else 0)
        for report in simulate(state, assigned)[0]:
            if isinstance(report, JobFinished) and callable(aps) and assigned.subject_id in state.candidates:
                report = report.model_copy(update={"ap": aps(state, assigned.subject_id)})
            elif isinstance(report, JobFinished) and isinstance(aps, dict) and assigned.subject_id in aps:
                report = report.model_copy(update={"ap": aps[assigned.subject_id]})
            if isinstance(report, JobFinished):
                report = report.model_copy(update=measured)
            log.append(report)
            state = evolve(state, report)
