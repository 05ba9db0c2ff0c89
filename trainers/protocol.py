"""Messages between the orchestrator and a worker: jobs go in, events come out, one JSON object a line.

Torch-free, so both sides can import it. A worker answers with events of `lineage.events` as they will be recorded:
`WorkerStarted` once it can train, then for each job `WeightsInherited` (if it has a parent), `EpochFinished` per epoch,
and exactly one of `JobFinished` and `JobFailed`; between them, as long as it trains, a `SIGN_OF_LIFE` now and then, and
`WorkerBlocked` and `WorkerUnblocked` around a wait for room on the disk. A worker whose device is lost ends after the
`JobFailed`. After `STOP` it ends once the epoch that it trains is kept or its job is finished. A closed input pipe means the
orchestrator is gone: it ends at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

SIGN_OF_LIFE = b"."
"""A line that a worker writes in between, so that it does not count as hung; no event."""

STOP = b"stop"
"""A line that a worker is sent in place of a job; it also reaches one that trains."""

SHA256 = r"[0-9a-f]{64}"
"""Of a checkpoint file, which has it as its name."""

CHECKPOINT = rf"{SHA256}|simulated-[A-Za-z0-9_-]{{1,100}}"
"""What a checkpoint may be called: a simulated one has no file. No name leads out of the folder of checkpoints."""

Checkpoint = Annotated[str, Field(pattern=f"^({CHECKPOINT})$")]
JOB_ID = "[A-Za-z0-9_-]{1,100}"
"""Files are named after it."""

JobId = Annotated[str, Field(pattern=f"^{JOB_ID}$")]


def unfinished(job_id: str) -> str:
    """Pattern of the files, among the checkpoints, that keep a training in the middle."""
    return f"{job_id}.*.unfinished"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkerSetup(_Message):
    """First line a worker reads: what stays the same over all its jobs.

    `template` is an mmdet 3.x configuration, `workdir` the folder its relative paths are read from, `image_size`
    (height, width) the size costs are measured at.
    """

    device: str = Field(pattern=r"^(cpu|cuda):[0-9]{1,4}$")
    template: Path
    workdir: Path
    checkpoints: Path
    logs: Path
    image_size: tuple[int, int]


class NetworkRef(_Message):
    """A network as code, ids of its main-path blocks, and stem width; `checkpoint` is a sha256 where it has weights."""

    candidate_id: str
    code: str
    block_ids: tuple[tuple[str, ...], ...]
    base_width: int
    checkpoint: Checkpoint | None = None


class DetectionJob(_Message):
    """Train a detector for `epochs` epochs from `parent`'s weights (None: from scratch) and evaluate it.

    With `backbone_checkpoint` (the outcome of a reignition) the backbone comes from there and the rest from `parent`;
    then `parent` may be without a checkpoint. A parent's checkpoint may hold a backbone alone (a file of weights).
    `inherit` backbone leaves neck and heads as they are initialised. `preserves` says that the child has to compute what
    its parent does; if it does not, the job fails with fault broken_promise. A batch is taken in `batch_parts`, adding up
    their gradients, where all of it does not fit into memory.
    """

    type: Literal["detection"] = "detection"
    job_id: JobId
    attempt: int
    network: NetworkRef
    parent: NetworkRef | None
    backbone_checkpoint: Checkpoint | None = None
    inherit: Literal["detector", "backbone"] = "detector"
    preserves: bool = False
    epochs: int = Field(ge=1)
    batch_parts: int = Field(default=1, ge=1)
    seed: int


class ClassificationJob(_Message):
    """Reignition: retrain the backbone of `network` on the class folders `data`/train and `data`/val.

    Without a checkpoint the network is trained from scratch; a checkpoint may hold a whole detector or a backbone alone.
    """

    type: Literal["classification"] = "classification"
    job_id: JobId
    attempt: int
    network: NetworkRef
    data: Path
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    batch_parts: int = Field(default=1, ge=1)
    learning_rate: float = Field(gt=0)
    seed: int


Job = Annotated[DetectionJob | ClassificationJob, Field(discriminator="type")]
JOB: TypeAdapter[Job] = TypeAdapter(Job)
