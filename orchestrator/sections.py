"""The sections of a step as validated values, in the keys of Vega's SP-NAS files.

Both spellings of `expand_ratio` (`expend_ratio`) and of `reignition` (`regnition`) are taken; unknown keys are errors.
How sections make a pipeline is `orchestrator.config`; files are read in `orchestrator.config_file`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from lineage.architecture import Genotype
from lineage.cost import backbone_cost
from lineage.events import Phase
from orchestrator.general import PipeStep, Section
from orchestrator.quantities import count, memory_bytes, milliseconds
from orchestrator.training import MANY, REIGNITION, TEMPLATE, Audit, Retraining, Trainer, too_wide

Side = Annotated[int, Field(ge=32, le=65536)]

PARETO_FRONT = "pareto_front.csv"
DEFAULT_START = "b_11-21-21-21_0-0-0-0"
DEFAULT_MIN_BLOCKS = 8
DEFAULT_MIN_STAGES = 5


class SerialSettings(Section):
    """Serial growth: a candidate is `num_mutate` morphisms away from its parent.

    Each morphism adds a stage with probability `addstage_ratio`, expands with `expand_ratio`, else swaps.
    """

    num_mutate: int = Field(default=3, ge=1, le=20)
    addstage_ratio: float = Field(default=0.05, ge=0, le=1)
    expand_ratio: float = Field(default=0.3, ge=0, le=1, validation_alias=AliasChoices("expend_ratio", "expand_ratio"))
    max_stages: int = Field(default=6, ge=1, le=9)
    last_search_result: str | None = None
    reignition: bool | None = Field(default=None, validation_alias=REIGNITION)

    @model_validator(mode="after")
    def _ratios_are_probabilities(self) -> Self:
        if self.addstage_ratio + self.expand_ratio > 1:
            raise ValueError("addstage_ratio + expend_ratio must not exceed 1: the rest is the probability of a swap")
        return self

    @property
    def swap_ratio(self) -> float:
        """The rest; 0 where the others add up to 1 but for the last bit of a float."""
        return round(1 - self.addstage_ratio - self.expand_ratio, 9)


class Reignite(Retraining):
    """When growth stalls, and how the best backbone is retrained then.

    A stall: `n_stuck` candidates in a row none of which beats the best AP by more than `min_delta`.
    """

    n_stuck: int = Field(default=10, ge=1, le=MANY)
    min_delta: float = Field(default=0.0, ge=0, le=1)
    max_reignitions: int = Field(default=2, ge=0, le=10)


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
    reignition: bool | None = Field(default=None, validation_alias=REIGNITION)

    @property
    def record(self) -> str:
        """File name of the step's record."""
        return Path(self.total_list or f"total_list_{self.sample_level[0]}.csv").name

    @property
    def source(self) -> str | None:
        """The record or run this step starts from, as the user named it."""
        return self.last_search_result or self.serial_settings.last_search_result

    @property
    def starts_reignited(self) -> bool:
        return bool(self.reignition or self.serial_settings.reignition)

    @field_validator("total_list")
    @classmethod
    def _is_a_file_of_its_own(cls, value: str | None) -> str | None:
        name = "" if value is None else Path(value).name
        if value is not None and (
            not name.endswith(".csv") or name == PARETO_FRONT or not name.isprintable() or len(name.encode()) > 200
        ):
            raise ValueError(f"the name of the step's record must end in .csv and be other than {PARETO_FRONT}")
        return value

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        inside = self.serial_settings
        for key, here, there in (
            ("last_search_result", self.last_search_result, inside.last_search_result),
            ("regnition", self.reignition, inside.reignition),
        ):
            if here is not None and there is not None and here != there:
                raise ValueError(f"{key} is {here} here and {there} in serial_settings: give it once")
        return self


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
    `weights` a file of a torchvision ResNet's weights that `start` begins with. `template` and `epoch` stand here in
    Vega's files; a step hands them to its trainer.
    """

    type: Literal["SearchSpace"] = "SearchSpace"
    start: str | None = None
    weights: str | None = None
    base_width: int = Field(default=64, ge=1, le=1024)
    image_size: Annotated[tuple[Side, Side], Field(strict=False)] = (800, 1333)
    neck_channels: int = Field(default=256, ge=1, le=65536)
    min_blocks: int = Field(default=DEFAULT_MIN_BLOCKS, ge=1, le=200)
    max_blocks: int = Field(default=60, ge=1, le=200)
    min_stages: int | None = Field(default=None, ge=1, le=9)
    max_branches: int = Field(default=2, ge=1, le=9)
    limits: Limits = Limits()
    template: str | None = Field(default=None, validation_alias=TEMPLATE)
    epoch: int | None = Field(default=None, ge=1, le=MANY)

    @property
    def first(self) -> Genotype:
        """The first network."""
        return Genotype.parse(self.start or DEFAULT_START)

    @model_validator(mode="before")
    @classmethod
    def _default_gives_way(cls, value: Any) -> Any:
        """A space of few blocks was meant, if `min_blocks` is not given."""
        most = value.get("max_blocks") if isinstance(value, dict) else None
        if type(most) is int and 1 <= most < DEFAULT_MIN_BLOCKS and "min_blocks" not in value:
            return {**value, "min_blocks": most}
        return value

    @field_validator("start")
    @classmethod
    def _is_a_network(cls, value: str | None) -> str | None:
        return value if value is None else Genotype.parse(value).code

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.min_blocks > self.max_blocks:
            raise ValueError(f"min_blocks {self.min_blocks} is more than max_blocks {self.max_blocks}")
        return self

    def refusal(self, first: Genotype, base_width: int) -> str | None:
        """Why a search in this space can't start from a network, as far as that is known without its template."""
        predicted = backbone_cost(first, base_width, self.image_size)
        for found, limit, what, name in (
            (first.depth, self.max_blocks, "blocks", "max_blocks"),
            (max(first.parallel), self.max_branches, "branches beside a stage", "max_branches"),
            (predicted.flops, self.limits.flops, "flops in its backbone", "limits.flops"),
            (predicted.params, self.limits.params, "params in its backbone", "limits.params"),
        ):
            if limit is not None and found > limit:
                return (
                    f"{first} has {found} {what}, more than search_space.{name} {limit}: "
                    "raise it, or start from a smaller network"
                )
        return too_wide(first, base_width)


