"""A plan says what the search will do: the same proposals, within the same limits, at what cost and for how long."""

from __future__ import annotations

import json
import random
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from given import REIGNITE, SPACE, TRAINER, configuration, network_given, of, run_started, search
from hypothesis import given, settings
from hypothesis import strategies as st
from real import FEW, init
from rich.console import Console
from typer.testing import CliRunner

from lineage.architecture import Genotype
from lineage.cost import Cost, Heads, cost
from lineage.events import CandidateProposed, Event, NetworkGiven, ReignitionProposed
from orchestrator import forecast, plan_display, planning
from orchestrator.cli import app
from orchestrator.config_faults import parse_config
from orchestrator.errors import ConfigError
from orchestrator.preparation import KindTimes, TemplateFacts

DEVICES = ["cpu:0", "cpu:1"]
FACTS: TemplateFacts = {
    "detector": "FasterRCNN",
    "classes": 10,
    "neck_channels": 32,
    "epochs": 12,
    "heads": None,
    "heads_unknown": "model.roi_head is DoubleHeadRoIHead",
    "train_images": 300,
    "val_images": 100,
}
HEADS = Heads(params=10_000_000, flops_per_pixel=1, activation_bytes_per_pixel=1, flops=1, activation_bytes=1)
KINDS: list[KindTimes] = [
    {"kind": "cpu", "devices": DEVICES, "networks": [{"forward_ms": 10.0, "training_ms": 40.0}]},
]


def parallel_first(**algorithm: Any) -> dict[str, Any]:
    """A configuration that begins with the parallel phase, from a network made by hand."""
    config = configuration()
    config["parallel"]["search_algorithm"] |= algorithm
    return config | {"pipeline": ["parallel", "fullytrain"]}


BEGINNINGS: dict[str, tuple[dict[str, Any], list[NetworkGiven]]] = {
    "serial": (configuration(), []),
    "one network": (configuration(max_sample=1), []),
    "several seeds": (configuration(seeds_per_candidate=3), []),
    "controls": (configuration(paired=True, seeds_per_candidate=2), []),
    "parallel": (parallel_first(), []),
    "parallel with a control": (parallel_first(paired=True), []),
    "full training": (configuration() | {"pipeline": ["fullytrain"], "fullytrain": {"trainer": TRAINER}}, []),
    "from weights": (configuration(), [network_given("serial", checkpoint="w")]),
    "from a code elsewhere": (configuration(), [network_given("serial", "b_1-21-2-2_0-0-0-0")]),
    "reignited": (configuration(reignition=True, reignite=REIGNITE), [network_given("serial")]),
}
BEGINNINGS["full training"][0]["fullytrain"] = {"trainer": {**TRAINER, "model_desc": "b_11-21-2_0-0-0"}}


def proposals(log: list[Event]) -> list[Event]:
    """What was proposed, without the AP that a reignition tells."""
    return [
        event.model_copy(update={"best_ap": 0.0}) if isinstance(event, ReignitionProposed) else event
        for event in log
        if isinstance(event, CandidateProposed | ReignitionProposed)
    ]


@pytest.mark.parametrize("name", BEGINNINGS)
@pytest.mark.parametrize("devices", [1, 2, 5])
def test_what_is_certain_is_what_every_search_proposes_first_whatever_its_aps(name: str, devices: int) -> None:
    config, given_networks = BEGINNINGS[name]
    slots = [f"sim:{slot}" for slot in range(devices)]
    certain = forecast.first_proposals(run_started(config, devices, devices), given_networks, slots)
    assert certain
    for seed in range(3):
        rng = random.Random(seed)
        log = search(config, devices, devices, given=given_networks, aps=lambda *_, rng=rng: rng.random())
        assert proposals(log)[: len(certain)] == certain


def test_several_devices_make_several_children_of_the_first_network_certain() -> None:
    first, *children = forecast.first_proposals(run_started(configuration(), 4, 4), [], ["a", "b", "c", "d"])
    assert first.parent_id is None
    assert [child.parent_id for child in children] == [first.candidate_id] * 4


LIMITED = {
    "max_blocks": st.integers(8, 14),
    "max_branches": st.integers(1, 3),
    "flops": st.integers(38_000_000, 60_000_000),
    "params": st.integers(1_000_000, 2_000_000),
    "memory": st.integers(7_000_000, 20_000_000),
}


