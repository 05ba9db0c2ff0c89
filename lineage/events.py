"""Events: everything that happens in a search, as frozen, versioned values.

An event is appended once and never changed. Names are nouns and past verbs. Three kinds of author:

* the search (`orchestrator.search.decide`) records what it intends before it is done: phases, proposals, assignments;
* a worker reports what came of a job: `WorkerStarted`, `WeightsInherited`, `EpochFinished`, `JobFinished`, `JobFailed`;
* the runtime records the life of the run itself: started, resumed, stopped, workers lost.

No event holds a clock of its own: `Recorded` adds sequence number and time when it is stored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

JobKind = Literal["fast_train", "reignite", "full_train"]
Phase = Literal["serial", "parallel", "fullytrain"]
Fault = Literal["out_of_memory", "non_finite", "crash", "data", "checkpoint", "bug"]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
    version: ClassVar[int] = 1


class RunStarted(_Event):
    """A run began. `config` is the whole configuration as validated, `workdir` the folder its relative paths start from,
    `window` how far proposals run ahead of outcomes.
    """

    kind: Literal["RunStarted"] = "RunStarted"
    run_id: str
    seed: int
    simulated: bool
    slots: int = Field(ge=1)
    window: int = Field(ge=1)
    config: dict[str, Any]
    workdir: str = ""
    versions: dict[str, str] = {}


class RunResumed(_Event):
    """Another process took the run over: jobs without an outcome are issued again, all workers are new."""

    kind: Literal["RunResumed"] = "RunResumed"


class RunStopped(_Event):
    """The run was interrupted and can be resumed."""

    kind: Literal["RunStopped"] = "RunStopped"
    reason: str


class RunFinished(_Event):
    """The pipeline came to its end (`outcome` completed) or can't go on (failed)."""

    kind: Literal["RunFinished"] = "RunFinished"
    outcome: Literal["completed", "failed"]
    reason: str
    best_candidate_id: str | None = None


class PhaseStarted(_Event):
    """A pipeline step began. `step` is its section's name in the configuration."""

    kind: Literal["PhaseStarted"] = "PhaseStarted"
    step: str
    phase: Phase


class PhaseFinished(_Event):
    """A pipeline step ended; `best_candidate_id` is what the next step starts from."""

    kind: Literal["PhaseFinished"] = "PhaseFinished"
    step: str
    phase: Phase
    reason: str
    best_candidate_id: str | None = None


class CandidateProposed(_Event):
    """The search intends to train a network.

    `parent_probabilities` are the probabilities the parent was drawn with, `ignition` counts the reignitions behind the
    weights, `params` and `flops` (multiply-adds) are predicted for the backbone and neck at the configured image size.
    """

    kind: Literal["CandidateProposed"] = "CandidateProposed"
    candidate_id: str
    step: str
    phase: Phase
    code: str
    block_ids: tuple[tuple[str, ...], ...]
    base_width: int
    ignition: int = 0
    parent_id: str | None = None
    reignition_id: str | None = None
    morphisms: tuple[str, ...] = ()
    parent_probabilities: dict[str, float] = {}
    params: int
    flops: int


class CandidateAbandoned(_Event):
    """No attempt at this candidate succeeded; it is never ranked."""

    kind: Literal["CandidateAbandoned"] = "CandidateAbandoned"
    candidate_id: str
    fault: Fault
    message: str


class ReignitionProposed(_Event):
    """Growth stalled: the backbone of `candidate_id` goes back to classification. The numbers are what triggered it."""

    kind: Literal["ReignitionProposed"] = "ReignitionProposed"
    reignition_id: str
    step: str
    candidate_id: str
    n_stuck: int
    candidates_since_best: int
    best_ap: float
    min_delta: float


class ReignitionAbandoned(_Event):
    """No attempt at this reignition succeeded; growth goes on without it."""

    kind: Literal["ReignitionAbandoned"] = "ReignitionAbandoned"
    reignition_id: str
    fault: Fault
    message: str


class WorkerStarted(_Event):
    """A worker process is ready on a device slot, for example ``cpu:0`` or ``cuda:3``."""

    kind: Literal["WorkerStarted"] = "WorkerStarted"
    device: str
    name: str
    memory_bytes: int | None = None


class WorkerLost(_Event):
    """A worker process ended without being asked to; its job, if any, has its own `JobFailed`."""

    kind: Literal["WorkerLost"] = "WorkerLost"
    device: str
    message: str


class JobAssigned(_Event):
    """A job goes to a device. `subject_id` is a candidate, or a reignition for kind reignite."""

    kind: Literal["JobAssigned"] = "JobAssigned"
    job_id: str
    job_kind: JobKind
    subject_id: str
    device: str
    attempt: int = Field(ge=1)


class WeightsInherited(_Event):
    """A child took its parent's weights; tensors counted over the whole detector.

    `residual` is max|f_child - f_parent| at birth on a probe batch, over shared feature levels (None: none).
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


class EpochFinished(_Event):
    """An epoch of training ended. `ap` is the validation AP, or the validation accuracy of a classification job."""

    kind: Literal["EpochFinished"] = "EpochFinished"
    job_id: str
    attempt: int
    epoch: int = Field(ge=1)
    epochs: int = Field(ge=1)
    loss: float
    ap: float | None = None


class JobFinished(_Event):
    """A job ended well. `checkpoint` is the sha256 of its safetensors file; `accuracy` is set for kind reignite."""

    kind: Literal["JobFinished"] = "JobFinished"
    job_id: str
    attempt: int
    checkpoint: str
    ap: float | None = None
    ap50: float | None = None
    accuracy: float | None = None
    params: int | None = None
    flops: int | None = None
    peak_memory_bytes: int | None = None
    latency_ms: float | None = None


class JobFailed(_Event):
    """A job ended badly. The fault says who must act: data and checkpoint (a file that is gone or damaged) are the
    user's, bug is ours, the others may be tried again.
    """

    kind: Literal["JobFailed"] = "JobFailed"
    job_id: str
    attempt: int
    fault: Fault
    message: str


Event = Annotated[
    RunStarted
    | RunResumed
    | RunStopped
    | RunFinished
    | PhaseStarted
    | PhaseFinished
    | CandidateProposed
    | CandidateAbandoned
    | ReignitionProposed
    | ReignitionAbandoned
    | WorkerStarted
    | WorkerLost
    | JobAssigned
    | WeightsInherited
    | EpochFinished
    | JobFinished
    | JobFailed,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


class Recorded(BaseModel):
    """An event in the log: its sequence number (from 1), its id, and when it was recorded (UTC)."""

    model_config = ConfigDict(frozen=True)
    seq: int
    event_id: str
    ts: datetime
    event: Event


def to_json(event: Event) -> str:
    """Payload of an event as JSON text."""
    return event.model_dump_json()


def from_json(text: str | bytes) -> Event:
    """Event of a JSON payload.

    Raises:
        pydantic.ValidationError: the payload is no event of this version.
    """
    return _ADAPTER.validate_json(text)
