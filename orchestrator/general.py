"""What every section of a configuration is, and the section that holds for the whole run.

Keys that mean something in Vega's files and nothing here are taken with any value; `orchestrator.notices` tells so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import from_json, to_json

from lineage.events import Resource
from orchestrator import broker_url
from orchestrator.quantities import memory_bytes

MAX_PARTS = 100  # of a value without effect; the log could not hold one of any depth


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, value: Any) -> Any:
        """A section, or a key, with nothing behind its colon is as one that is left out."""
        if not isinstance(value, dict):
            return {} if value is None else value
        known = set(cls.model_fields)
        for field in cls.model_fields.values():
            if isinstance(field.validation_alias, AliasChoices):
                known.update(map(str, field.validation_alias.choices))
        return {key: one for key, one in value.items() if one is not None or key not in known}


def _as_json(value: Any) -> Any:
    text = to_json(value, fallback=str, inf_nan_mode="strings", bytes_mode="base64")
    if text.count(b"[") + text.count(b"{") > MAX_PARTS:
        raise ValueError(f"holds more than {MAX_PARTS} lists and sections, and has no effect: leave it out")
    return from_json(text)


Ignored = Annotated[Any, BeforeValidator(_as_json)]
"""A value that nothing depends on, as the event log can hold it."""


class Worker(Section):
    """One job trains on one device; `cpu_workers` bounds the workers where there is no GPU (default: the cores)."""

    devices_per_job: int = 1
    cpu_workers: int | None = Field(default=None, ge=1, le=256)
    gpus_per_job: Ignored = None
    timeout: Ignored = None
    eval_count: Ignored = None
    eval_count_per_job: Ignored = None
    evaluate_timeout: Ignored = None


class Sql(Section):
    """What a live run answers in SQL: for how many seconds a query may run, and with how many bytes."""

    query_s: float = Field(default=30.0, gt=0, le=86400, strict=False)
    query_memory: Annotated[int, BeforeValidator(memory_bytes)] = Field(default=10**9, ge=10**7)


class Bus(Section):
    """The MQTT broker that events go to; without a `url`, one of the run's own on this machine.

    The password stands in the environment variable `password_env` or the file `password_file`, never here: a configuration
    is in the log. `ca` is the certificate of who signed the broker's, where that is not a public authority.
    """

    url: str | None = None
    ca: str | None = None
    password_env: str | None = None
    password_file: str | None = None
    prefix: str = Field(default="spnas", pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$", max_length=100)

    @field_validator("url")
    @classmethod
    def _is_a_broker(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = broker_url.parse(value)
        except broker_url.HoldsPassword as error:
            raise ValueError(f"{error}, and the log would: give it in password_env or password_file") from error
        except ValueError as error:
            raise ValueError(f"{error}: {broker_url.FORM}") from error
        if parts.path or parts.more:
            raise ValueError(f"names more than a broker (topics begin with the key prefix): {broker_url.FORM}")
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        given = [name for name in ("ca", "password_env", "password_file") if getattr(self, name) is not None]
        if given and self.url is None:
            raise ValueError(f"{given[0]} goes with a url; the broker without one has a password of its own")
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("password_env and password_file are both given: name one")
        if self.ca is not None and self.url is not None and not self.url.startswith("mqtts:"):
            raise ValueError("ca goes with a url of mqtts://")
        return self


class PipeStep(Section):
    """Vega's name for what a section does."""

    type: Literal["SpNasPipeStep", "FullyTrainPipeStep", "SpNasFullyTrain", "AuditPipeStep"]
    models_folder: Ignored = None
    pretrained_folder: Ignored = None


class General(Section):
    """What holds for the whole run. `make_data` makes a built-in data set in ./data before training.

    `objectives` are what the Pareto front weighs AP against. `keep_checkpoints` (candidates) and `disk_quota` (bytes) bound
    the weights that are kept beside those that the search still needs.
    """

    worker: Worker = Worker()
    sql: Sql = Sql()
    bus: Bus = Bus()
    seed: int = Field(default=0, ge=0, lt=2**63)
    make_data: Literal["digits"] | None = None
    objectives: Annotated[tuple[Resource, ...], Field(min_length=1, strict=False)] = ("flops",)
    keep_checkpoints: int | None = Field(default=None, ge=0)
    disk_quota: Annotated[int | None, BeforeValidator(memory_bytes)] = Field(default=None, gt=0)
    backend: Ignored = None
    device_category: Ignored = None
    parallel_search: Ignored = None
    parallel_fully_train: Ignored = None
    devices_per_trainer: Ignored = None
    cluster: Ignored = None
    task: Ignored = None
    logger: Ignored = None
    env: Ignored = None
    model_zoo: Ignored = None
    quota: Ignored = None

    @field_validator("objectives")
    @classmethod
    def _each_once(cls, value: tuple[Resource, ...]) -> tuple[Resource, ...]:
        twice = next((name for name in value if value.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} stands there twice: name each objective once")
        return value
