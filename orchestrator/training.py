"""The sections that say how networks are trained: quickly, fully, on classification, or again for an audit."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from lineage.architecture import Genotype
from orchestrator.general import Section

MAX_CHANNELS = 65536
MANY = 1_000_000  # bounds counts, so that no typing slip asks for a search without end

TEMPLATE = AliasChoices("config_template_file", "config_template")
REIGNITION = AliasChoices("regnition", "reignition")


class Retraining(Section):
    """How a backbone is retrained on classification: on the class folders `data`/train and `data`/val."""

    data: str
    epoch: int = Field(default=1, ge=1, le=MANY)
    batch_size: int = Field(default=64, ge=1, le=MANY)
    learning_rate: float = Field(default=0.01, gt=0, allow_inf_nan=False)


class Trainer(Section):
    """How a candidate is trained: `epoch` epochs of the template's schedule.

    `weights` is what a full training begins with; `reignition` True means reignited, as `reignite` says where no search
    step before it does. None: the weights of the search, or none at all for a `model_desc`.
    """

    type: Literal["Trainer", "SpNasTrainer"] = "Trainer"
    callbacks: str | list[str] | None = None
    lazy_built: bool = True
    gpus: int | None = None
    debug: bool = False
    template: str = Field(validation_alias=TEMPLATE)
    model_desc_file: str | None = None
    model_desc: str | None = None
    reignition: bool | None = Field(default=None, validation_alias=REIGNITION)
    reignite: Retraining | None = None
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
        return value if value is None else Genotype.parse(value).code


class Audit(Section):
    """Candidates of a finished `run` to train again, from scratch and with the backbone alone inherited.

    `searched_epoch` is for how many epochs that run trained them (None: for as many as here), `searched_seeds` how often.
    """

    run: str
    candidates: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    searched_epoch: int | None = Field(default=None, ge=1, le=MANY)
    searched_seeds: int = Field(default=1, ge=1, le=MANY)

    @field_validator("candidates")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for name in value if value.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} stands there twice: name each candidate once")
        return value


def too_wide(network: Genotype, base_width: int) -> str | None:
    """Why a network has more channels than can be trained, or None."""
    channels = max(network.stage_channels(base_width))
    if channels <= MAX_CHANNELS:
        return None
    return f"{network} has {channels} channels, at most {MAX_CHANNELS} can be trained"
