"""Given: detectors to train, and what a training comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lineage.events import Event, JobFinished
from trainers.channel import Channel
from trainers.detection import DetectionTrainer
from trainers.protocol import DetectionJob, NetworkRef, WorkerSetup, unfinished
from trainers.template import load_template


@dataclass
class Outcome:
    events: list[Event]
    finished: JobFinished


def opened(setup: WorkerSetup, workdir: Path, changes: str = "") -> DetectionTrainer:
    """A trainer of the template with `changes` appended."""
    template = workdir / "changed.py"
    template.write_text(setup.template.read_text() + changes)
    return DetectionTrainer(setup, load_template(template), torch.device("cpu"))


def train(
    trainer: DetectionTrainer,
    network: NetworkRef,
    parent: NetworkRef | None = None,
    *,
    seed: int = 0,
    epochs: int = 1,
    events: list[Event] | None = None,
    emit: Callable[[Event], None] | None = None,
    stopping: Callable[[], bool] = lambda: False,
    recorded: bool = True,
    **changes: object,
) -> Outcome:
    """Train a network; once its end is `recorded`, nothing is kept of it in the middle."""
    events = [] if events is None else events
    settings = {"job_id": "j-0001", "attempt": 1} | changes
    job = DetectionJob(network=network, parent=parent, epochs=epochs, seed=seed, **settings)
    finished = trainer.run(job, Channel(emit or events.append, stopping=stopping))
    if recorded:
        forget(trainer._setup.checkpoints, job.job_id)
    return Outcome(events, finished)


def forget(checkpoints: Path, job_id: str) -> None:
    for file in checkpoints.glob(unfinished(job_id)):
        file.unlink()