@settings(max_examples=25)
@given(
    st.fixed_dictionaries(LIMITED),
    st.sampled_from(["b_11-21-21-21_0-0-0-0", "r_1-1-2-1_0-1-0-0", "x(4x16d)_1-12-1-1_0-0-0-0"]),
    st.integers(4, 6),
    st.integers(0, 99),
)
def test_every_network_the_search_proposes_keeps_its_block_type_and_its_limits(
    limits: dict[str, int], start: str, max_stages: int, seed: int
) -> None:
    config = configuration(max_sample=12, serial_settings={"max_stages": max_stages, "addstage_ratio": 0.3})
    amounts = {name: limits[name] for name in ("flops", "params", "memory")}
    space = {**SPACE, "base_width": 8, "start": start, "limits": amounts, "max_blocks": limits["max_blocks"]}
    for name in ("serial", "parallel"):
        config[name] |= {"search_space": {**space, "max_branches": limits["max_branches"]}}
    config["general"] = {"seed": seed}
    first, *others = of(search(config, peak_memory_bytes=None, latency_ms=None), CandidateProposed)
    assert first.code == start
    for network in others:
        genotype = Genotype.parse(network.code)
        assert genotype.code == network.code
        assert genotype.block == Genotype.parse(start).block
        assert genotype.depth <= limits["max_blocks"]
        assert len(genotype.stages) <= max_stages
        assert max(genotype.parallel) <= limits["max_branches"]
        found = cost(genotype, 8, (96, 96), 32)
        if network.phase != "fullytrain":
            assert (network.flops, network.params) == (found.flops, found.params)
            assert found.flops <= amounts["flops"]
            assert found.params <= amounts["params"]
            assert 8 * found.params + found.activation_bytes // 2 <= amounts["memory"]


def test_the_share_of_draws_that_keep_the_limits_is_counted_in_a_simulated_search() -> None:
    config = configuration(max_sample=20)
    config["serial"] |= {"search_space": {**SPACE, "limits": {"flops": "45M"}}}
    found = forecast.sample(run_started(config), [], DEVICES)["serial"]
    assert len(found.costs) == 19
    assert 0 < found.share_kept < 1
    assert found.drawn == 19 + found.refused["flops"]
    assert found.largest is not None
    assert found.largest.flops <= 45_000_000
    unlimited = forecast.sample(run_started(configuration(max_sample=20)), [], DEVICES)["serial"]
    assert unlimited.share_kept == 1
    assert unlimited.largest is not None
    assert unlimited.largest.flops > 45_000_000


def test_limits_that_only_a_measurement_can_break_do_not_end_the_simulated_search() -> None:
    config = configuration()
    config["serial"] |= {"search_space": {**SPACE, "limits": {"latency": "1us", "memory": "8GiB"}}}
    assert len(forecast.sample(run_started(config), [], DEVICES)["serial"].costs) == 5


def test_a_space_without_room_has_a_sample_of_refusals_alone() -> None:
    config = configuration()
    config["serial"] |= {"search_space": {**SPACE, "limits": {"params": "10M"}}}
    started = run_started(config).model_copy(update={"heads": HEADS})
    found = forecast.sample(started, [], DEVICES)["serial"]
    assert (found.costs, found.largest, found.mean_flops, found.share_kept) == ((), None, None, 0)
    assert found.drawn == found.refused["params"] > 0


@pytest.mark.parametrize(
    ("algorithm", "networks", "controls", "total"),
    [
        ({"max_sample": 9}, 9, 0, 9),
        ({"max_sample": 9, "seeds_per_candidate": 3}, 9, 0, 27),
        ({"max_sample": 9, "paired": True, "seeds_per_candidate": 2}, 9, 8, 34),
        ({"max_sample": 1, "paired": True}, 1, 0, 1),
    ],
)
def test_no_search_trains_more_than_its_plan_says(
    algorithm: dict[str, Any], networks: int, controls: int, total: int
) -> None:
    config = configuration(**algorithm)
    planned = forecast.trainings(parse_config(config, "test"), "serial")
    assert (planned.networks, planned.controls, planned.total) == (networks, controls, total)
    trained = [one for one in of(search(config), CandidateProposed) if one.step == "serial"]
    assert sum(one.seeds for one in trained) <= total
    assert sum(one.morphisms != ("continue",) for one in trained) == networks


def test_branches_share_one_control() -> None:
    config = parallel_first(paired=True, max_sample=4)
    planned = forecast.trainings(parse_config(config, "test"), "parallel")
    trained = [one for one in of(search(config), CandidateProposed) if one.step == "parallel"]
    assert planned.total == len(trained) == 4 + 1


def test_hours_are_shared_by_devices_of_their_own_speed_but_no_training_by_two() -> None:
    assert forecast.hours(12, [3600.0]) == 12
    assert forecast.hours(12, [3600.0, 3600.0]) == 6
    assert forecast.hours(12, [3600.0, 7200.0]) == pytest.approx(8)
    assert forecast.hours(1, [3600.0, 3600.0]) == 1
    assert forecast.epoch_ms({"training_ms": 40.0, "forward_ms": 10.0}, 300, 100) == 13_000


def outlook_of(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any] | None = None, kinds: Any = KINDS
) -> planning.Outlook:
    def times(*_arguments: Any) -> Any:
        if isinstance(kinds, Exception):
            raise kinds
        return kinds

    monkeypatch.setattr(planning, "time_networks", times)
    parsed = parse_config(config, "test")
    outlook = planning.outline(parsed, {**FACTS, **(facts or {})}, [], DEVICES)  # type: ignore[typeddict-item]
    planning.add_times(outlook, parsed, Path())
    return outlook


