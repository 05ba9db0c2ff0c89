"""Given: logs of events to decide upon, made by the real decisions and the simulated trainer."""

from __future__ import annotations

from typing import Any

from lineage.events import Event, JobAssigned, JobFinished, RunStarted, WorkerStarted
from orchestrator.config_file import parse_config
from orchestrator.executors.simulated import simulate
from orchestrator.search.decide import plan
from orchestrator.search.evolve import evolve
from orchestrator.search.state import SearchState

SPACE = {"start": "b_11-21-21-21_0-0-0-0", "base_width": 16, "image_size": [96, 96], "neck_channels": 32}
TRAINER = {"config_template_file": "t.py"}


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


def folded(events: list[Event]) -> SearchState:
    state = SearchState()
    for event in events:
        state = evolve(state, event)
    return state


def search(
    config: dict[str, Any],
    slots: int = 2,
    window: int = 3,
    last_first: bool = False,
    aps: dict[str, float] | None = None,
) -> list[Event]:
    """The log of a whole search; `aps` replaces simulated APs, `last_first` lets the newest job end first."""
    log: list[Event] = [run_started(config, slots, window)]
    log += [WorkerStarted(device=f"sim:{slot}", name="simulated") for slot in range(slots)]
    state, running = folded(log), []
    while True:
        intents = plan(state)
        log += intents
        for event in intents:
            state = evolve(state, event)
        running += [event for event in intents if isinstance(event, JobAssigned)]
        if not running:
            return log
        assigned = running.pop(-1 if last_first else 0)
        for report in simulate(state, assigned)[0]:
            if isinstance(report, JobFinished) and assigned.subject_id in (aps or {}):
                report = report.model_copy(update={"ap": (aps or {})[assigned.subject_id]})
            log.append(report)
            state = evolve(state, report)
