"""What a configuration may hold, and what the user is told where it may not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from orchestrator.config import RunConfig
from orchestrator.config_faults import parse_config
from orchestrator.config_file import load_config
from orchestrator.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "sp_nas.yml"

VEGA = """
general: {worker: {devices_per_job: 1}}
pipeline: [nas1, nas2, fullytrain]
nas1:
  pipe_step: {type: SpNasPipeStep}
  search_algorithm:
    type: SpNas
    codec: SpNasCodec
    total_list: 'total_list_s.csv'
    sample_level: 'serial'
    max_sample: 10
    max_optimal: 5
    serial_settings: {num_mutate: 3, addstage_ratio: 0.05, expend_ratio: 0.3, max_stages: 6, regnition: False}
    regnition: False
  search_space: {type: SearchSpace}
  trainer: {type: Trainer, callbacks: SpNasTrainerCallback, lazy_built: True, config_template_file: ./t.py, epoch: 1}
nas2:
  pipe_step: {type: SpNasPipeStep}
  search_algorithm:
    total_list: 'total_list_p.csv'
    sample_level: 'parallel'
    serial_settings:
    last_search_result: 'total_list_s.csv'
  trainer: {type: Trainer, config_template_file: ./t.py}
fullytrain:
  pipe_step: {type: FullyTrainPipeStep}
  trainer:
    type: SpNasTrainer
    gpus: 8
    model_desc_file: "{local_base_path}/output/total_list_p.csv"
    config_template: ./t.py
    regnition: False
    epoch: 12
    debug: False
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "c.yml"
    path.write_text(text)
    return path


def test_the_shape_of_vegas_files_is_taken_with_its_misspellings_and_empty_sections(tmp_path: Path):
    config = load_config(write(tmp_path, VEGA))
    assert [config.steps[name].phase for name in config.pipeline] == ["serial", "parallel", "fullytrain"]
    assert config.steps["nas1"].search.serial_settings.expand_ratio == 0.3
    assert config.steps["nas2"].search.serial_settings.num_mutate == 3
    assert config.steps["fullytrain"].trainer.model_desc_file == f"{tmp_path}/output/total_list_p.csv"


def test_a_configuration_survives_the_event_log(tmp_path: Path):
    config = load_config(write(tmp_path, VEGA))
    assert parse_config(config.to_mapping(), "log") == config


def test_overrides_reach_every_key():
    config = load_config(EXAMPLE, ["serial.search_algorithm.max_sample=20", "general.seed=9"])
    assert config.steps["serial"].search.max_sample == 20
    assert config.general.seed == 9


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "max_sample: 10",
            "max_smaple: 10",
            "unknown key 'nas1.search_algorithm.max_smaple'; did you mean 'max_sample'?",
        ),
        ("expend_ratio", "expnd_ratio", "did you mean 'expend_ratio'?"),
        ("max_sample: 10", "max_sample: ten", "nas1.search_algorithm.max_sample"),
        ("max_sample: 10", "max_sample: 0", "greater than or equal to 1 (found 0)"),
        ("{worker:", "{backnd: pytorch, worker:", "unknown key 'general.backnd'; did you mean 'backend'?"),
        ("worker: {", "worker: {timeot: 9, ", "did you mean 'timeout'?"),
        ("{type: SpNasPipeStep}", "{type: SpNasPipeStep, model_folder: x}", "did you mean 'models_folder'?"),
        ("{worker:", "{objectives: [flops, latency, flops], worker:", "flops stands there twice"),
        ("{worker:", "{objectives: [], worker:", "general.objectives"),
        ("{worker:", "{objectives: [speed], worker:", "general.objectives"),
        (
            "pipeline: [nas1",
            "pipeline: [nas11",
            "pipeline names 'nas11' but there is no such section; did you mean 'nas1'?",
        ),
        ("nas1:\n", "steps:\n", "unknown key 'steps'"),
        ("general:", "generel:", "unknown key 'generel'; did you mean 'general'?"),
        ("pipeline:", "pipelin:", "did you mean 'pipeline'?"),
        ("config_template_file: ./t.py, epoch: 1", "epoch: 1", "config_template_file: this key is missing"),
        ("config_template: ./t.py", "config_template: ./other.py", "different templates"),
        ("addstage_ratio: 0.05", "addstage_ratio: 0.9", "must not exceed 1"),
        ("'total_list_s.csv'\n    sample", "'x.txt'\n    sample", "must end in .csv"),
        ("gpus: 8", "model_desc: r_11_0-0", "2 parallel digits"),
        ("{type: SearchSpace}", "{start: b_13-1_0-0}", "no genotype code"),
        ("regnition: False\n    epoch", "regnition: True\n    epoch", "needs a trainer.reignite section with data"),
        (
            "    regnition: False\n  search_space",
            "    regnition: True\n  search_space",
            "regnition is True here and False",
        ),
        ("serial_settings:\n", "serial_settings: {last_search_result: x.csv}\n", "give it once"),
    ],
)
def test_what_can_not_be_used_is_named(tmp_path: Path, old: str, new: str, expected: str):
    assert old in VEGA
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, VEGA.replace(old, new, 1)))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1", "no valid YAML"),
        ("just words", "expected a mapping"),
        ("", "expected a mapping"),
        ("a: !!python/object/apply:os.system ['true']", "no valid YAML"),
        ("[" * 5000, "no valid YAML"),
        ("pipeline: 3", "pipeline"),
        ("pipeline: [[1]]", "pipeline"),
        ("pipeline: []", "pipeline"),
    ],
)
def test_what_is_no_configuration_is_answered_with_one_error(tmp_path: Path, text: str, expected: str):
    with pytest.raises(ConfigError, match=expected):
        load_config(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"can't read the configuration .*none.yml: No such file"):
        load_config(tmp_path / "none.yml")


