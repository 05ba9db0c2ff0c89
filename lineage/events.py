"""Events: everything that happens in a search, as frozen, versioned values.

An event is appended once and never changed. Names are nouns and past verbs. Three kinds of author:

* the search (`orchestrator.search.decide`) records what it intends before it is done: phases, proposals, assignments;
* a worker reports what came of a job (`lineage.reports`);
* the runtime records the life of the run itself: started, resumed, stopped, workers lost; `lineage.upkeep` is what keeps it
  going, `lineage.control` what people ask of it.

No event holds a clock of its own: `Recorded` adds sequence number and time when it is stored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from lineage.control import JobCancelled as JobCancelled
from lineage.control import RequestRefused as RequestRefused
from lineage.control import RunContinued as RunContinued
from lineage.control import RunPaused as RunPaused
from lineage.control import SettingChanged as SettingChanged
from lineage.cost import Heads
from lineage.reignitions import ReignitionAbandoned as ReignitionAbandoned
from lineage.reignitions import ReignitionProposed as ReignitionProposed
from lineage.reignitions import ReignitionRequested as ReignitionRequested
from lineage.reports import EpochFinished as EpochFinished
from lineage.reports import EventValue
from lineage.reports import Fault as Fault
from lineage.reports import JobFailed as JobFailed
from lineage.reports import JobFinished as JobFinished
from lineage.reports import WeightsInherited as WeightsInherited
from lineage.reports import WorkerLost as WorkerLost
from lineage.reports import WorkerStarted as WorkerStarted
from lineage.upkeep import CheckpointDeleted as CheckpointDeleted
from lineage.upkeep import RecordingDelayed as RecordingDelayed
from lineage.upkeep import RunForked as RunForked
from lineage.upkeep import StopRequested as StopRequested
from lineage.upkeep import WorkerBlocked as WorkerBlocked
from lineage.upkeep import WorkerUnblocked as WorkerUnblocked

JobKind = Literal["fast_train", "reignite", "full_train"]
Phase = Literal["serial", "parallel", "fullytrain", "audit"]
Resource = Literal["flops", "params", "memory", "latency"]
Inherited = Literal["detector", "backbone", "nothing"]

MAX_PAYLOAD_BYTES = 2**24  # of an event as JSON; the longest, a whole configuration, has some ten thousand
MAX_SLOTS = 100_000  # of one run; a log that says more is damaged


class RunStarted(EventValue):
    """A run began. `config` is the whole configuration as validated, `workdir` the folder its relative paths start from,
    `window` how far proposals run ahead of outcomes, `heads` what the template's detector costs beside backbone and neck
    (None: not counted).
    """

    kind: Literal["RunStarted"] = "RunStarted"
    run_id: str
    seed: int
    simulated: bool
    slots: int = Field(ge=1, le=MAX_SLOTS)
    window: int = Field(ge=1, le=MAX_SLOTS)
    config: dict[str, Any]
    workdir: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    heads: Heads | None = None


class RunResumed(EventValue):
    """Another process took the run over: jobs without an outcome are issued again, all workers are new."""

    kind: Literal["RunResumed"] = "RunResumed"


class RunStopped(EventValue):
    """The run was interrupted and can be resumed."""

    kind: Literal["RunStopped"] = "RunStopped"
    reason: str


class RunFinished(EventValue):
    """The pipeline came to its end (`outcome` completed) or can't go on (failed)."""

    kind: Literal["RunFinished"] = "RunFinished"
    outcome: Literal["completed", "failed"]
    reason: str
    best_candidate_id: str | None = None


class PhaseStarted(EventValue):
    """A pipeline step began. `step` is its section's name in the configuration."""

    kind: Literal["PhaseStarted"] = "PhaseStarted"
    step: str
    phase: Phase


class PhaseFinished(EventValue):
    """A pipeline step ended; `best_candidate_id` is what the next step starts from."""

    kind: Literal["PhaseFinished"] = "PhaseFinished"
    step: str
    phase: Phase
    reason: str
    best_candidate_id: str | None = None
    refused: dict[str, int] = Field(default_factory=dict)


class NetworkGiven(EventValue):
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


class CandidateProposed(EventValue):
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
    parent_probabilities: dict[str, float] = Field(default_factory=dict)
    inherit: Inherited = "detector"
    seeds: int = Field(default=1, ge=1, le=10_000)
    control_id: str | None = None
    refused: dict[str, int] = Field(default_factory=dict)
    audited_id: str | None = None
    params: int
    flops: int


class CandidateRuledOut(EventValue):
    """A trained candidate breaks a limit as measured: it is neither a result nor a parent. Bytes or milliseconds."""

    kind: Literal["CandidateRuledOut"] = "CandidateRuledOut"
    candidate_id: str
    limit: Resource
    measured: float
    allowed: float


class CandidateAbandoned(EventValue):
    """No attempt at this candidate succeeded; it is never ranked."""

    kind: Literal["CandidateAbandoned"] = "CandidateAbandoned"
    candidate_id: str
    fault: Fault
    message: str


class JobAssigned(EventValue):
    """A job goes to a device. `subject_id` is a candidate, or a reignition for kind reignite.

    `repeat` counts the trainings of one candidate with different seeds, from 1. An attempt after a failure may begin
    `pause_s` seconds later, and take every batch in `batch_parts`, adding up their gradients.
    """

    kind: Literal["JobAssigned"] = "JobAssigned"
    job_id: str
    job_kind: JobKind
    subject_id: str
    device: str
    attempt: int = Field(ge=1)
    repeat: int = Field(default=1, ge=1)
    batch_parts: int = Field(default=1, ge=1)
    pause_s: float = Field(default=0.0, ge=0)


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
    | JobFailed
    | StopRequested
    | RunPaused
    | RunContinued
    | JobCancelled
    | SettingChanged
    | RequestRefused
    | WorkerBlocked
    | WorkerUnblocked
    | RecordingDelayed
    | CheckpointDeleted
    | RunForked,
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


def too_long(found: int) -> ValidationError:
    """What is said of a payload of so many characters."""
    limit = PydanticCustomError(
        "too_long", "{found} bytes, an event has at most {most}", {"found": found, "most": MAX_PAYLOAD_BYTES}
    )
    return ValidationError.from_exception_data("Event", [InitErrorDetails(type=limit, input=None)])


def from_json(text: str | bytes) -> Event:
    """Event of a JSON payload.

    Raises:
        pydantic.ValidationError: the payload is no event of this version, or longer than any event.
    """
    if len(text) > MAX_PAYLOAD_BYTES:
        raise too_long(len(text))
    return _ADAPTER.validate_json(text)
