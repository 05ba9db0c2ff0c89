"""What is reported of workers and jobs: events of what was done, as against what the search intends.

A worker speaks of its own start and of its job; the runtime speaks of workers that are lost. Read `lineage.events` first.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Fault = Literal[
    "out_of_memory",
    "non_finite",
    "crash",
    "hang",
    "lost_device",
    "disk_full",
    "data",
    "checkpoint",
    "broken_promise",
    "cancelled",
    "bug",
]


class EventValue(BaseModel):
    """What all events are: immutable, without unknown fields; numbers that are no numbers are written as words. A kind's
    own parser is made when one is first needed, so that every command starts sooner.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", defer_build=True)
    version: ClassVar[int] = 1


class WorkerStarted(EventValue):
    """A worker process is ready on a device slot, for example ``cpu:0`` or ``cuda:3``."""

    kind: Literal["WorkerStarted"] = "WorkerStarted"
    device: str
    name: str
    memory_bytes: int | None = None


class WorkerLost(EventValue):
    """A worker process ended without being asked to; its job, if any, has its own `JobFailed`."""

    kind: Literal["WorkerLost"] = "WorkerLost"
    device: str
    message: str


class WeightsInherited(EventValue):
    """A child took its parent's weights; tensors counted over the whole detector.

    `residual` is max|f_child - f_parent| at birth on a probe batch, over shared feature levels (None: none).
    `dead_tensors` are the new parameters of backbone and neck that got no gradient within two steps of training on the
    probe batch (None: not measured).
    """

    kind: Literal["WeightsInherited"] = "WeightsInherited"
    job_id: str
    attempt: int
    child_id: str
    parent_id: str
    tensors_copied: int
    tensors_adapted: int
    tensors_new: int
    tensors_dropped: int
    residual: float | None
    dead_tensors: tuple[str, ...] | None = None


class EpochFinished(EventValue):
    """An epoch of training ended. `ap` is the validation AP, or the validation accuracy of a classification job."""

    kind: Literal["EpochFinished"] = "EpochFinished"
    job_id: str
    attempt: int
    epoch: int = Field(ge=1)
    epochs: int = Field(ge=1)
    loss: float
    ap: float | None = None


class JobFinished(EventValue):
    """A job ended well. `checkpoint` is the sha256 of its safetensors file; `accuracy` is set for kind reignite."""

    kind: Literal["JobFinished"] = "JobFinished"
    job_id: str
    attempt: int
    checkpoint: str
    checkpoint_bytes: int | None = None
    ap: float | None = None
    ap50: float | None = None
    accuracy: float | None = None
    params: int | None = None
    flops: int | None = None
    peak_memory_bytes: int | None = None
    latency_ms: float | None = None


class JobFailed(EventValue):
    """A job ended badly. The fault says who must act: data is the user's; broken_promise (a morphism that keeps the
    function did not) and bug are ours; the others may be tried again. For fault checkpoint, `checkpoint` names the file
    that is gone or damaged, where it is one.
    """

    kind: Literal["JobFailed"] = "JobFailed"
    job_id: str
    attempt: int
    fault: Fault
    message: str
    checkpoint: str | None = None