@pytest.mark.parametrize("override", ["novalue", "=3", "general.seed.deep=3", "general.sed=3", "general.seed=[1"])
def test_an_override_that_fits_nowhere_is_refused(override: str):
    with pytest.raises(ConfigError):
        load_config(EXAMPLE, [override])


def test_the_example_is_safe_yaml_with_every_step_the_demo_promises():
    raw = yaml.safe_load(EXAMPLE.read_text())
    assert raw["pipeline"] == ["serial", "parallel", "fullytrain"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (VEGA.replace("max_sample: 10", "max_sample: 10\n    max_sample: 11"), "'max_sample' stands twice"),
        (VEGA.replace("expend_ratio: 0.3", "expend_ratio: 0.3, expand_ratio: 0.2"), "given twice, in two spellings"),
        (VEGA.replace("{worker:", f"{{seed: {2**70}, worker:"), "general.seed"),
    ],
)
def test_what_says_two_things_at_once_or_too_much_is_refused(tmp_path: Path, text: str, expected: str):
    with pytest.raises(ConfigError, match=expected):
        load_config(write(tmp_path, text))


@pytest.mark.parametrize(
    "name",
    ["lineage.duckdb", "..", "", "pareto_front.csv", "x/pareto_front.csv", r"a\nb.csv", r"\0.csv", "9" * 300 + ".csv"],
)
def test_a_record_can_not_overwrite_anything_else(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match=r"must end in \.csv"):
        load_config(write(tmp_path, VEGA.replace("'total_list_s.csv'", f'"{name}"', 1)))


@pytest.mark.parametrize("path", ["{local_base_path}/output/s.csv", "../s.csv", "/etc/s.csv"])
def test_a_record_lies_in_the_run_folder_whatever_its_path_says(tmp_path: Path, path: str):
    named = VEGA.replace("'total_list_s.csv'\n    sample", f"'{path}'\n    sample").replace(
        "last_search_result: 'total_list_s.csv'", f"last_search_result: '{path}'"
    )
    config = load_config(write(tmp_path, named))
    assert config.steps["nas1"].search.record == "s.csv"
    assert config.source_of("nas2") == "nas1"


def test_two_steps_can_not_write_one_record(tmp_path: Path):
    with pytest.raises(ConfigError, match="nas2 and nas1 would both write"):
        load_config(write(tmp_path, VEGA.replace("'total_list_p.csv'\n", "'total_list_s.csv'\n")))


def test_a_step_starts_from_the_step_whose_record_it_names_else_from_the_one_before(tmp_path: Path):
    config = load_config(write(tmp_path, VEGA))
    assert [config.source_of(name) for name in config.pipeline] == [None, "nas1", "nas2"]
    renamed = VEGA.replace("{local_base_path}/output/total_list_p.csv", "total_list_s.csv")
    assert load_config(write(tmp_path, renamed)).source_of("fullytrain") == "nas1"


@pytest.mark.parametrize(
    "value",
    [
        "2024-13-45",
        '"\\ud800"',
        '{"\\ud800": 1}',
        "!!timestamp x",
        "&a [*a]",
        "!!binary /w==",
        "{a: 1, a: 2}",
        "true",
        "'3'",
        "2.0",
        "9" * 5000,
    ],
)
def test_no_yaml_value_gets_past_its_type(value: str):
    for key in ("general.seed", "serial.trainer.callbacks", "serial.trainer.epoch"):
        if (key, value) not in {("serial.trainer.callbacks", "'3'")}:
            with pytest.raises(ConfigError):
                load_config(EXAMPLE, [f"{key}={value}"])


