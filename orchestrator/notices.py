"""What a configuration says that has no effect here, and what happens instead: so that nobody waits for it in vain.

A key is told of once it is given, unless its value names what is done anyway (one device a network, PyTorch).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.config import RunConfig
from orchestrator.general import Section
from orchestrator.sections import Step

LONGEST_SHOWN = 120  # characters of a value

Told = tuple[str, Any, str]
"""A key's full name, its value, and what happens instead."""

_ONE_DEVICE = "a network trains on one device, several networks at a time"
_ALWAYS_PARALLEL = "as many networks train at a time as there are devices"
_EVALUATION = "every worker evaluates its own network after each epoch"
_LOCAL = "a run has one machine, and all devices it finds there"
_SOURCES = "name what the step starts from in search_algorithm.last_search_result or trainer.model_desc_file"

_GENERAL: dict[str, tuple[tuple[Any, ...], str]] = {
    "backend": (("pytorch",), "networks are trained by PyTorch"),
    "device_category": (("GPU",), "the GPUs that are found are used, else the CPU's cores"),
    "parallel_search": ((True,), _ALWAYS_PARALLEL),
    "parallel_fully_train": ((False,), "a full training trains one network"),
    "devices_per_trainer": ((1,), _ONE_DEVICE),
    "cluster": ((), _LOCAL),
    "task": ((), "a run lies in ./runs or --run-dir, and {local_base_path} is the configuration's folder"),
    "logger": ((), "what is logged lies in the run folder's logs"),
    "env": ((), _LOCAL),
    "model_zoo": ((), "weights to begin with are search_space.weights"),
    "quota": ((), "what a network may cost is search_space.limits, how long a search goes on is max_sample"),
}
_WORKER: dict[str, tuple[tuple[Any, ...], str]] = {
    "devices_per_job": ((1,), _ONE_DEVICE),
    "gpus_per_job": ((1,), _ONE_DEVICE),
    "timeout": ((), "a training takes the time it takes"),
    "eval_count": ((), _EVALUATION),
    "eval_count_per_job": ((), _EVALUATION),
    "evaluate_timeout": ((), _EVALUATION),
}
_PIPE_STEP: dict[str, tuple[tuple[Any, ...], str]] = {
    "models_folder": ((), _SOURCES),
    "pretrained_folder": ((), _SOURCES),
}
_TRAINER: dict[str, tuple[tuple[Any, ...], str]] = {
    "callbacks": ((), "mmdet trains, as the template says"),
    "lazy_built": ((), "a network is built where it is trained"),
    "gpus": ((1,), _ONE_DEVICE),
    "debug": ((), "every training is logged in full"),
}


def notices(config: RunConfig) -> list[str]:
    """One message for all keys of one name and value that have no effect, in the order of the file."""
    together: dict[tuple[str, str, str], list[str]] = {}
    for name, value, instead in _without_effect(config):
        together.setdefault((name.rpartition(".")[2], _shown(value), instead), []).append(name)
    messages = [f"{', '.join(names)}{shown} has no effect: {why}" for (_, shown, why), names in together.items()]
    messages += _starts_too_deep(config)
    for name in config.pipeline:
        algorithm = config.steps[name].search_algorithm
        if algorithm is not None and algorithm.total_list not in (None, algorithm.record):
            messages.append(
                f"{name}.search_algorithm.total_list: {algorithm.total_list} is written into the run folder, "
                f"as {algorithm.record}"
            )
    return messages + [
        f"{name} is not in the pipeline: it is not run" for name in config.steps if name not in config.pipeline
    ]


def _starts_too_deep(config: RunConfig) -> Iterator[str]:
    """Steps that may start from a network with more blocks than they allow."""
    for name in config.pipeline:
        source, most = config.source_of(name), config.steps[name].search_space.max_blocks
        if source is None or config.steps[name].phase != "serial":
            continue
        if (before := config.steps[source].search_space.max_blocks) > most:
            yield (
                f"{name}.search_space.max_blocks: {most} adds no block to a start that has as many, but the best of "
                f"{source} may have up to {before}"
            )


