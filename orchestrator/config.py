"""The configuration: YAML in the keys of Vega's SP-NAS files, validated into values.

Reads files and nothing else; safe YAML only. Both spellings of `expand_ratio` (`expend_ratio`) and `reignition`
(`regnition`) are taken. An unknown key is an error that names it and the nearest right one.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lineage.architecture import Genotype
from lineage.events import Phase
from orchestrator.errors import ConfigError

DEFAULT_START = "b_11-21-21-21_0-0-0-0"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        return {} if value is None else value


class Worker(_Section):
    """One job trains on one device; `cpu_workers` bounds the workers where there is no GPU (default: the cores)."""

    devices_per_job: Literal[1] = 1
    cpu_workers: int | None = Field(default=None, ge=1, le=256)


class General(_Section):
    """What holds for the whole run. `make_data` makes a built-in data set in ./data before training."""

    worker: Worker = Worker()
    seed: int = 0
    make_data: Literal["digits"] | None = None


class PipeStep(_Section):
    """Vega's name for what a section does."""

    type: Literal["SpNasPipeStep", "FullyTrainPipeStep"]


class SerialSettings(_Section):
    """Serial growth: a candidate is `num_mutate` morphisms away from its parent.

    Each morphism adds a stage with probability `addstage_ratio`, expands with `expand_ratio`, else swaps.
    """

    num_mutate: int = Field(default=3, ge=1, le=20)
    addstage_ratio: float = Field(default=0.05, ge=0, le=1)
    expand_ratio: float = Field(default=0.3, ge=0, le=1, validation_alias=AliasChoices("expend_ratio", "expand_ratio"))
    max_stages: int = Field(default=6, ge=1, le=9)
    last_search_result: str | None = None
    reignition: bool | None = Field(default=None, validation_alias=AliasChoices("regnition", "reignition"))

    @model_validator(mode="after")
    def _ratios_are_probabilities(self) -> Self:
        if self.addstage_ratio + self.expand_ratio > 1:
            raise ValueError("addstage_ratio + expend_ratio must not exceed 1: the rest is the probability of a swap")
        return self


class Reignite(_Section):
    """When growth stalls and how the backbone is retrained on the class folders `data`/train and `data`/val.

    A stall: `n_stuck` candidates in a row none of which beats the best AP by more than `min_delta`.
    """

    n_stuck: int = Field(default=10, ge=1)
    min_delta: float = Field(default=0.0, ge=0, le=1)
    max_reignitions: int = Field(default=2, ge=0, le=10)
    data: str
    epoch: int = Field(default=1, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.01, gt=0)


class SearchAlgorithm(_Section):
    """How candidates are proposed; `max_sample` counts every network the step trains, its first one included."""

    type: Literal["SpNas"] = "SpNas"
    codec: Literal["SpNasCodec"] = "SpNasCodec"
    total_list: str | None = None
    sample_level: Literal["serial", "parallel"]
    max_sample: int = Field(default=10, ge=1)
    max_optimal: int = Field(default=5, ge=1)
    serial_settings: SerialSettings = SerialSettings()
    reignite: Reignite | None = None
    last_search_result: str | None = None
    reignition: bool | None = Field(default=None, validation_alias=AliasChoices("regnition", "reignition"))

    @field_validator("total_list")
    @classmethod
    def _stays_in_the_run_folder(cls, value: str | None) -> str | None:
        if value is not None and Path(value).name != value:
            raise ValueError(f"{value!r} must be a bare file name: it is written into the run folder")
        return value


class SearchSpace(_Section):
    """Where growth starts and how far it may go.

    `base_width` is the stem's channels, `image_size` (height, width) and `neck_channels` what costs are predicted for.
    """

    type: Literal["SearchSpace"] = "SearchSpace"
    start: str | None = None
    base_width: int = Field(default=64, ge=1, le=1024)
    image_size: tuple[int, int] = (800, 1333)
    neck_channels: int = Field(default=256, ge=1)
    max_blocks: int = Field(default=60, ge=1, le=200)
    max_branches: int = Field(default=2, ge=1, le=9)

    @field_validator("start")
    @classmethod
    def _is_a_network(cls, value: str | None) -> str | None:
        if value is not None:
            Genotype.parse(value)
        return value


class Trainer(_Section):
    """How a candidate is trained: `epoch` epochs of the template's schedule."""

    type: Literal["Trainer", "SpNasTrainer"] = "Trainer"
    callbacks: Any = None
    lazy_built: bool = True
    gpus: int | None = None
    debug: bool = False
    template: str = Field(validation_alias=AliasChoices("config_template_file", "config_template"))
    model_desc_file: str | None = None
    model_desc: str | None = None
    reignition: bool | None = Field(default=None, validation_alias=AliasChoices("regnition", "reignition"))
    epoch: int = Field(default=1, ge=1)

    @field_validator("model_desc")
    @classmethod
    def _is_a_network(cls, value: str | None) -> str | None:
        if value is not None:
            Genotype.parse(value)
        return value


class Step(_Section):
    """One section of the pipeline."""

    pipe_step: PipeStep | None = None
    search_algorithm: SearchAlgorithm | None = None
    search_space: SearchSpace = SearchSpace()
    trainer: Trainer

    @model_validator(mode="after")
    def _kind_is_clear(self) -> Self:
        full = self.pipe_step is not None and self.pipe_step.type == "FullyTrainPipeStep"
        if full and self.search_algorithm is not None:
            raise ValueError("a FullyTrainPipeStep has no search_algorithm")
        if self.search_algorithm is None and self.pipe_step is not None and not full:
            raise ValueError("a SpNasPipeStep needs a search_algorithm")
        return self

    @property
    def phase(self) -> Phase:
        return "fullytrain" if self.search_algorithm is None else self.search_algorithm.sample_level

    @property
    def search(self) -> SearchAlgorithm:
        """The search algorithm of a search step."""
        assert self.search_algorithm is not None
        return self.search_algorithm


