"""What must hold before a run is made: the template loads, the data is there. Asked of subprocesses, which may use torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.config import RunConfig
from orchestrator.errors import ConfigError, UserError

TEMPLATE_TIMEOUT_S = 120


def check_template(config: RunConfig, workdir: Path) -> dict[str, Any]:
    """What the template says of itself, for example its number of classes.

    Raises:
        ConfigError: the template can't be used; the message says why.
    """
    path = workdir / config.template
    if not path.is_file():
        raise ConfigError(f"template {path} does not exist: trainer.config_template_file is relative to {workdir}")
    command = [sys.executable, "-P", "-m", "trainers.template", str(path)]
    try:
        done = subprocess.run(
            command,
            cwd=workdir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TEMPLATE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"template {path} did not load within {TEMPLATE_TIMEOUT_S} s") from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        last = done.stderr.strip().splitlines()[-1:]
        raise ConfigError(
            f"template {path} ended the process that loaded it (exit code {done.returncode}): {' '.join(last)}"
        ) from error
    if not answer.get("ok"):
        raise ConfigError(str(answer.get("error")))
    return answer


def make_data(config: RunConfig, workdir: Path) -> None:
    """Make the built-in data set the configuration asks for, unless it is there. Raises UserError."""
    if config.general.make_data is None:
        return
    folder = workdir / "data" / config.general.make_data
    command = [sys.executable, "-P", "-m", f"trainers.data.{config.general.make_data}", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise UserError(f"could not make the data in {folder}: {done.stderr.strip().removeprefix('error: ')[-500:]}")


def check_data(config: RunConfig, workdir: Path) -> None:
    """Whether there are class folders to reignite on, long before a stall asks for them. Raises ConfigError."""
    for name in config.pipeline:
        algorithm = config.steps[name].search_algorithm
        if algorithm is None or algorithm.reignite is None:
            continue
        for part in ("train", "val"):
            folder = workdir / algorithm.reignite.data / part
            if not folder.is_dir():
                raise ConfigError(
                    f"{name}.search_algorithm.reignite.data: {folder} does not exist; expected class folders "
                    "train/<class>/* and val/<class>/* there, or leave reignite out"
                )