def _without_effect(config: RunConfig) -> Iterator[Told]:
    yield from _given(config.general, "general", _GENERAL)
    yield from _given(config.general.worker, "general.worker", _WORKER)
    for name in config.pipeline:
        step = config.steps[name]
        if step.pipe_step is not None:
            yield from _given(step.pipe_step, f"{name}.pipe_step", _PIPE_STEP)
        yield from _of_the_search(config, name, step)
        yield from _given(step.trainer, f"{name}.trainer", _TRAINER)
        yield from _of_the_training(name, step)
    if config.benchmark is not None:
        yield "benchmark", config.benchmark, "the sections in pipeline say what is done"


def _shown(value: Any) -> str:
    if not isinstance(value, str | int | float):
        return ""
    text = str(value) if str(value).isprintable() else repr(value)
    return f": {text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + '...'}"


def _given(section: Section, name: str, table: dict[str, tuple[tuple[Any, ...], str]]) -> Iterator[Told]:
    for key, (quiet, instead) in table.items():
        value = getattr(section, key)
        if key in section.model_fields_set and value is not None and value not in quiet:
            yield f"{name}.{key}", value, instead


def _of_the_search(config: RunConfig, name: str, step: Step) -> Iterator[Told]:
    """What is said of a search that goes another way."""
    if (outside := config.outside_of(name)) is not None:
        for key in ("start", "weights"):
            if (value := getattr(step.search_space, key)) is not None:
                yield f"{name}.search_space.{key}", value, f"the step starts from {outside}"
        if "base_width" in step.search_space.model_fields_set and not outside.endswith(".csv"):
            yield f"{name}.search_space.base_width", step.search_space.base_width, f"that of {outside} is kept"
    elif (source := config.source_of(name)) is not None:
        yield from _of_a_later_step(f"{name}.search_space", step, config.steps[source], source)
    if step.phase != "parallel":
        return
    later = config.pipeline[config.pipeline.index(name) :]
    if step.search.reignite is not None and not any(config.steps[one].starts_reignited for one in later):
        yield (
            f"{name}.search_algorithm.reignite",
            None,
            "a parallel step never stalls; regnition: True begins reignited",
        )
    path, algorithm, settings = f"{name}.search_algorithm", step.search, step.search.serial_settings
    if "max_optimal" in algorithm.model_fields_set and algorithm.max_optimal != 1:
        yield f"{path}.max_optimal", algorithm.max_optimal, "all networks of a parallel step grow from its start"
    for key in ("num_mutate", "addstage_ratio", "expand_ratio", "max_stages"):
        if key in settings.model_fields_set:
            yield f"{path}.serial_settings.{key}", getattr(settings, key), "the step is parallel"


def _of_a_later_step(path: str, step: Step, before: Step, source: str) -> Iterator[Told]:
    """What a step says of its space that its start has decided; what both steps say alike, sharing a section, is quiet."""
    ours, theirs = step.search_space, before.search_space
    if ours.weights is not None:
        yield f"{path}.weights", ours.weights, f"the step starts from the best of {source}"
    for key in ("start", "base_width"):
        if key in ours.model_fields_set and getattr(ours, key) != getattr(theirs, key):
            yield f"{path}.{key}", getattr(ours, key), f"the step starts from the best of {source}"
    if step.phase == "parallel":
        for key in ("min_blocks", "max_blocks", "min_stages"):
            if key in ours.model_fields_set and getattr(ours, key) != getattr(theirs, key):
                yield f"{path}.{key}", getattr(ours, key), "a parallel step leaves the stages of its start as they are"


def _of_the_training(name: str, step: Step) -> Iterator[Told]:
    """What is said of a full training in a search, of limits outside one, and of a reignition that does not happen."""
    if step.search_algorithm is None and step.audit is None:
        for key, value in step.search_space.limits.model_dump(exclude_none=True).items():
            yield (
                f"{name}.search_space.limits.{key}",
                value,
                "a full training trains what it is given, whatever that costs",
            )
    trainer = step.trainer
    if step.search_algorithm is not None:
        for key in ("model_desc", "model_desc_file"):
            if (value := getattr(trainer, key)) is not None:
                yield (
                    f"{name}.trainer.{key}",
                    value,
                    "a search starts from search_space.start or search_algorithm.last_search_result",
                )
    if trainer.reignite is not None and not step.starts_reignited:
        yield f"{name}.trainer.reignite", trainer.reignite, "a full training begins reignited with regnition: True"
