"""What a user hears of keys without effect, and that Vega's own files start as they are."""

from __future__ import annotations

import copy
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.config_faults import parse_config
from orchestrator.config_file import load_config
from orchestrator.errors import ConfigError
from orchestrator.general import General, PipeStep, Worker
from orchestrator.notices import notices

ROOT = Path(__file__).parents[2]
VEGA = sorted((ROOT / "tests" / "fixtures" / "vega").glob("*.yml"))
ONE_DEVICE = "has no effect: a network trains on one device, several networks at a time"


def told(step: dict[str, Any] | None = None, general: dict[str, Any] | None = None, **other: Any) -> list[str]:
    """Notices of one serial step called nas1, with `step` over its sections."""
    sections = {"search_algorithm": {"sample_level": "serial"}, "trainer": {}} | (step or {})
    sections["trainer"] = {"config_template_file": "t.py", **sections["trainer"]}
    return notices(parse_config({"general": general, "pipeline": ["nas1"], "nas1": sections, **other}, "test"))


@pytest.mark.parametrize("path", VEGA, ids=lambda path: path.stem)
def test_vegas_files_start_as_they_are(path: Path, tmp_path: Path):
    done = subprocess.run(
        [Path(sys.executable).with_name("spnas-orch"), "start", path, "--simulate", "--no-tui"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / f"{path.stem}-1"
    asked = yaml.safe_load(path.read_text())
    for name in asked["pipeline"]:
        assert re.search(rf"^{name} phase finished|\({name}\) finished", done.stdout, re.MULTILINE)
        if "search_algorithm" in asked[name]:
            level = asked[name]["search_algorithm"]["sample_level"]
            assert (run / f"total_list_{level[0]}.csv").is_file()


def keys_of(section: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys inside the sections of a file, but for what is in one without effect."""
    for key, value in section.items():
        if path:
            yield (*path, key)
        if isinstance(value, dict) and key not in ("benchmark", "task", "logger", "cluster", "quota"):
            yield from keys_of(value, (*path, key))


@pytest.mark.parametrize("path", VEGA, ids=lambda path: path.stem)
def test_a_typo_in_vegas_files_is_still_an_error_that_names_the_nearest_key(path: Path):
    raw = yaml.safe_load(path.read_text())
    for *parents, key in keys_of(raw):
        misspelt = section = copy.deepcopy(raw)
        for parent in parents:
            section = section[parent]
        section[f"{key[:-1]}x{key[-1]}"] = section.pop(key)
        with pytest.raises(ConfigError) as caught:
            parse_config(misspelt, "test")
        assert f"did you mean '{key}'?" in str(caught.value)


def test_one_message_tells_of_a_key_in_all_steps():
    config = load_config(ROOT / "tests" / "fixtures" / "vega" / "sp_nas.yml")
    assert f"nas1.trainer.gpus, nas2.trainer.gpus, fullytrain.trainer.gpus: 8 {ONE_DEVICE}" in notices(config)


def test_the_example_has_nothing_that_needs_telling():
    assert notices(load_config(ROOT / "examples" / "digits" / "sp_nas.yml")) == []
    assert told() == []


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ({"trainer": {"gpus": 8}}, f"nas1.trainer.gpus: 8 {ONE_DEVICE}"),
        ({"trainer": {"debug": True}}, "nas1.trainer.debug: True has no effect: every training is logged in full"),
        ({"trainer": {"lazy_built": True}}, "nas1.trainer.lazy_built: True has no effect"),
        ({"trainer": {"debug": False}}, "nas1.trainer.debug: False has no effect"),
        (
            {"trainer": {"callbacks": "SpNasTrainerCallback"}},
            "nas1.trainer.callbacks: SpNasTrainerCallback has no effect",
        ),
        ({"trainer": {"callbacks": "Other"}}, "nas1.trainer.callbacks: Other has no effect: mmdet trains"),
        ({"trainer": {"model_desc": "b_1-1_0-0"}}, "nas1.trainer.model_desc: b_1-1_0-0 has no effect: a search starts"),
        (
            {"pipe_step": {"type": "SpNasPipeStep", "models_folder": "m"}},
            "nas1.pipe_step.models_folder: m has no effect",
        ),
        (
            {"search_algorithm": {"sample_level": "serial", "total_list": "out/s.csv"}},
            "nas1.search_algorithm.total_list: out/s.csv is written into the run folder, as s.csv",
        ),
        (
            {
                "search_algorithm": {"sample_level": "serial", "last_search_result": "runs/a"},
                "search_space": {"start": "b_1-1_0-0"},
            },
            "nas1.search_space.start: b_1-1_0-0 has no effect: the step starts from runs/a",
        ),
        (
            {"search_algorithm": {"sample_level": "parallel", "max_optimal": 5}},
            "nas1.search_algorithm.max_optimal: 5 has no effect: all networks of a parallel step grow from its start",
        ),
        (
            {"search_algorithm": {"sample_level": "parallel", "serial_settings": {"num_mutate": 3}}},
            "nas1.search_algorithm.serial_settings.num_mutate: 3 has no effect: the step is parallel",
        ),
        (
            {"search_algorithm": {"sample_level": "parallel", "reignite": {"data": "d"}}},
            "nas1.search_algorithm.reignite has no effect: a parallel step never stalls",
        ),
    ],
)
def test_a_key_of_a_step_without_effect_is_told_with_what_happens_instead(step: dict[str, Any], expected: str):
    (message,) = told(step)
    assert message.startswith(expected)


@pytest.mark.parametrize(
    "step",
    [
        {"trainer": {"gpus": 1}},
        {"trainer": {"gpus": None, "callbacks": None}},
        {"pipe_step": {"type": "SpNasPipeStep", "models_folder": None}},
        {"search_algorithm": {"sample_level": "parallel", "max_optimal": 1, "serial_settings": None}},
        {"search_algorithm": {"sample_level": "parallel", "serial_settings": {"regnition": False}}},
        {"search_algorithm": {"sample_level": "parallel", "reignite": {"data": "d"}, "regnition": True}},
        {"search_algorithm": {"sample_level": "serial", "total_list": "s.csv"}},
        {"search_space": {"start": "b_1-1_0-0"}},
    ],
)
def test_what_asks_for_what_is_done_anyway_is_not_told(step: dict[str, Any]):
    assert told(step) == []


IGNORED = [
    (section, key)
    for section, model in [("general", General), ("general.worker", Worker), ("nas1.pipe_step", PipeStep)]
    for key in model.model_fields
    if key not in {"worker", "sql", "bus", "seed", "make_data", "objectives", "devices_per_job", "cpu_workers", "type"}
    and key not in {"keep_checkpoints", "disk_quota"}
]


@pytest.mark.parametrize(("section", "key"), IGNORED)
@pytest.mark.parametrize("value", ["x", 17, ["a"], {"b": {"c": 1.5}}])
def test_every_key_that_is_taken_with_any_value_is_told_of(section: str, key: str, value: Any):
    if section == "nas1.pipe_step":
        messages = told({"pipe_step": {"type": "SpNasPipeStep", key: value}})
    else:
        messages = told(general={"worker": {key: value}} if section.endswith("worker") else {key: value})
    (message,) = messages
    assert message.startswith(f"{section}.{key}")
    assert " has no effect: " in message


def test_a_value_that_would_upset_a_terminal_is_shown_as_text():
    (message,) = told(general={"backend": "\x1b[31m" + "x" * 10_000})
    assert message.isprintable()
    assert len(message) < 300


@pytest.mark.parametrize(
    "key", ["base_width: 32", "start: b_1-1_0-0", "min_blocks: 50", "max_blocks: 40", "min_stages: 7"]
)
def test_what_a_later_step_says_of_its_start_is_told_where_the_step_before_says_otherwise(key: str):
    def notes(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
        trainer = {"config_template_file": "t.py"}
        steps = {
            level: {"search_algorithm": {"sample_level": level}, "search_space": space, "trainer": trainer}
            for level, space in (("serial", first), ("parallel", second))
        }
        return notices(parse_config({"pipeline": list(steps), **steps}, "test"))

    name, value = key.split(": ")
    (message,) = notes({}, yaml.safe_load(f"{{{key}}}"))
    assert message.startswith(f"parallel.search_space.{name}: {value} has no effect: ")
    if name in ("base_width", "start"):
        assert notes(yaml.safe_load(f"{{{key}}}"), yaml.safe_load(f"{{{key}}}")) == []


def test_a_step_that_may_start_from_more_blocks_than_it_allows_is_told_of():
    step: dict[str, Any] = {"search_algorithm": {"sample_level": "serial"}, "trainer": {"config_template_file": "t.py"}}
    again = {"sample_level": "serial", "last_search_result": "total_list_s.csv", "total_list": "t.csv"}
    small = {**step, "search_algorithm": again, "search_space": {"max_blocks": 9}}
    (message,) = notices(parse_config({"pipeline": ["a", "b"], "a": step, "b": small}, "test"))
    assert message.startswith("b.search_space.max_blocks: 9 adds no block to a start that has as many")


def test_sections_that_are_not_run_are_told_of():
    other = {"trainer": {"config_template_file": "t.py", "gpus": 8}}
    assert told(nas2=other, benchmark={"pipeline": ["nas1"]}) == [
        "benchmark has no effect: the sections in pipeline say what is done",
        "nas2 is not in the pipeline: it is not run",
    ]


def test_limits_of_a_full_training_have_no_effect():
    (message,) = told(
        {"search_algorithm": None, "trainer": {"model_desc": "b_1_0"}, "search_space": {"limits": {"params": 1}}}
    )
    assert message.startswith(
        "nas1.search_space.limits.params: 1 has no effect: a full training trains what it is given"
    )
