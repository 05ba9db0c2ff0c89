"""Errors of this package, split by who must act.

TrainerError
├── DataError         the user's data: a missing image, a broken annotation file
├── TemplateError     the user's detector template
├── WeightsError      the user's file of weights
├── NonFiniteError    one trial: a loss or weight that is no longer a number
├── OperatorMissing   the installation: a compiled mmcv operator that has no stand-in here
├── CheckpointError   the run folder: a checkpoint that is missing, damaged, or of another network
│   ├── LostCheckpoint   one that is missing or damaged, by name
│   └── NoRoomError   the disk is full
├── Stopped           nobody: the training was asked to stop and its last epoch is kept
└── PromiseError      us: a child that has to compute what its parent does, and does not
"""

from __future__ import annotations


class TrainerError(Exception):
    """Root of this package's errors; the message says what was tried, what was found and what to do next."""


class DataError(TrainerError):
    """The data set can't be used as it is; the user has to mend it."""


class TemplateError(TrainerError):
    """The detector template can't be used as it is; the user has to mend it."""


class WeightsError(TrainerError):
    """A file of weights can't be read, or is of another network; the user has to name the right file or code."""


class NonFiniteError(TrainerError):
    """A training diverged: its loss or a weight is infinite or not a number."""


class OperatorMissing(TrainerError, NotImplementedError):
    """The network uses a compiled mmcv operator that is not installed."""


class CheckpointError(TrainerError):
    """A checkpoint is missing, damaged, or does not hold the network it should."""


class LostCheckpoint(CheckpointError):
    """The file of the checkpoint `sha256` is gone, or its content is not what its name says."""

    def __init__(self, message: str, sha256: str) -> None:
        super().__init__(message)
        self.sha256 = sha256


class NoRoomError(CheckpointError):
    """A checkpoint can't be written for lack of room."""


class Stopped(TrainerError):
    """The training was asked to stop; what it has is kept."""


class PromiseError(TrainerError):
    """Morphisms that preserve the function changed it at birth: a fault of this program."""