def shown(outlook: planning.Outlook) -> str:
    console = Console(width=200, highlight=False, markup=False)
    with console.capture() as capture:
        plan_display.show(console, outlook)
    return capture.get()


def test_hours_grow_with_epochs_images_and_the_size_of_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    outlook = outlook_of(configuration(), monkeypatch)
    serial, parallel, full = outlook.steps
    assert serial.growth > 1
    assert serial.seconds["cpu"] == pytest.approx(13 * serial.growth)
    assert serial.hours == pytest.approx(6 * 13 * serial.growth / 2 / 3600)
    assert full.trainings.epochs == 3
    assert full.growth == parallel.growth
    assert full.hours == pytest.approx(3 * 13 * full.growth / 3600)
    assert outlook.hours == pytest.approx(sum(step.hours or 0 for step in outlook.steps))


def test_a_plan_reads_as_a_story_and_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration(seeds_per_candidate=2, paired=True, reignite=REIGNITE)
    config["serial"] |= {"search_space": {**SPACE, "limits": {"flops": "45M", "latency": "20ms"}}}
    outlook = outlook_of(config, monkeypatch)
    text = shown(outlook)
    for expected in (
        "3 steps on 2 devices (cpu:0, cpu:1)",
        "costs are of backbone and neck alone, since its heads can't be counted: model.roi_head is DoubleHeadRoIHead",
        "serial: serial search, from b_11-21-21-21_0-0-0-0\n",
        "6 networks and 5 controls, each with 2 seeds, 1 epoch long: at most 22 trainings",
        "at most 1 time, by classification",
        "networks can be reached",
        "flops 45M, latency 20 ms",
        "keep what can be told before training",
        "a training on cpu; a forward pass of the start 10 ms",
        "parallel: parallel search, from the best network of serial\n",
        "fullytrain: full training, from the best network of parallel\n",
        "about ",
        "s-0002",
    ):
        assert expected in text, text
    mapping = json.loads(json.dumps(plan_display.as_mapping(outlook)))
    serial = mapping["steps"][0]
    assert serial["trainings"] == {"networks": 6, "controls": 5, "seeds": 2, "epochs": 1, "total": 22}
    assert serial["limits"] == {"flops": 45_000_000, "latency": 20.0}
    assert Cost(**serial["start_cost"]) == cost(Genotype.parse(serial["start"]["code"]), 16, (96, 96), 32)
    assert mapping["certain"][0]["code"] == SPACE["start"]
    assert mapping["hours"] == outlook.hours


@pytest.mark.parametrize(
    ("facts", "kinds", "reason"),
    [
        ({"train_images": None}, KINDS, r"images of train_dataloader.dataset can't be counted"),
        ({"val_images": None}, KINDS, r"images of val_dataloader.dataset can't be counted"),
        ({}, ConfigError("template t.py ended the process"), "no device could be timed: template t.py ended"),
        (
            {},
            [{"kind": "GPU", "devices": DEVICES, "networks": [{"error": "OutOfMemoryError: 8 GiB"}]}],
            "could not be timed on GPU: OutOfMemoryError: 8 GiB",
        ),
    ],
)
def test_without_times_the_plan_says_why_and_the_rest(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any], kinds: Any, reason: str
) -> None:
    outlook = outlook_of(configuration(), monkeypatch, facts, kinds)
    assert outlook.hours is None
    text = shown(outlook)
    assert f"no estimate of time: {outlook.untimed}" in text
    assert reason in text
    assert "s-0003" in text


def test_what_start_would_refuse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration()
    config["serial"] |= {"search_space": {**SPACE, "limits": {"params": "2M"}}}
    heads = {"heads": asdict(HEADS), "heads_unknown": None}
    with pytest.raises(ConfigError, match=r"serial: its first network .* breaks search_space\.limits\.params"):
        outlook_of(config, monkeypatch, heads)
    with pytest.raises(ConfigError, match="neck_channels"):
        outlook_of(configuration(), monkeypatch, {"neck_channels": 64})
    assert "costs are of the whole detector" in shown(outlook_of(configuration(), monkeypatch, heads))


def test_the_command_plans_a_real_search_and_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    runner = CliRunner()
    init(tmp_path)
    overrides = ["--set", "general.worker.cpu_workers=2", "--set", "general.seed=8"]
    result = runner.invoke(app, ["plan", "sp_nas.yml", *overrides, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["untimed"] is None
    assert 0 < found["hours"] < 1
    assert found["template"]["train_images"] == FEW.train
    assert not (tmp_path / "runs").exists()
    assert (
        runner.invoke(app, ["start", "sp_nas.yml", *overrides, "--simulate", "--no-tui", "--run-dir", "r"]).exit_code
        == 0
    )
    query = "SELECT candidate_id, arch FROM candidates ORDER BY proposed_at, candidate_id"
    rows = json.loads(runner.invoke(app, ["sql", "r", query, "--format", "json"]).stdout)
    certain = [{"candidate_id": one["candidate_id"], "arch": one["code"]} for one in found["certain"]]
    assert rows[: len(certain)] == certain
