"""Which configurations can be used, as a law and by example, and that a run reads its own again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from lineage.events import RunStarted, from_json, to_json
from orchestrator.config import RunConfig
from orchestrator.config_faults import parse_config
from orchestrator.errors import ConfigError

OLDER = Path(__file__).parents[1] / "fixtures" / "config_of_an_older_run.json"


def step(**parts: Any) -> dict[str, Any]:
    return {"trainer": {"config_template_file": "t.py", **parts.pop("trainer", {})}, **parts}


def serial(space: dict[str, Any] | None = None, **algorithm: Any) -> dict[str, Any]:
    return step(search_algorithm={"sample_level": "serial", **algorithm}, search_space=space)


def parsed(*steps: dict[str, Any], **general: Any) -> RunConfig:
    """The configuration of steps called a, b, c."""
    names = "abc"[: len(steps)]
    return parse_config({"general": general, "pipeline": list(names), **dict(zip(names, steps, strict=True))}, "test")


def fault(*steps: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(*steps)
    return str(caught.value)


@pytest.mark.parametrize(("name", "limit"), [("flops", "10M"), ("params", "9k")])
def test_a_start_that_breaks_a_limit_is_refused_at_once(name: str, limit: str):
    found = fault(serial({"limits": {name: limit}}))
    assert "a: b_11-21-21-21_0-0-0-0 has " in found
    assert f"more than search_space.limits.{name}" in found


@pytest.mark.parametrize("other", [step(), step(search_algorithm={"sample_level": "parallel"})])
def test_only_a_network_that_a_step_starts_from_has_to_keep_its_limits(other: dict[str, Any]):
    tight = {"limits": {"flops": 1, "params": 1, "memory": "1B", "latency": "1us"}, "max_blocks": 3}
    config = parsed(serial(), {**other, "search_space": tight})
    assert config.steps["b"].search_space.limits.latency == 0.001


def test_a_limit_may_be_written_as_people_write_it():
    space = {"limits": {"flops": "400G", "params": "300M", "memory": "8GiB", "latency": "20ms"}}
    limits = parsed(serial(space)).steps["a"].search_space.limits
    assert (limits.flops, limits.params, limits.memory, limits.latency) == (4e11, 3e8, 2**33, 20)


@pytest.mark.parametrize("amount", [0, "0", -1, "-1", "much", "8GB", "1e999", True, "٣"])
def test_a_limit_that_is_no_amount_is_refused(amount: Any):
    assert "a.search_space.limits.flops" in fault(serial({"limits": {"flops": amount}}))


def test_a_result_needs_as_many_stages_as_asked_or_as_growth_may_reach():
    few = {"max_stages": 4}
    assert parsed(serial()).steps["a"].min_stages == 5
    assert parsed(serial(serial_settings=few)).steps["a"].min_stages == 4
    assert parsed(serial({"min_stages": 2}, serial_settings=few)).steps["a"].min_stages == 2
    found = fault(serial({"min_stages": 5}, serial_settings=few))
    assert "a: search_space.min_stages 5 is more than serial_settings.max_stages 4" in found


def test_a_result_needs_as_many_blocks_as_asked_or_as_the_space_allows():
    small = {"start": "b_1-1_0-0", "max_blocks": 6}
    assert parsed(serial(small)).steps["a"].search_space.min_blocks == 6
    assert "min_blocks 7 is more than max_blocks 6" in fault(serial({**small, "min_blocks": 7}))


def test_weights_need_the_network_they_are_of():
    assert "a: search_space.weights resnet50.pth are of one network: give search_space.start" in fault(
        serial({"weights": "resnet50.pth"})
    )
    config = parsed(serial({"weights": "resnet50.pth", "start": "r_111-2111-211111-211_0-0-0-0"}))
    assert config.code_of("a") == "r_111-2111-211111-211_0-0-0-0"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"trainer": {"weights": "inherited", "model_desc": "b_1-1_0-0"}}, "give search_space.weights"),
        (
            {"trainer": {"weights": "scratch", "model_desc": "b_1-1_0-0"}, "search_space": {"weights": "a.pth"}},
            "weights: scratch contradicts search_space.weights a.pth",
        ),
        ({"trainer": {"weights": "scratch", "regnition": True}}, "regnition: True contradicts weights: scratch"),
        ({"trainer": {"model_desc": "b_1-1_0-0", "model_desc_file": "x.csv"}}, "name one network to train"),
        ({"trainer": {"model_desc": "b_1222222222222-1_0-0"}}, "channels, at most 65536"),
        ({}, "there is nothing to train yet"),
        ({"audit": {"run": "r", "candidates": []}}, "audit.candidates"),
        ({"audit": {"run": "r", "candidates": ["s-1", "s-1"]}}, "s-1 stands there twice"),
        ({"audit": {"run": "r", "candidates": ["s-1"]}, "pipe_step": {"type": "SpNasPipeStep"}}, "search_algorithm"),
    ],
)
def test_a_step_that_contradicts_itself_is_refused(parts: dict[str, Any], expected: str):
    assert expected in fault(step(**parts))


def test_an_audit_is_a_pipeline_of_its_own():
    audit = step(audit={"run": "r", "candidates": ["s-0002"]})
    assert parsed(audit).code_of("a") is None
    assert "an audit is a pipeline of its own" in fault(serial(), audit)


def test_an_audit_trains_its_candidates_whatever_else_its_search_started_from():
    trainer = {"model_desc_file": "total_list_s.csv", "regnition": True}
    config = parsed(step(audit={"run": "r", "candidates": ["s-0002"]}, trainer=trainer))
    assert config.named_source("a") is None
    assert not config.steps["a"].starts_reignited


def test_only_a_full_training_says_which_weights_it_begins_with():
    found = fault({**serial(), "trainer": {"config_template_file": "t.py", "weights": "scratch"}})
    assert "weights: scratch goes with a full training" in found


def test_only_a_full_training_says_in_its_trainer_how_it_reignites():
    reignite = {"reignite": {"data": "imagenet"}}
    found = fault({**serial(), "trainer": {"config_template_file": "t.py", **reignite}})
    assert "trainer.reignite goes with a full training; a search has search_algorithm.reignite" in found


def test_a_full_training_on_its_own_may_begin_reignited():
    trainer = {"model_desc": "b_1-1_0-0", "regnition": True}
    assert "a: regnition: True needs a trainer.reignite section" in fault(step(trainer=trainer))
    settings = parsed(step(trainer={**trainer, "reignite": {"data": "imagenet"}})).reignite_of("a")
    assert settings is not None
    assert settings.data == "imagenet"


def test_template_and_epochs_may_stand_in_the_search_space_as_in_vegas_files():
    space = {"config_template_file": "./v.py", "epoch": 3}
    config = parsed({"search_algorithm": {"sample_level": "serial"}, "search_space": space})
    assert config.template == Path("v.py")
    assert config.steps["a"].trainer.epoch == 3
    assert "epoch is 3 in search_space and 4 in trainer: give it in trainer alone" in fault(
        {**serial(space), "trainer": {"epoch": 4}}
    )


def test_one_template_may_be_spelt_in_two_ways():
    assert parsed(serial(), step(trainer={"config_template_file": "./t.py"})).template == Path("t.py")


def test_sections_that_are_not_in_the_pipeline_are_checked_and_kept():
    raw = {"pipeline": ["a"], "a": serial(), "b": step()}
    assert set(parse_config(raw, "test").steps) == {"a", "b"}
    with pytest.raises(ConfigError, match=r"unknown key 'b\.trainer\.epoc'"):
        parse_config({**raw, "b": step(trainer={"epoc": 1})}, "test")


def test_the_configuration_that_a_run_of_an_older_version_recorded_is_understood():
    recorded = json.loads(OLDER.read_text())
    config = RunConfig.model_validate(recorded)
    assert config.steps["serial"].search.seeds_per_candidate == 1
    assert config.steps["serial"].search_space.limits.flops is None
    assert config.general.objectives == ("flops",)
    assert RunConfig.model_validate(config.to_mapping()) == config


def test_a_small_space_that_a_run_of_an_older_version_recorded_is_understood():
    recorded = json.loads(OLDER.read_text())
    for name in recorded["pipeline"]:
        recorded[name]["search_space"] |= {"start": "b_1-21_0-0", "max_blocks": 5}
    recorded["serial"]["search_algorithm"]["serial_settings"]["max_stages"] = 3
    config = RunConfig.model_validate(recorded)
    assert (config.steps["serial"].min_stages, config.steps["serial"].search_space.min_blocks) == (3, 5)


AMOUNTS = st.one_of(st.none(), st.integers(10**12, 10**15), st.sampled_from(["400G", "9.5T", "1e14", "12345678901234"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text() | st.integers(), part, max_size=3),
    max_leaves=5,
)
SPACES = st.fixed_dictionaries(
    {},
    optional={
        "start": st.sampled_from(["b_11-21-21-21_0-0-0-0", "r_111-2111-211111-211_0-0-0-0", "x(32x4d)_1-2_1-0"]),
        "base_width": st.integers(1, 64),
        "image_size": st.tuples(st.integers(32, 2000), st.integers(32, 2000)).map(list),
        "min_blocks": st.integers(1, 9),
        "max_blocks": st.integers(2, 60),
        "min_stages": st.integers(1, 9),
        "limits": st.fixed_dictionaries(
            {}, optional={"flops": AMOUNTS, "params": AMOUNTS, "latency": st.floats(1e-9, 1e9) | st.just("20ms")}
        ),
        "epoch": st.integers(1, 5),
    },
)
SETTINGS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "num_mutate": st.integers(1, 20),
        "expend_ratio": st.floats(0, 1),
        "addstage_ratio": st.floats(0, 1),
        "max_stages": st.integers(1, 9),
        "last_search_result": st.sampled_from([None, "total_list_s.csv", "runs/x"]),
        "regnition": st.sampled_from([None, False, True]),
    },
)
REIGNITES = st.none() | st.fixed_dictionaries(
    {"data": st.text()}, optional={"n_stuck": st.integers(1, 99), "min_delta": st.floats(0, 1)}
)
ALGORITHMS = st.fixed_dictionaries(
    {"sample_level": st.sampled_from(["serial", "parallel"])},
    optional={
        "total_list": st.sampled_from(["s.csv", "p.csv", "/a/total_list_s.csv"]),
        "seeds_per_candidate": st.integers(1, 100),
        "paired": st.booleans(),
        "serial_settings": SETTINGS,
        "reignite": REIGNITES,
    },
)
TRAINERS = st.fixed_dictionaries(
    {"config_template_file": st.just("t.py")},
    optional={
        "gpus": st.integers(-1, 8),
        "callbacks": st.none() | st.text() | st.lists(st.text()),
        "model_desc": st.sampled_from(["b_1-1_0-0", "b_11-21_0-9"]),
        "model_desc_file": st.sampled_from(["s.csv", "runs/x"]),
        "weights": st.sampled_from(["inherited", "reignited", "scratch"]),
    },
)
STEPS = st.fixed_dictionaries(
    {"trainer": TRAINERS}, optional={"search_algorithm": ALGORITHMS, "search_space": st.none() | SPACES}
)
GENERALS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "objectives": st.lists(st.sampled_from(["flops", "params", "memory", "latency"]), min_size=1, unique=True),
        "task": JSON,
        "worker": st.none() | st.fixed_dictionaries({}, optional={"gpus_per_job": st.integers(-1, 8), "timeout": JSON}),
    },
)
CONFIGURATIONS = st.fixed_dictionaries(
    {
        "pipeline": st.permutations(["a", "b", "benchmark"]).flatmap(
            lambda all_: st.integers(1, 3).map(lambda n: all_[:n])
        )
    }
    | dict.fromkeys(["a", "b", "benchmark"], STEPS),
    optional={"general": GENERALS},
)


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], max_examples=100)
@given(CONFIGURATIONS)
def test_every_configuration_that_can_be_used_survives_the_event_log(raw: dict[str, Any]):
    try:
        config = parse_config(raw, "test")
    except ConfigError:
        reject()
    started = RunStarted(run_id="r", seed=0, simulated=True, slots=1, window=1, config=config.to_mapping(), workdir="")
    read_again = from_json(to_json(started))
    assert isinstance(read_again, RunStarted)
    assert RunConfig.model_validate(read_again.config) == config


def test_a_search_takes_the_neck_of_its_template_unless_the_configuration_says_another():
    config = parsed(serial({}))
    assert config.fitted(32).steps["a"].search_space.neck_channels == 32
    with pytest.raises(ConfigError, match=r"a\.search_space\.neck_channels is 64, but the template's neck has 32"):
        parsed(serial({"neck_channels": 64})).fitted(32)
    assert parsed(serial({"neck_channels": 32})).fitted(32).steps["a"].search_space.neck_channels == 32
