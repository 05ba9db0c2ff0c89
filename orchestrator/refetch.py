"""Weights that a run was given, fetched once more from where they came from, before it goes on without them."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.run_folder import RunFolder
from orchestrator.search.state import SearchState
from orchestrator.sources import given_networks
from trainers.protocol import CHECKPOINT

_log = logging.getLogger(__name__)


def refetch(folder: RunFolder, state: SearchState, workdir: Path) -> None:
    """Put given weights that are missing or damaged back, where their source still has them.

    Where it has not, nothing happens: the run stops with the reason once a training needs them.
    """
    assert state.config is not None
    names = [one.checkpoint or "" for one in state.candidates.values() if one.outcome == "given"]
    known = [name for name in names if re.fullmatch(CHECKPOINT, name)]
    broken = [name for name in known if not is_whole(folder.checkpoints / f"{name}.safetensors", name)]
    if not broken:
        return
    for name in broken:
        (folder.checkpoints / f"{name}.safetensors").unlink(missing_ok=True)
    try:
        given_networks(state.config, workdir, folder.checkpoints, simulate=False, heads=state.heads)
    except UserError as error:
        _log.warning("given weights are missing or damaged and can't be fetched again: %s", error)


def is_whole(file: Path, sha256: str) -> bool:
    """Whether a checkpoint is there and its content is what its name says."""
    try:
        if not file.is_file():  # a pipe would be waited for
            return False
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == sha256
    except OSError:
        return False
