"""Resource limits: what breaks a predicted one is never trained, what breaks a measured one is neither result nor parent."""

from __future__ import annotations

from typing import Any

import pytest
from given import configuration, folded, of, resumed, run_started, search

from lineage.architecture import Genotype
from lineage.cost import Heads, cost
from lineage.events import CandidateProposed, CandidateRuledOut, JobFinished, PhaseFinished, RunFinished, WorkerStarted
from orchestrator.search.decide import plan

SIZE = (96, 96)


def limited(**limits: Any) -> dict[str, Any]:
    config = configuration(max_sample=12, serial_settings={"expend_ratio": 0.6, "addstage_ratio": 0.2})
    for step in ("serial", "parallel"):
        config[step]["search_space"] = {**config[step]["search_space"], "limits": limits}
    return config


def searched(log: list[Any]) -> list[CandidateProposed]:
    return [event for event in of(log, CandidateProposed) if event.phase != "fullytrain"]


@pytest.mark.parametrize(("limit", "allowed"), [("flops", "40M"), ("params", "1.4M"), ("memory", "13MB")])
def test_what_breaks_a_predicted_limit_is_never_proposed_and_is_counted(limit: str, allowed: str):
    log = search(limited(**{limit: allowed}))
    bound = float(allowed.rstrip("MB")) * 1e6
    for event in searched(log):
        predicted = cost(Genotype.parse(event.code), 16, SIZE, 32)
        memory = 8 * predicted.params + predicted.activation_bytes // 2
        assert {"flops": predicted.flops, "params": predicted.params, "memory": memory}[limit] <= bound
    ends = of(log, PhaseFinished)
    assert sum(event.refused.get(limit, 0) for event in (*searched(log), *ends)) > 0
    free = search(limited())
    assert max(event.flops for event in searched(free)) > max(event.flops for event in searched(log))


def test_a_limit_nothing_new_keeps_ends_the_phase_and_says_which():
    first = cost(Genotype.parse("b_11-21-21-21_0-0-0-0"), 16, SIZE, 32)
    config = limited(params=first.params)
    config["serial"]["search_algorithm"]["serial_settings"] = {"expend_ratio": 1.0, "addstage_ratio": 0.0}
    (end, *_) = of(search(config), PhaseFinished)
    assert end.reason.startswith(
        f"the space is exhausted: {end.refused['params']} draws gave nothing new "
        f"({end.refused['params']} break the limit of params)"
    )
    assert end.refused["params"] > 1000


def test_the_heads_count_where_they_are_known():
    heads = Heads(params=10**9, flops_per_pixel=0, activation_bytes_per_pixel=0, flops=0, activation_bytes=0)
    started = run_started(limited()).model_copy(update={"heads": heads})
    state = folded([started, WorkerStarted(device="sim:0", name="")])
    (proposal,) = of(plan(state), CandidateProposed)
    assert proposal.params == 10**9 + cost(Genotype.parse(proposal.code), 16, SIZE, 32).params


@pytest.mark.parametrize(
    ("limits", "measured", "named"),
    [
        ({"latency": "20ms"}, {"latency_ms": 20.5}, "latency"),
        ({"memory": "1GB"}, {"peak_memory_bytes": 2 * 10**9}, "memory"),
    ],
)
def test_what_breaks_a_measured_limit_is_ruled_out_with_the_numbers(limits: Any, measured: Any, named: str):
    log = search(limited(**limits), until=1, **measured)
    (event,) = of(log, CandidateRuledOut)
    assert (event.candidate_id, event.limit, event.measured) == ("s-0001", named, next(iter(measured.values())))
    assert folded(log).candidates["s-0001"].ruled_out


def test_a_ruled_out_network_is_neither_parent_nor_result():
    log = search(limited(latency=20), until=1)
    assert not of(log, CandidateRuledOut)
    slow = JobFinished(job_id="j-s-0002", attempt=1, checkpoint="c", ap=0.99, latency_ms=21.0)
    assert "j-s-0002" in folded(log).jobs
    log = resumed_with(log, slow)
    assert [event.candidate_id for event in of(log, CandidateRuledOut)] == ["s-0002"]
    assert all(event.parent_id != "s-0002" and "s-0002" not in event.parent_probabilities for event in searched(log))
    assert all(end.best_candidate_id != "s-0002" for end in of(log, PhaseFinished))
    assert of(log, RunFinished)[0].outcome == "completed"


def resumed_with(log: list[Any], report: JobFinished) -> list[Any]:
    log = [*log, report]
    return resumed([*log, *plan(folded(log))])


def test_a_first_network_that_breaks_a_measured_limit_ends_the_run_and_says_so():
    log = search(limited(latency=20), latency_ms=30.0)
    assert len(of(log, CandidateProposed)) == 1
    (end,) = of(log, PhaseFinished)
    assert end.reason == "its first network could not be used: s-0001 breaks a limit"
    assert of(log, RunFinished)[0].outcome == "failed"


def test_a_parallel_step_that_finds_nothing_within_the_limits_hands_on_what_it_started_from():
    free = search(limited())
    start = folded(free).candidates[of(free, PhaseFinished)[0].best_candidate_id or ""]
    config = limited()
    config["parallel"]["search_space"]["limits"] = {"flops": start.flops}
    log = search(config)
    parallel = of(log, PhaseFinished)[1]
    assert parallel.reason.startswith("the space is exhausted")
    assert parallel.best_candidate_id == start.candidate_id
    assert of(log, RunFinished)[0].outcome == "completed"


def test_a_parallel_step_within_whose_limits_even_its_start_is_not_hands_nothing_on():
    config = limited()
    config["parallel"]["search_space"]["limits"] = {"flops": 33_000_000}
    log = search(config)
    assert of(log, PhaseFinished)[1].best_candidate_id is None
    (end,) = of(log, RunFinished)
    assert (end.outcome, end.reason) == (
        "failed",
        "step parallel has no network to hand on: none could be trained within the limits",
    )
