"""What is wrong with a configuration, in the user's words. Pure: files are read in `orchestrator.config_file`."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from typing import Any

from pydantic import AliasChoices, BaseModel, ValidationError

from orchestrator.config import RunConfig, nearest, shown
from orchestrator.errors import ConfigError

LONGEST_LINE = 400  # characters of a fault
MOST_SHOWN = 20  # faults in a message


def parse_config(raw: dict[str, Any], source: str) -> RunConfig:
    """Configuration of a mapping in the file's shape. Raises ConfigError with the faults, one a line."""
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        faults = faults_of(error)
        raise ConfigError("\n  ".join([f"{source} can't be used:", *faults])) from error


def faults_of(error: ValidationError) -> list[str]:
    """The first faults, a line each."""
    faults = error.errors(include_url=False, include_context=False)
    lines = [cut(_explain(fault)) for fault in faults[:MOST_SHOWN]]
    return lines + ([f"and {len(faults) - MOST_SHOWN} more faults"] if len(faults) > MOST_SHOWN else [])


def _explain(fault: Any) -> str:
    location = [str(part) for part in fault["loc"] if part != "steps"]
    where = ".".join(location)
    if fault["type"] == "extra_forbidden":
        if location[-1] in _siblings(fault["loc"][:-1]):
            return f"{where}: this key is given twice, in two spellings"
        return f"unknown key {where!r}{nearest(location[-1], _siblings(fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"{where}: this key is missing"
    message = fault["msg"].removeprefix("Value error, ")
    found = f" (found {shown(fault['input'])})" if isinstance(fault["input"], str | int | float | bool) else ""
    return f"{where}: {message}{found}" if where else message


def cut(text: str) -> str:
    return text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}..."


def _siblings(path: Sequence[Any]) -> list[str]:
    """The keys known where a fault was found, as users spell them."""
    model: Any = RunConfig
    for part in path:
        field = model.model_fields.get(part) or next(
            (f for f in model.model_fields.values() if part in _spellings("", f.validation_alias)), None
        )
        if field is None:
            continue  # the name of a step inside `steps`
        model = _model_of(field.annotation)
        if model is None:
            return []
    return [
        spelling for name, field in model.model_fields.items() for spelling in _spellings(name, field.validation_alias)
    ]


def _spellings(name: str, alias: Any) -> list[str]:
    return [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [name]


def _model_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in typing.get_args(annotation) if (model := _model_of(part))), None)
