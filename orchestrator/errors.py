"""Errors of the orchestrator, in one tree, split by who must act.

OrchestratorError
├── UserError            the user's configuration, files or arguments: exit code 2 (1 if the disk is full)
│   ├── ConfigError      a key or value of the configuration
│   └── RunError         the run folder: missing, exists, not writable, live
└── InfrastructureError  workers can't be started or kept: exit code 1
"""


class OrchestratorError(Exception):
    """Root of this package's errors."""


class UserError(OrchestratorError):
    """Something the user can mend; the message says what was found and what to do."""


class ConfigError(UserError):
    """The configuration can't be used."""


class RunError(UserError):
    """The run folder can't be used."""


class InfrastructureError(OrchestratorError):
    """The machine does not let the run go on."""
