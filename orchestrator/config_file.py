"""Reading a configuration: safe YAML and overrides. Its faults are told by `orchestrator.config_faults`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator import safe_yaml
from orchestrator.config import RunConfig, nearest, shown
from orchestrator.config_faults import cut, parse_config
from orchestrator.errors import ConfigError
from orchestrator.run_folder import RUNS
from orchestrator.training import TEMPLATE
from orchestrator.user_files import is_file, is_text, text_of


def config_text(path: Path) -> str:
    """The text of a configuration. Raises ConfigError if it is no file, too large, or not UTF-8."""
    try:
        return text_of(path, safe_yaml.MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"can't read the configuration {cut(str(path))}: {reason}") from error


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Configuration of a YAML file, with ``KEY=VALUE`` overrides (dotted keys, YAML values) applied first.

    Raises:
        ConfigError: the file can't be read, is no YAML mapping, or holds a key or value that can't be used.
    """
    text = config_text(path)
    workdir = path.resolve().parent
    if not is_text(workdir):
        raise ConfigError(
            f"{str(workdir)!a} is no UTF-8, and the log of a run can hold no other path: rename that folder"
        )
    names = {"local_base_path": str(workdir)}
    try:
        raw = _expand(safe_yaml.load(text), names)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path} holds {type(raw).__name__}, expected a mapping with general, pipeline and one section a step"
        )
    for override in overrides:
        _override(raw, override, names)
    _name_templates_alike(raw, workdir)
    config = parse_config(raw, str(path))
    return config.told_apart(lambda record: any(is_file(place / record) for place in (workdir, RUNS)))


def _name_templates_alike(raw: dict[str, Any], workdir: Path) -> None:
    """A template inside the configuration's folder by its path from there, however it is spelt."""
    for section in raw.values():
        for part in ("trainer", "search_space"):
            holder = section.get(part) if isinstance(section, dict) else None
            if not isinstance(holder, dict):
                continue
            for key in map(str, TEMPLATE.choices):
                template = holder.get(key)
                if isinstance(template, str) and Path(template).is_relative_to(workdir):
                    holder[key] = str(Path(template).relative_to(workdir))


def _override(raw: dict[str, Any], override: str, names: dict[str, str]) -> None:
    key, separator, value = override.partition("=")
    said = f"--set {shown(override)}"
    if not separator or not key:
        raise ConfigError(f"{said}: expected KEY=VALUE, for example serial.search_algorithm.max_sample=20")
    *parents, last = key.split(".")
    first, known = key.split(".")[0], ["general", *map(str, raw)]
    if first not in known:
        raise ConfigError(f"{said}: unknown key {shown(first)}{nearest(first, known)}")
    section: Any = raw
    for name in parents:
        if section.get(name) is None:
            section[name] = {}
        section = section[name]
        if not isinstance(section, dict):
            raise ConfigError(f"{said}: {shown(name)} is a value, not a section")
    try:
        section[last] = _expand(safe_yaml.load(value), names)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{said}: the value is no valid YAML: {error}") from error


def _expand(value: Any, names: dict[str, str]) -> Any:
    """`value` with the names in its strings replaced, and no part of it shared with another (YAML's aliases)."""
    if isinstance(value, dict):
        return {_expand(key, {}): _expand(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, names) for item in value]
    if isinstance(value, str):
        value.encode()  # half a surrogate pair is no text that a file or the log can hold
        for name, text in names.items():
            value = value.replace("{" + name + "}", text)
    return value
