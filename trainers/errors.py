"""Errors of this package, split by who must act.

TrainerError
├── DataError         the user's data: a missing image, a broken annotation file
├── TemplateError     the user's detector template
├── NonFiniteError    one trial: a loss or weight that is no longer a number
├── OperatorMissing   the installation: a compiled mmcv operator that has no stand-in here
└── CheckpointError   the run folder: a checkpoint that is missing, damaged, or of another network
"""

from __future__ import annotations


class TrainerError(Exception):
    """Root of this package's errors; the message says what was tried, what was found and what to do next."""


class DataError(TrainerError):
    """The data set can't be used as it is; the user has to mend it."""


class TemplateError(TrainerError):
    """The detector template can't be used as it is; the user has to mend it."""


class NonFiniteError(TrainerError):
    """A training diverged: its loss or a weight is infinite or not a number."""


class OperatorMissing(TrainerError, NotImplementedError):
    """The network uses a compiled mmcv operator that is not installed."""


class CheckpointError(TrainerError):
    """A checkpoint is missing, damaged, or does not hold the network it should."""
