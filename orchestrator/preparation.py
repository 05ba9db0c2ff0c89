"""What must hold before a run is made: the template loads, the data is there. Asked of subprocesses, which may use torch."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from lineage.architecture import Genotype
from lineage.cost import Heads
from lineage.events import NetworkGiven
from orchestrator.config import RunConfig
from orchestrator.devices import environment
from orchestrator.errors import ConfigError, RunError, UserError
from orchestrator.search.limits import broken_by, predict
from orchestrator.user_files import is_file, is_folder

TEMPLATE_TIMEOUT_S = 120
TIMING_TIMEOUT_S = 900


class TemplateFacts(TypedDict):
    """What a template says of itself. `heads` are the fields of `lineage.cost.Heads`; None: not known, for a reason."""

    detector: str
    classes: int
    neck_channels: int
    epochs: int
    heads: Any
    heads_unknown: str | None
    train_images: NotRequired[int | None]
    val_images: NotRequired[int | None]


class NetworkTimes(TypedDict, total=False):
    """Milliseconds an image, or why there are none."""

    forward_ms: float
    training_ms: float
    error: str


class KindTimes(TypedDict):
    """Times of networks, in the order they were asked for, on all devices of one kind."""

    kind: str
    devices: list[str]
    networks: list[NetworkTimes]


def check_workdir(workdir: Path) -> None:
    """Whether the folder of a run's configuration is still where it was as the run began. Raises RunError."""
    if is_folder(workdir):
        return
    gone = next((one for one in reversed(workdir.parents) if not is_folder(one)), workdir)
    place = shlex.quote(str(gone))
    raise RunError(
        f"the run began in {workdir}, from where it finds its template and data, and {gone} is gone: put it back, or, "
        f"if it was moved, ln -s NEW_PLACE {place}"
    )


def check_template(config: RunConfig, workdir: Path, images: bool = False) -> TemplateFacts:
    """What the template says of itself; with `images`, how many its data sets hold (None: that can't be told).

    Raises:
        ConfigError: the template can't be used; the message says why.
    """
    path = workdir / config.template
    if not is_file(path):
        raise ConfigError(f"template {path} does not exist: trainer.config_template_file is relative to {workdir}")
    arguments = ["trainers.template", *(["--images"] if images else []), str(path)]
    # data sets may have a million images, and are read for those who want to know
    facts: TemplateFacts = _answer(path, arguments, workdir, timeout_s=None if images else TEMPLATE_TIMEOUT_S)
    return facts


def time_networks(
    config: RunConfig, workdir: Path, networks: Sequence[Mapping[str, Any]], devices: Sequence[str]
) -> list[KindTimes]:
    """Times of networks (code, base_width, image_size), measured once on every kind of device.

    Raises:
        ConfigError: the template can't be used, or ended the process that used it.
    """
    path = workdir / config.template
    request = json.dumps({"template": str(path), "networks": networks, "devices": devices})
    kinds: list[KindTimes] = _answer(
        path, ["trainers.timing"], workdir, request, environment(devices[0]), TIMING_TIMEOUT_S
    )["kinds"]
    return kinds


def _answer(
    template: Path,
    arguments: Sequence[str],
    workdir: Path,
    request: str = "",
    environ: Mapping[str, str] | None = None,
    timeout_s: float | None = None,
) -> Any:
    """The one JSON object that a module of the trainers prints when it is asked about a template."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", *arguments],
            cwd=workdir,
            input=request,
            env=environ,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"{arguments[0]} did not answer about template {template} within {timeout_s:.0f} s"
        ) from error
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        last = done.stderr.strip().splitlines()[-1:]
        raise ConfigError(
            f"template {template} ended the process that loaded it (exit code {done.returncode}): {' '.join(last)}"
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
        step = config.steps[name]
        for key, section in (("search_algorithm", step.search_algorithm), ("trainer", step.trainer)):
            if section is None or section.reignite is None:
                continue
            for part in ("train", "val"):
                folder = workdir / section.reignite.data / part
                if not is_folder(folder):
                    raise ConfigError(
                        f"{name}.{key}.reignite.data: {folder} does not exist; expected class folders "
                        "train/<class>/* and val/<class>/* there, or leave reignite out"
                    )


def check_limits(config: RunConfig, given: Sequence[NetworkGiven], heads: Heads | None) -> None:
    """Refuse a search whose first network breaks a limit already, its heads included. Raises ConfigError."""
    starts = {network.step: (network.code, network.base_width) for network in given}
    for name in config.pipeline:
        step = config.steps[name]
        space, code = step.search_space, config.code_of(name)
        if step.search_algorithm is None or (name not in starts and code is None):
            continue
        code, width = starts.get(name, (code or "", space.base_width))
        genotype = Genotype.parse(code)
        if broken := broken_by(genotype, width, space, heads):
            predicted = predict(genotype, width, space, heads)
            raise ConfigError(
                f"{name}: its first network {code} breaks search_space.limits.{broken}: it is predicted to have "
                f"{predicted.flops} FLOPs, {predicted.params} parameters and {predicted.activation_bytes} bytes of "
                "activations; raise the limit, or start from a smaller network"
            )
