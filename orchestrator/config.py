"""The configuration as validated values, in the keys of Vega's SP-NAS files.

Both spellings of `expand_ratio` (`expend_ratio`) and of `reignition` (`regnition`) are taken; unknown keys are errors.
Files are read in `orchestrator.config_file`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from lineage.architecture import Genotype
from lineage.events import Phase

MAX_CHANNELS = 65536
MANY = 1_000_000  # bounds counts, so that no typing slip asks for a search without end
Side = Annotated[int, Field(ge=32, le=65536)]

PARETO_FRONT = "pareto_front.csv"
DEFAULT_START = "b_11-21-21-21_0-0-0-0"


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)

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
    seed: int = Field(default=0, ge=0, lt=2**63)
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

    n_stuck: int = Field(default=10, ge=1, le=MANY)
    min_delta: float = Field(default=0.0, ge=0, le=1)
    max_reignitions: int = Field(default=2, ge=0, le=10)
    data: str
    epoch: int = Field(default=1, ge=1, le=MANY)
    batch_size: int = Field(default=64, ge=1, le=MANY)
    learning_rate: float = Field(default=0.01, gt=0)


class SearchAlgorithm(_Section):
    """How candidates are proposed; `max_sample` counts every network the step trains, its first one included."""

    type: Literal["SpNas"] = "SpNas"
    codec: Literal["SpNasCodec"] = "SpNasCodec"
    total_list: str | None = None
    sample_level: Literal["serial", "parallel"]
    max_sample: int = Field(default=10, ge=1, le=MANY)
    max_optimal: int = Field(default=5, ge=1, le=MANY)
    serial_settings: SerialSettings = SerialSettings()
    reignite: Reignite | None = None
    last_search_result: str | None = None
    reignition: bool | None = Field(default=None, validation_alias=AliasChoices("regnition", "reignition"))

    @property
    def record(self) -> str:
        """File name of the step's record."""
        return self.total_list or f"total_list_{self.sample_level[0]}.csv"

    @property
    def source(self) -> str | None:
        """The record this step starts from, as the user named it."""
        return self.last_search_result or self.serial_settings.last_search_result

    @field_validator("total_list")
    @classmethod
    def _stays_in_the_run_folder(cls, value: str | None) -> str | None:
        if value is not None and (Path(value).name != value or not value.endswith(".csv") or value == PARETO_FRONT):
            raise ValueError(
                f"{value!r} must be a bare file name ending in .csv, other than {PARETO_FRONT}: "
                "it is written into the run folder"
            )
        return value


class SearchSpace(_Section):
    """Where growth starts and how far it may go.

    `base_width` is the stem's channels, `image_size` (height, width) and `neck_channels` what costs are predicted for.
    """

    type: Literal["SearchSpace"] = "SearchSpace"
    start: str | None = None
    base_width: int = Field(default=64, ge=1, le=1024)
    image_size: Annotated[tuple[Side, Side], Field(strict=False)] = (800, 1333)
    neck_channels: int = Field(default=256, ge=1, le=65536)
    max_blocks: int = Field(default=60, ge=1, le=200)
    max_branches: int = Field(default=2, ge=1, le=9)

    @property
    def first(self) -> Genotype:
        """The first network."""
        return Genotype.parse(self.start or DEFAULT_START)

    @model_validator(mode="after")
    def _starts_inside(self) -> Self:
        first = self.first
        for found, limit, what in (
            (first.depth, self.max_blocks, "blocks, more than max_blocks"),
            (max(first.parallel), self.max_branches, "branches, more than max_branches"),
            (max(first.stage_channels(self.base_width)), MAX_CHANNELS, "channels, more than can be trained:"),
        ):
            if found > limit:
                raise ValueError(f"start {first} has {found} {what} {limit}")
        return self


class Trainer(_Section):
    """How a candidate is trained: `epoch` epochs of the template's schedule."""

    type: Literal["Trainer", "SpNasTrainer"] = "Trainer"
    callbacks: str | list[str] | None = None
    lazy_built: bool = True
    gpus: int | None = None
    debug: bool = False
    template: str = Field(validation_alias=AliasChoices("config_template_file", "config_template"))
    model_desc_file: str | None = None
    model_desc: str | None = None
    reignition: bool | None = Field(default=None, validation_alias=AliasChoices("regnition", "reignition"))
    epoch: int = Field(default=1, ge=1, le=MANY)

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
    pipeline: tuple[str, ...] = Field(min_length=1, strict=False)
    steps: dict[str, Step]

    @model_validator(mode="before")
    @classmethod
    def _sections_are_steps(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "steps" in value:
            raise ValueError("unknown key 'steps': give each step a section of its own name, other than this one")
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
        records: dict[str, str] = {}
        for name in self.pipeline:
            step = self.steps[name]
            _check_sources(name, step, records)
            if step.search_algorithm is not None:
                if step.search.record in records:
                    raise ValueError(f"{name} and {records[step.search.record]} would both write {step.search.record}")
                records[step.search.record] = name
        first = self.steps[self.pipeline[0]]
        if first.phase == "fullytrain" and first.trainer.model_desc is None:
            raise ValueError(f"{self.pipeline[0]}: there is nothing to train yet; give trainer.model_desc a code")
        return self

    def source_of(self, name: str) -> str | None:
        """The earlier step that step `name` starts from: the one whose record it names, else the one before."""
        step, index = self.steps[name], self.pipeline.index(name)
        record = step.trainer.model_desc_file if step.search_algorithm is None else step.search.source
        if record is None:
            return self.pipeline[index - 1] if index else None
        earlier = {
            self.steps[other].search.record: other
            for other in self.pipeline[:index]
            if self.steps[other].search_algorithm is not None
        }
        return earlier[Path(record).name]

    @property
    def template(self) -> Path:
        """The detector template, relative to the configuration's folder."""
        return Path(self.steps[self.pipeline[0]].trainer.template)

    def to_mapping(self) -> dict[str, Any]:
        """The configuration as JSON-able values, in the shape of the file."""
        dump = self.model_dump(mode="json")
        steps = dump.pop("steps")
        return {**dump, **{name: steps[name] for name in self.pipeline}}


def _check_sources(name: str, step: Step, records: dict[str, str]) -> None:
    """A step may name the record of an earlier step of the same pipeline; other sources are refused by name."""
    algorithm = step.search_algorithm
    settings = algorithm.serial_settings if algorithm else None
    key = "last_search_result" if algorithm else "model_desc_file"
    source = algorithm.source if algorithm else step.trainer.model_desc_file
    if source is not None and step.phase == "serial":
        raise ValueError(f"{name}: serial growth starts from search_space.start; {key} is for parallel steps so far")
    if source is not None and Path(source).name not in records:
        raise ValueError(
            f"{name}: {key} {source!r} is not the total_list of an earlier step of this pipeline "
            f"({', '.join(sorted(records)) or 'there is none'}); other records can't be read yet"
        )
    if any(owner is not None and owner.reignition for owner in (algorithm, settings, step.trainer)):
        raise ValueError(
            f"{name}: regnition: True (start from a reignited backbone) is not supported yet; set it False"
        )


def nearest(word: str, words: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