class Step(Section):
    """One section of the pipeline."""

    pipe_step: PipeStep | None = None
    search_algorithm: SearchAlgorithm | None = None
    search_space: SearchSpace = SearchSpace()
    audit: Audit | None = None
    trainer: Trainer

    @model_validator(mode="before")
    @classmethod
    def _template_may_stand_in_the_space(cls, value: Any) -> Any:
        """What Vega's files say of the training in the search space goes to the trainer."""
        space = value.get("search_space") if isinstance(value, dict) else None
        if not isinstance(space, dict) or not isinstance(value.get("trainer") or {}, dict):
            return value
        space, trainer = dict(space), dict(value.get("trainer") or {})
        for spellings in (("template", *map(str, TEMPLATE.choices)), ("epoch",)):
            there = [space.pop(key) for key in spellings if space.get(key) is not None]
            here = [trainer[key] for key in spellings if key in trainer]
            if here and there and here != there:
                raise ValueError(
                    f"{spellings[-1]} is {there[0]} in search_space and {here[0]} in trainer: give it in trainer alone"
                )
            if there and not here:
                trainer[spellings[-1]] = there[0]
        return {**value, "search_space": space, "trainer": trainer}

    @model_validator(mode="after")
    def _kind_is_clear(self) -> Self:
        if self.search_algorithm is not None and self.audit is not None:
            raise ValueError("a step has a search_algorithm or an audit, not both")
        kinds = {"fullytrain": ("FullyTrainPipeStep", "SpNasFullyTrain"), "audit": ("AuditPipeStep",)}
        if self.pipe_step is not None and self.pipe_step.type not in kinds.get(self.phase, ("SpNasPipeStep",)):
            needs = {"SpNasPipeStep": "a search_algorithm", "AuditPipeStep": "an audit section"}
            wanted = needs.get(self.pipe_step.type, "neither a search_algorithm nor an audit")
            raise ValueError(f"pipe_step.type {self.pipe_step.type} goes with {wanted}")
        return self

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        space, trainer = self.search_space, self.trainer
        if self.phase != "fullytrain" and trainer.weights is not None:
            raise ValueError(f"trainer.weights: {trainer.weights} goes with a full training")
        if self.phase != "fullytrain" and trainer.reignite is not None:
            raise ValueError("trainer.reignite goes with a full training; a search has search_algorithm.reignite")
        if self.phase == "serial" and space.min_stages is not None:
            most = self.search.serial_settings.max_stages
            if space.min_stages > most:
                raise ValueError(
                    f"search_space.min_stages {space.min_stages} is more than serial_settings.max_stages {most}: "
                    "no growth gets there"
                )
        return self

    @property
    def phase(self) -> Phase:
        if self.audit is not None:
            return "audit"
        return "fullytrain" if self.search_algorithm is None else self.search_algorithm.sample_level

    def refusal(self, first: Genotype, base_width: int) -> str | None:
        """Why the step can't start from a network, as far as that is known without its template; None: it can."""
        if self.search_algorithm is None:
            return too_wide(first, base_width)
        most = self.search.serial_settings.max_stages
        if self.phase == "serial" and len(first.stages) > most:
            return f"{first} has {len(first.stages)} stages, more than serial_settings.max_stages {most}: raise it"
        return self.search_space.refusal(first, base_width)

    @property
    def starts_reignited(self) -> bool:
        """Whether the step begins by retraining its first network's backbone on classification."""
        search = self.search_algorithm is not None and self.search_algorithm.starts_reignited
        return self.phase != "audit" and (search or self.trainer.starts_reignited)

    @property
    def reignite(self) -> Reignite | None:
        """How the step reignites, as it says itself; a full training may, but never stalls."""
        if self.trainer.reignite is not None:
            return Reignite(**self.trainer.reignite.model_dump())
        return None if self.search_algorithm is None else self.search_algorithm.reignite

    @property
    def min_stages(self) -> int:
        """Stages that a result needs; the default asks of serial growth no more than it may do."""
        if self.phase != "serial":
            return 1
        asked, most = self.search_space.min_stages, self.search.serial_settings.max_stages
        return min(DEFAULT_MIN_STAGES, most) if asked is None else asked

    @property
    def search(self) -> SearchAlgorithm:
        """The search algorithm of a search step."""
        assert self.search_algorithm is not None
        return self.search_algorithm
