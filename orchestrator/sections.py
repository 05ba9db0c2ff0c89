"""The sections of a configuration as validated values, in the keys of Vega's SP-NAS files.

Both spellings of `expand_ratio` (`expend_ratio`) and of `reignition` (`regnition`) are taken; unknown keys are errors.
How sections make a pipeline is `orchestrator.config`; files are read in `orchestrator.config_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from lineage.architecture import Genotype
from lineage.cost import cost
from lineage.events import Phase, Resource
from orchestrator.quantities import count, memory_bytes, milliseconds

MAX_CHANNELS = 65536
MANY = 1_000_000  # bounds counts, so that no typing slip asks for a search without end
Side = Annotated[int, Field(ge=32, le=65536)]

PARETO_FRONT = "pareto_front.csv"
DEFAULT_START = "b_11-21-21-21_0-0-0-0"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        return {} if value is None else value


class Worker(Section):
    """One job trains on one device; `cpu_workers` bounds the workers where there is no GPU (default: the cores)."""

    devices_per_job: Literal[1] = 1
    cpu_workers: int | None = Field(default=None, ge=1, le=256)


class General(Section):
    """What holds for the whole run. `make_data` makes a built-in data set in ./data before training.

    `objectives` are what the Pareto front weighs AP against.
    """

    worker: Worker = Worker()
    seed: int = Field(default=0, ge=0, lt=2**63)
    make_data: Literal["digits"] | None = None
    objectives: Annotated[tuple[Resource, ...], Field(min_length=1, strict=False)] = ("flops",)


class PipeStep(Section):
    """Vega's name for what a section does."""

    type: Literal["SpNasPipeStep", "FullyTrainPipeStep", "AuditPipeStep"]


class SerialSettings(Section):
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


class Reignite(Section):
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


class SearchAlgorithm(Section):
    """How candidates are proposed; `max_sample` counts every network the step trains, its first one included.

    Each is trained `seeds_per_candidate` times, and its AP is the mean. `paired`: a child is compared with its parent
    trained for the same extra epochs from the same seeds; those controls are not counted in `max_sample`.
    """

    type: Literal["SpNas"] = "SpNas"
    codec: Literal["SpNasCodec"] = "SpNasCodec"
    total_list: str | None = None
    sample_level: Literal["serial", "parallel"]
    max_sample: int = Field(default=10, ge=1, le=MANY)
    max_optimal: int = Field(default=5, ge=1, le=MANY)
    seeds_per_candidate: int = Field(default=1, ge=1, le=100)
    paired: bool = False
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
        """The record or run this step starts from, as the user named it."""
        return self.last_search_result or self.serial_settings.last_search_result

    @property
    def starts_reignited(self) -> bool:
        return bool(self.reignition or self.serial_settings.reignition)

    @field_validator("total_list")
    @classmethod
    def _stays_in_the_run_folder(cls, value: str | None) -> str | None:
        if value is not None and (Path(value).name != value or not value.endswith(".csv") or value == PARETO_FRONT):
            raise ValueError(
                f"{value!r} must be a bare file name ending in .csv, other than {PARETO_FRONT}: "
                "it is written into the run folder"
            )
        return value


class Limits(Section):
    """What a network may cost at most: multiply-adds and parameters of the detector, bytes of a training step, ms.

    Numbers may have a suffix: 4.2G (or 4.2e9), 30M, 8GiB, 20ms. None: no limit.
    """

    flops: Annotated[int | None, BeforeValidator(count)] = Field(default=None, gt=0)
    params: Annotated[int | None, BeforeValidator(count)] = Field(default=None, gt=0)
    memory: Annotated[int | None, BeforeValidator(memory_bytes)] = Field(default=None, gt=0)
    latency: Annotated[float | None, BeforeValidator(milliseconds)] = Field(default=None, gt=0)