class RunConfig(_Section):
    """A whole configuration; `steps` holds the sections by name, in the order of the file."""

    general: General = General()
    pipeline: tuple[str, ...] = Field(min_length=1)
    steps: dict[str, Step]

    @model_validator(mode="before")
    @classmethod
    def _sections_are_steps(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "steps" in value:
            return value
        rest = {key: section for key, section in value.items() if key not in ("general", "pipeline")}
        pipeline = value.get("pipeline")
        names = [name for name in pipeline if isinstance(name, str)] if isinstance(pipeline, list | tuple) else []
        for name in names:
            if name not in rest:
                raise ValueError(f"pipeline names {name!r} but there is no such section{nearest(name, rest)}")
        for key, section in rest.items():
            if key not in names and not (isinstance(section, dict) and "trainer" in section):
                raise ValueError(f"unknown key {key!r}{nearest(str(key), ['general', 'pipeline', *names])}")
        return {**{key: value[key] for key in ("general", "pipeline") if key in value}, "steps": rest}

    @model_validator(mode="after")
    def _steps_follow_each_other(self) -> Self:
        if len(set(self.pipeline)) != len(self.pipeline):
            raise ValueError("pipeline names a step twice")
        if len({self.steps[name].trainer.template for name in self.pipeline}) > 1:
            raise ValueError("the steps name different templates; one template for the whole pipeline is supported")
        lists: set[str] = set()
        for name in self.pipeline:
            step = self.steps[name]
            _check_sources(name, step, lists)
            if step.search_algorithm is not None and step.search.total_list:
                lists.add(step.search.total_list)
        return self

    @property
    def template(self) -> Path:
        """The detector template, relative to the configuration's folder."""
        return Path(self.steps[self.pipeline[0]].trainer.template)

    def to_mapping(self) -> dict[str, Any]:
        """The configuration as JSON-able values, in the shape of the file."""
        dump = self.model_dump(mode="json")
        steps = dump.pop("steps")
        return {**dump, **{name: steps[name] for name in self.pipeline}}


def _check_sources(name: str, step: Step, earlier_lists: set[str]) -> None:
    """A step may name the record of an earlier step of the same run; other sources are refused by name."""
    algorithm = step.search_algorithm
    settings = algorithm.serial_settings if algorithm else None
    for key, source in (
        ("last_search_result", algorithm.last_search_result if algorithm else None),
        ("last_search_result", settings.last_search_result if settings else None),
        ("model_desc_file", step.trainer.model_desc_file),
    ):
        if source is not None and Path(source).name not in earlier_lists:
            raise ValueError(
                f"{name}: {key} {source!r} is not the total_list of an earlier step of this pipeline "
                f"({', '.join(sorted(earlier_lists)) or 'there is none'}); other records can't be read yet"
            )
    if any(owner is not None and owner.reignition for owner in (algorithm, settings, step.trainer)):
        raise ValueError(
            f"{name}: regnition: True (start from a reignited backbone) is not supported yet; set it False"
        )


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Configuration of a YAML file, with ``KEY=VALUE`` overrides (dotted keys, YAML values) applied first.

    Raises:
        ConfigError: the file can't be read, is no YAML mapping, or holds a key or value that can't be used.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"can't read the configuration {path}: {reason}") from error
    try:
        raw = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path} holds {type(raw).__name__}, expected a mapping with general, pipeline and one section a step"
        )
    for override in overrides:
        _override(raw, override)
    return parse_config(_expand(raw, {"local_base_path": str(path.resolve().parent)}), str(path))


def parse_config(raw: dict[str, Any], source: str) -> RunConfig:
    """Configuration of a mapping in the file's shape. Raises ConfigError with every fault, one a line."""
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        faults = "\n".join(f"  {_explain(fault)}" for fault in error.errors())
        raise ConfigError(f"{source} can't be used:\n{faults}") from error


def nearest(word: str, words: Sequence[str] | dict[str, Any]) -> str:
    """``; did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(word, [str(candidate) for candidate in words], n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _override(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override!r}: expected KEY=VALUE, for example serial.search_algorithm.max_sample=20")
    *parents, last = key.split(".")
    section: Any = raw
    for name in parents:
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override!r}: {name!r} is a value, not a section")
    try:
        section[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is no valid YAML") from error


def _expand(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _expand(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, names) for item in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
    return value


def _explain(fault: Any) -> str:
    location = [str(part) for part in fault["loc"] if part != "steps"]
    where = ".".join(location)
    if fault["type"] == "extra_forbidden":
        return f"unknown key {where!r}{nearest(location[-1], _siblings(fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"{where}: this key is missing"
    message = fault["msg"].removeprefix("Value error, ")
    found = f" (found {fault['input']!r})" if isinstance(fault["input"], str | int | float | bool) else ""
    return f"{where}: {message}{found}" if where else message


def _siblings(path: Sequence[Any]) -> list[str]:
    """The keys known where a fault was found, as users spell them."""
    model: Any = RunConfig
    for part in path:
        field = model.model_fields.get(part) or next(
            (f for f in model.model_fields.values() if part in _spellings("", f.validation_alias)), None
        )
        if field is None:
            continue  # the name of a step inside `steps`
        model = _model_of(field.annotation)
        if model is None:
            return []
    return [
        spelling for name, field in model.model_fields.items() for spelling in _spellings(name, field.validation_alias)
    ]


def _spellings(name: str, alias: Any) -> list[str]:
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [name]


def _model_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in typing.get_args(annotation) if (model := _model_of(part))), None)
