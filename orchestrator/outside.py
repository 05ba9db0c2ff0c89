"""Other runs, for what they have to give: their best network, the weights of a candidate, the seed it was trained from.

A run is looked at as it is at this moment, live or not, and never changed.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from lineage.errors import StoreError
from lineage.events import JobAssigned, RunStarted
from lineage.snapshot import open_snapshot
from orchestrator.config import RunConfig
from orchestrator.errors import RunError
from orchestrator.history import followed
from orchestrator.jobs import seed_of
from orchestrator.run_folder import RunFolder
from orchestrator.search.proposal import is_control
from orchestrator.search.state import Candidate, SearchState, rank
from trainers.protocol import CHECKPOINT


@dataclass(frozen=True, slots=True)
class OtherRun:
    """A run's folder, how it was started, and what it has come to."""

    folder: RunFolder
    started: RunStarted
    state: SearchState

    @property
    def simulated(self) -> bool:
        return self.started.simulated

    @property
    def config(self) -> RunConfig:
        assert self.state.config is not None
        return self.state.config

    @property
    def records(self) -> dict[str, str]:
        """The search steps by the file names of their records, in the order of the pipeline."""
        steps = ((name, self.config.steps[name]) for name in self.config.pipeline)
        return {step.search.record: name for name, step in steps if step.search_algorithm is not None}


def open_run(path: Path) -> OtherRun:
    """The run in the folder at `path`. Raises RunError if it can't be read."""
    folder, state, first = RunFolder(path.absolute()), SearchState(), None
    try:
        with open_snapshot(folder.database) as store:
            for recorded in store.read():
                first = first or recorded.event
                if isinstance(first, RunStarted):
                    state = followed(state, recorded, path)
    except StoreError as error:
        raise RunError(f"run {path} can't be read: {error}") from error
    if not isinstance(first, RunStarted):
        raise RunError(f"run {path} was killed before it began: it has nothing to start from")
    return OtherRun(folder, first, state)


def result_of(run: OtherRun, step: str | None = None) -> Candidate:
    """The best network of a search step, of the last one that has any where `step` is None.

    What the step chose when it ended, else the best that it has so far.

    Raises:
        RunError: no candidate is trained within the limits yet.
    """
    chosen = {done.step: done.best_candidate_id for done in run.state.finished_steps}
    for name in [step] if step else reversed(run.records.values()):
        if best := chosen.get(name):
            return run.state.candidates[best]
        own = [one for one in run.state.candidates.values() if one.step == name and one.is_result]
        if results := [one for one in own if not is_control(run.state, one.candidate_id)]:
            return min(results, key=rank)
    of_step = f" of step {step}" if step else ""
    raise RunError(
        f"run {run.folder.path} has no trained network{of_step} to start from: wait until it has, or name another"
    )


def hand_over(run: OtherRun, candidate: Candidate, checkpoints: Path | None) -> str:
    """The name of a candidate's checkpoint, which then lies in the folder `checkpoints` too (None: nothing is handed over).

    Raises:
        RunError: the run was simulated, or the file is gone or can't be copied.
    """
    what, start = f"{candidate.candidate_id} of run {run.folder.path}", candidate.blueprint.genotype.code
    if checkpoints is None:
        return candidate.checkpoint or f"simulated-{candidate.candidate_id}"
    if run.simulated:
        raise RunError(f"{what} has no weights, since the run was simulated: name a real run, or give the code {start}")
    if candidate.checkpoint is None or not re.fullmatch(CHECKPOINT, candidate.checkpoint):
        named = str(candidate.checkpoint)[:80]
        raise RunError(f"the weights of {what} are gone ({named!r} is no checkpoint): start from the code {start}")
    name = f"{candidate.checkpoint}.safetensors"
    file, target = run.folder.checkpoints / name, checkpoints / name
    if candidate.checkpoint in run.state.deleted:
        raise RunError(
            f"the weights of {what} were deleted, to keep to its general.keep_checkpoints or general.disk_quota: "
            f"name another, or start from the code {start}"
        )
    if not file.is_file():
        raise RunError(f"the weights of {what} are gone ({file}): restore that file, or start from the code {start}")
    try:
        checkpoints.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            _link(file, target)
    except OSError as error:
        raise RunError(f"the weights of {what} can't be put into {checkpoints}: {error.strerror}") from error
    return candidate.checkpoint


def _link(file: Path, target: Path) -> None:
    """A hard link, or a copy that is there in whole or not at all, where the file system has none."""
    try:
        os.link(file, target)
    except OSError:
        partial = target.with_name(f".{uuid4().hex}.partial")
        try:
            shutil.copyfile(file, partial)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)


def seed_of_training(run: OtherRun, candidate: Candidate) -> int | None:
    """The seed of the training that a candidate's checkpoint is of; None: it was not trained in that run."""
    for job in run.state.jobs.values():
        measurement = candidate.measurements.get(job.repeat)
        if job.subject_id == candidate.candidate_id and measurement and measurement.checkpoint == candidate.checkpoint:
            return seed_of(
                run.state,
                JobAssigned(
                    job_id=job.job_id,
                    job_kind=job.kind,
                    subject_id=job.subject_id,
                    device="",
                    attempt=job.attempt,
                    repeat=job.repeat,
                ),
            )
    return None