class SearchSpace(Section):
    """Where growth starts and how far it may go; the result of a phase has `min_blocks` and `min_stages` at least.

    `base_width` is the stem's channels, `image_size` (height, width) and `neck_channels` what costs are predicted for,
    `weights` a file of a torchvision ResNet's weights that `start` begins with.
    """

    type: Literal["SearchSpace"] = "SearchSpace"
    start: str | None = None
    weights: str | None = None
    base_width: int = Field(default=64, ge=1, le=1024)
    image_size: Annotated[tuple[Side, Side], Field(strict=False)] = (800, 1333)
    neck_channels: int = Field(default=256, ge=1, le=65536)
    min_blocks: int = Field(default=8, ge=1, le=200)
    max_blocks: int = Field(default=60, ge=1, le=200)
    min_stages: int = Field(default=5, ge=1, le=9)
    max_branches: int = Field(default=2, ge=1, le=9)
    limits: Limits = Limits()

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
        if self.min_blocks > self.max_blocks:
            raise ValueError(f"min_blocks {self.min_blocks} is more than max_blocks {self.max_blocks}")
        predicted = cost(first, self.base_width, self.image_size, self.neck_channels)
        for name in ("flops", "params"):
            allowed, found = getattr(self.limits, name), getattr(predicted, name)
            if allowed is not None and found > allowed:
                raise ValueError(f"start {first} has {found} {name}, more than limits.{name} {allowed}")
        return self


class Trainer(Section):
    """How a candidate is trained: `epoch` epochs of the template's schedule.

    `weights` is what a full training begins with; `reignition` True means reignited. None: the weights of the search, or
    none at all for a `model_desc`.
    """

    type: Literal["Trainer", "SpNasTrainer"] = "Trainer"
    callbacks: str | list[str] | None = None
    lazy_built: bool = True
    gpus: int | None = None
    debug: bool = False
    template: str = Field(validation_alias=AliasChoices("config_template_file", "config_template"))
    model_desc_file: str | None = None
    model_desc: str | None = None
    reignition: bool | None = Field(default=None, validation_alias=AliasChoices("regnition", "reignition"))
    weights: Literal["inherited", "reignited", "scratch"] | None = None
    epoch: int = Field(default=1, ge=1, le=MANY)

    @property
    def starts_reignited(self) -> bool:
        return self.weights == "reignited" or bool(self.reignition)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.model_desc is not None and self.model_desc_file is not None:
            raise ValueError("model_desc and model_desc_file are both given: name one network to train")
        if self.reignition and self.weights not in (None, "reignited"):
            raise ValueError(f"regnition: True contradicts weights: {self.weights}")
        return self

    @field_validator("model_desc")
    @classmethod
    def _is_a_network(cls, value: str | None) -> str | None:
        if value is not None:
            Genotype.parse(value)
        return value


class Audit(Section):
    """Candidates of a finished `run` to train again, from scratch and with the backbone alone inherited."""

    run: str
    candidates: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]


class Step(Section):
    """One section of the pipeline."""

    pipe_step: PipeStep | None = None
    search_algorithm: SearchAlgorithm | None = None
    search_space: SearchSpace = SearchSpace()
    audit: Audit | None = None
    trainer: Trainer

    @model_validator(mode="after")
    def _kind_is_clear(self) -> Self:
        if self.search_algorithm is not None and self.audit is not None:
            raise ValueError("a step has a search_algorithm or an audit, not both")
        types = {"fullytrain": "FullyTrainPipeStep", "audit": "AuditPipeStep"}
        type_ = types.get(self.phase, "SpNasPipeStep")
        if self.pipe_step is not None and self.pipe_step.type != type_:
            needs = {
                "FullyTrainPipeStep": "neither a search_algorithm nor an audit",
                "AuditPipeStep": "an audit section",
            }
            wanted = needs.get(self.pipe_step.type, "a search_algorithm")
            raise ValueError(f"pipe_step.type {self.pipe_step.type} goes with {wanted}")
        return self

    @property
    def phase(self) -> Phase:
        if self.audit is not None:
            return "audit"
        return "fullytrain" if self.search_algorithm is None else self.search_algorithm.sample_level

    @property
    def starts_reignited(self) -> bool:
        """Whether the step begins by retraining its first network's backbone on classification."""
        search = self.search_algorithm is not None and self.search_algorithm.starts_reignited
        return search or self.trainer.starts_reignited

    @property
    def min_stages(self) -> int:
        """Stages that a result needs; a serial step can't ask for more than it may grow."""
        grows = self.search_algorithm is not None and self.search_algorithm.sample_level == "serial"
        return min(self.search_space.min_stages, self.search.serial_settings.max_stages) if grows else 1

    @property
    def search(self) -> SearchAlgorithm:
        """The search algorithm of a search step."""
        assert self.search_algorithm is not None
        return self.search_algorithm
