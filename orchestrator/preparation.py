"""What must hold before a run is made: the template loads, the data is there. Asked of subprocesses, which may use torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.config import RunConfig
from orchestrator.errors import ConfigError, InfrastructureError

TEMPLATE_TIMEOUT_S = 120


def check_template(config: RunConfig, workdir: Path) -> dict[str, Any]:
    """What the template says of itself, for example its number of classes.

    Raises:
        ConfigError: the template can't be used; the message says why.
    """
    path = workdir / config.template
    if not path.is_file():
        raise ConfigError(f"template {path} does not exist: trainer.config_template_file is relative to {workdir}")
    command = [sys.executable, "-m", "trainers.template", str(path)]
    try:
        done = subprocess.run(command, cwd=workdir, capture_output=True, text=True, timeout=TEMPLATE_TIMEOUT_S)
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"template {path} did not load within {TEMPLATE_TIMEOUT_S} s") from error
    except (IndexError, ValueError) as error:
        raise InfrastructureError(f"{' '.join(command)} gave no answer: {done.stderr[-500:]}") from error
    if not answer.get("ok"):
        raise ConfigError(str(answer.get("error")))
    return answer


def make_data(config: RunConfig, workdir: Path) -> None:
    """Make the built-in data set the configuration asks for, unless it is there. Raises InfrastructureError."""
    if config.general.make_data is None:
        return
    folder = workdir / "data" / config.general.make_data
    command = [sys.executable, "-m", f"trainers.data.{config.general.make_data}", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise InfrastructureError(f"could not make the data in {folder}: {done.stderr.strip()[-500:]}")
