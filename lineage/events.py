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

from lineage.cost import Heads

JobKind = Literal["fast_train", "reignite", "full_train"]
Phase = Literal["serial", "parallel", "fullytrain", "audit"]
Fault = Literal["out_of_memory", "non_finite", "crash", "data", "checkpoint", "broken_promise", "bug"]
Resource = Literal["flops", "params", "memory", "latency"]
Inherited = Literal["detector", "backbone", "nothing"]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
    version: ClassVar[int] = 1


class RunStarted(_Event):
    """A run began. `config` is the whole configuration as validated, `workdir` the folder its relative paths start from,
    `window` how far proposals run ahead of outcomes, `heads` what the template's detector costs beside backbone and neck
    (None: not counted).
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
    heads: Heads | None = None


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
    refused: dict[str, int] = {}


class NetworkGiven(_Event):
    """A step starts from a network that no step of this run trains: a code, a record, another run, a file of weights.

    `source` is where it came from in the user's words, `checkpoint` its weights (None: a code alone), `ap` what was
    recorded of it there. An audit is given its candidates and their parents under the ids they have in their own run,
    with the `seed` that run trained them with.
    """

    kind: Literal["NetworkGiven"] = "NetworkGiven"
    candidate_id: str
    step: str
    phase: Phase
    source: str
    code: str
    block_ids: tuple[tuple[str, ...], ...]
    base_width: int
    ignition: int = 0
    parent_id: str | None = None
    morphisms: tuple[str, ...] = ()
    ap: float | None = None
    checkpoint: str | None = None
    seed: int | None = None
    params: int
    flops: int


class CandidateProposed(_Event):
    """The search intends to train a network.

    `parent_probabilities` are the probabilities the parent was drawn with, `ignition` counts the reignitions behind the
    weights, `params` and `flops` (multiply-adds) are predicted at the configured image size. `inherit` is what comes from
    the parent, `seeds` how often the network is trained. `control_id` is the parent trained for the same extra epochs, to
    compare with. `refused` counts the draws that were thrown away before this one, by reason: ``duplicate`` or a limit.
    `audited_id` is the candidate that an audit trains again.
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
    inherit: Inherited = "detector"
    seeds: int = Field(default=1, ge=1)
    control_id: str | None = None
    refused: dict[str, int] = {}
    audited_id: str | None = None
    params: int
    flops: int


class CandidateRuledOut(_Event):
    """A trained candidate breaks a limit as measured: it is neither a result nor a parent. Bytes or milliseconds."""

    kind: Literal["CandidateRuledOut"] = "CandidateRuledOut"
    candidate_id: str
    limit: Resource
    measured: float
    allowed: float


class CandidateAbandoned(_Event):
    """No attempt at this candidate succeeded; it is never ranked."""

    kind: Literal["CandidateAbandoned"] = "CandidateAbandoned"
    candidate_id: str
    fault: Fault
    message: str


class ReignitionRequested(_Event):
    """Somebody asked for a reignition by hand; the search proposes it when growth can go on from it."""

    kind: Literal["ReignitionRequested"] = "ReignitionRequested"
    by: str


class ReignitionProposed(_Event):
    """The backbone of `candidate_id` goes back to classification. The numbers are what triggered it.

    `trigger`: growth stalled, the configuration asks for it at the start, or somebody requested it.
    """

    kind: Literal["ReignitionProposed"] = "ReignitionProposed"
    reignition_id: str
    step: str
    candidate_id: str
    n_stuck: int
    candidates_since_best: int
    best_ap: float
    min_delta: float
    trigger: Literal["stall", "start", "request"] = "stall"


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
    """A job goes to a device. `subject_id` is a candidate, or a reignition for kind reignite.

    `repeat` counts the trainings of one candidate with different seeds, from 1.
    """

    kind: Literal["JobAssigned"] = "JobAssigned"
    job_id: str
    job_kind: JobKind
    subject_id: str
    device: str
    attempt: int = Field(ge=1)
    repeat: int = Field(default=1, ge=1)


class WeightsInherited(_Event):
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
    user's; broken_promise (a morphism that keeps the function did not) and bug are ours; the others may be tried again.
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
    | NetworkGiven
    | CandidateProposed
    | CandidateRuledOut
    | CandidateAbandoned
    | ReignitionRequested
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
