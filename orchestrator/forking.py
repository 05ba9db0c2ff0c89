"""A fork: a run that begins as another one was at an event, with that one's log up to there and its weights.

The source may be live: it is looked at through a snapshot, and nothing in its folder is changed. Weights are content under
the name of its sha256, written once and never changed, so both runs may have the same file. What the source has no more is
gone, as weights that were deleted are: it is made again, once a training needs it (`orchestrator.search.weights`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lineage.events import CheckpointDeleted, Event, NetworkGiven, Recorded, RunForked, RunStarted
from lineage.moment import At, last_at
from lineage.snapshot import open_snapshot
from lineage.store import Group
from orchestrator import safe_yaml
from orchestrator.errors import RunError, UserError
from orchestrator.history import followed
from orchestrator.preparation import check_workdir
from orchestrator.requests import setting, user_name
from orchestrator.run_folder import RunFolder
from orchestrator.search.control import changed
from orchestrator.search.evolve import evolve
from orchestrator.search.state import SearchState
from orchestrator.search.weights import kept
from orchestrator.user_files import is_file, text_of
from trainers.protocol import SHA256


@dataclass(frozen=True, slots=True)
class Fork:
    """What a fork begins with: the source's log up to a moment, the state that it comes to, and the configuration's text."""

    source: RunFolder
    log: list[Recorded]
    state: SearchState
    text: str

    @property
    def at_seq(self) -> int:
        return self.log[-1].seq

    @property
    def started(self) -> RunStarted:
        assert isinstance(self.log[0].event, RunStarted)
        return self.log[0].event

    def groups(self, name: str, gone: list[CheckpointDeleted], more: list[Event]) -> list[Group]:
        """What the log of run `name` begins with, in one transaction: the source's events, where they are from, and more."""
        begun = self.started.model_copy(update={"run_id": name})
        copied: list[Group] = [([one.event], one.ts) for one in self.log]
        source = str(self.source.path).encode(errors="backslashreplace").decode()
        forked = RunForked(source=source, at_seq=self.at_seq, by=user_name())
        now = self.log[-1].ts if self.started.simulated else datetime.now(UTC)  # a simulated run has its own clock
        return [([begun], self.log[0].ts), *copied[1:], ([forked, *gone, *more], now)]


def fork_at(source: RunFolder, at: At) -> Fork:
    """What a fork of a run at a moment begins with.

    Raises:
        NoSuchMoment: the run has no such moment.
        UserError: nothing can go on from there; the message says why.
    """
    with open_snapshot(source.database) as store:
        last = last_at(store, at).seq
        log, state = [], SearchState()
        for recorded in store.read():
            if recorded.seq > last:
                if not isinstance(recorded.event, NetworkGiven):
                    break
                raise UserError(
                    f"run {source.name} can't be forked at event {last}: it had not been given all that it starts from; "
                    "name a later event"
                )
            state = followed(state, recorded, source.path)
            log.append(recorded)
    started = log[0].event
    assert isinstance(started, RunStarted)
    if not started.simulated:
        check_workdir(Path(started.workdir))
    try:
        text = text_of(source.config, safe_yaml.MAX_BYTES)
    except (OSError, ValueError):
        text = json.dumps(started.config, indent=2)  # which is YAML, too
    return Fork(source, log, state, text)


def settings(fork: Fork, overrides: Sequence[str]) -> list[Event]:
    """The changes of ``KEY=VALUE`` settings, one after another; what a live run may set, and the seed.

    Raises:
        UserError: one can't be changed any more, or not so.
    """
    state, changes = fork.state, list[Event]()
    if overrides and state.is_over:
        raise UserError(f"--set {overrides[0]}: the run was over by then, so nothing goes on with it; fork it earlier")
    for override in overrides:
        wanted = setting(override)
        found = changed(state, wanted.key, wanted.value, user_name(), anew=True)
        if isinstance(found, str):
            raise UserError(f"--set {override}: {found}")
        state = evolve(state, found)
        changes.append(found)
    return changes


def share_weights(fork: Fork, folder: RunFolder) -> list[CheckpointDeleted]:
    """Put the weights that the fork's state has into its folder; those that are gone since, unless they were given.

    Raises:
        RunError: they can't be put there.
    """
    return list(_share(fork, folder)) if not fork.started.simulated else []


def _share(fork: Fork, folder: RunFolder) -> Iterator[CheckpointDeleted]:
    for checkpoint, subject_id in kept(fork.state).items():
        name = f"{checkpoint}.safetensors"
        is_there = re.fullmatch(SHA256, checkpoint) and is_file(fork.source.checkpoints / name)
        if is_there and _linked((fork.source.checkpoints / name).resolve(), folder.checkpoints / name):
            continue
        if subject_id is not None:
            yield CheckpointDeleted(checkpoint=checkpoint, subject_id=subject_id)


def _linked(file: Path, target: Path) -> bool:
    """Whether a file is there under another name, too: as a hard link, or a copy where there can be none."""
    try:
        with contextlib.suppress(OSError):
            os.link(file, target)
            return True
        shutil.copyfile(file, target)
    except FileNotFoundError:  # a live run deletes what nothing needs
        return False
    except OSError as error:
        raise RunError(f"{file} can't be copied to {target.parent}: {error.strerror}") from error
    return True