@pytest.mark.parametrize("value", ["9" * 400, "'" + "x" * 10_000 + "'"])
def test_a_message_shows_no_more_of_a_value_than_can_be_read(value: str):
    with pytest.raises(ConfigError) as caught:
        load_config(EXAMPLE, [f"serial.search_space.limits.flops={value}"])
    assert "serial.search_space.limits.flops: expected a number such as" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_override_of_one_step_leaves_the_others_alone():
    config = load_config(EXAMPLE, ["serial.search_space.max_branches=1"])
    assert [config.steps[name].search_space.max_branches for name in config.pipeline] == [1, 2, 2]


def test_yaml_merges_are_no_duplicates(tmp_path: Path):
    merged = VEGA.replace("{type: SearchSpace}", "{<<: {max_blocks: 30}, max_blocks: 40}")
    assert load_config(write(tmp_path, merged)).steps["nas1"].search_space.max_blocks == 40


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("max_blocks: 3", "8 blocks, more than search_space.max_blocks 3: raise it, or start from a smaller network"),
        ("start: b_1-1_9-9", "max_branches"),
        ("base_width: 1024, start: b_12222222-1_0-0", "channels"),
    ],
)
def test_a_first_network_outside_the_space_is_refused(tmp_path: Path, space: str, expected: str):
    with pytest.raises(ConfigError, match=expected):
        load_config(write(tmp_path, VEGA.replace("{type: SearchSpace}", f"{{{space}}}")))


def test_a_misspelt_step_in_an_override_is_named():
    with pytest.raises(ConfigError, match="unknown key 'serail'; did you mean 'serial'"):
        load_config(EXAMPLE, ["serail.trainer.epoch=3"])


def test_a_record_that_lies_elsewhere_is_not_mistaken_for_an_earlier_steps(tmp_path: Path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "total_list_s.csv").write_text("arch,mAP\nb_1_0,0.5\n")
    path = tmp_path / "sp_nas.yml"
    path.write_text(VEGA)
    key = "nas2.search_algorithm.serial_settings"
    for record, source, outside in (
        ("total_list_s.csv", "nas1", None),
        ("{local_base_path}/output/total_list_s.csv", "nas1", None),  # nothing lies there: Vega's way to name nas1's
        ("old/total_list_s.csv", None, "old/total_list_s.csv"),
        ("{local_base_path}/old/total_list_s.csv", None, f"{tmp_path}/old/total_list_s.csv"),
    ):
        config = load_config(path, [f"nas2.search_algorithm.last_search_result='{record}'", f"{key}="])
        again = RunConfig.model_validate(config.to_mapping())
        for one in (config, again):
            assert (one.source_of("nas2"), one.outside_of("nas2")) == (source, outside)


def test_a_record_left_where_a_step_says_it_writes_is_not_taken_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "total_list_s.csv").write_text("arch,mAP\nb_1_0,0.5\n")
    path = tmp_path / "sp_nas.yml"
    path.write_text(VEGA)
    written = "{local_base_path}/output/total_list_s.csv"
    config = load_config(
        path,
        [
            f"nas1.search_algorithm.total_list='{written}'",
            f"nas2.search_algorithm.last_search_result='{written}'",
            "nas2.search_algorithm.serial_settings=",
        ],
    )
    assert (config.source_of("nas2"), config.outside_of("nas2")) == ("nas1", None)


def test_keys_with_nothing_behind_their_colon_are_as_if_left_out() -> None:
    step = {
        "search_algorithm": {
            "sample_level": "serial",
            "max_sample": None,
            "type": None,
            "serial_settings": {"max_stages": None},
        },
        "search_space": {"base_width": None},
        "trainer": {"config_template_file": "t.py", "epoch": None, "debug": None, "lazy_built": None},
    }
    empty = parse_config({"general": {"seed": None}, "pipeline": ["a"], "a": step}, "test")
    bare = {"search_algorithm": {"sample_level": "serial"}, "trainer": {"config_template_file": "t.py"}}
    assert empty == parse_config({"pipeline": ["a"], "a": bare}, "test")


def test_a_start_with_more_stages_than_growth_may_have_is_refused() -> None:
    settings = {"sample_level": "serial", "serial_settings": {"max_stages": 3}}
    step = {"search_algorithm": settings, "trainer": {"config_template_file": "t.py"}}
    with pytest.raises(ConfigError, match=r"has 4 stages, more than serial_settings.max_stages 3"):
        parse_config({"pipeline": ["a"], "a": step}, "test")


def test_a_template_may_be_spelt_in_several_ways(tmp_path: Path):
    path = tmp_path / "sp_nas.yml"
    path.write_text(VEGA.replace("./t.py", "'{local_base_path}/t.py'", 1))
    assert load_config(path).template == Path("t.py")
