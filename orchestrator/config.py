"""The whole configuration: a pipeline of steps, and which step starts from what.

Files are read in `orchestrator.config_file`; the keys of a section are in `orchestrator.general` and
`orchestrator.sections`; what is outside this run is fetched by `orchestrator.sources`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lineage.architecture import Genotype
from orchestrator.broker_url import without_password
from orchestrator.errors import ConfigError
from orchestrator.general import General, Ignored, Section
from orchestrator.sections import Reignite, Step

OUTSIDE = "file:"  # before a record's path: it lies outside this run, though an earlier step writes one of that name

LONGEST_SHOWN = 80  # characters of a value in a message
LONGEST_WORD = 100  # that a misspelling is looked for in

_OF_A_STEP = {"trainer", "search_algorithm", "search_space", "pipe_step", "audit"}


class RunConfig(Section):
    """A whole configuration; `steps` holds the sections by name, in the order of the file, in the pipeline or not."""

    general: General = General()
    pipeline: tuple[str, ...] = Field(min_length=1, strict=False)
    steps: dict[str, Step]
    benchmark: Ignored = None

    @model_validator(mode="before")
    @classmethod
    def _sections_are_steps(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "steps" in value:
            raise ValueError("unknown key 'steps': give each step a section of its own name, other than this one")
        pipeline = value.get("pipeline")
        names = [name for name in pipeline if isinstance(name, str)] if isinstance(pipeline, list | tuple) else []
        whole = {"general", "pipeline", "benchmark"} - ({"benchmark"} & {*names})
        rest = {key: section for key, section in value.items() if key not in whole}
        for name in names:
            if name not in rest:
                raise ValueError(f"pipeline names {shown(name)} but there is no such section{nearest(name, rest)}")
        for key, section in rest.items():
            if key not in names and not (isinstance(section, dict) and _OF_A_STEP & section.keys()):
                raise ValueError(f"unknown key {shown(str(key))}{nearest(str(key), ['general', 'pipeline', *names])}")
        return {**{key: value[key] for key in value if key in whole}, "steps": rest}

    @model_validator(mode="after")
    def _steps_fit_together(self) -> Self:
        if len(set(self.pipeline)) != len(self.pipeline):
            raise ValueError("pipeline names a step twice")
        if len({Path(self.steps[name].trainer.template) for name in self.pipeline}) > 1:
            raise ValueError("the steps name different templates; one template for the whole pipeline is supported")
        records: dict[str, str] = {}
        for name in self.pipeline:
            step = self.steps[name]
            if step.phase == "audit" and len(self.pipeline) > 1:
                raise ValueError(f"{name}: an audit is a pipeline of its own, since its networks keep their names")
            if step.search_algorithm is not None:
                if step.search.record in records:
                    raise ValueError(f"{name} and {records[step.search.record]} would both write {step.search.record}")
                records[step.search.record] = name
        return self

    @model_validator(mode="after")
    def _every_step_can_begin(self) -> Self:
        for index, name in enumerate(self.pipeline):
            step, code = self.steps[name], self.code_of(name)
            if step.starts_reignited and self.reignite_of(name) is None:
                key = "trainer" if step.phase == "fullytrain" else "search_algorithm"
                raise ValueError(
                    f"{name}: regnition: True needs a {key}.reignite section with data, "
                    "the class folders to retrain the backbone on"
                )
            if step.phase == "fullytrain" and code is None and self.outside_of(name) is None and not index:
                raise ValueError(
                    f"{name}: there is nothing to train yet; give trainer.model_desc a code, or model_desc_file a run"
                )
            if code is not None:
                self._check_first(name, Genotype.parse(code))
        return self

    def _check_first(self, name: str, first: Genotype) -> None:
        """Raise ValueError if step `name`, which starts from a code, can't start from it."""
        step, space = self.steps[name], self.steps[name].search_space
        fully = step.phase == "fullytrain"
        if (reason := step.refusal(first, space.base_width)) is not None:
            raise ValueError(f"{name}: {reason}")
        if space.weights is None:
            if fully and step.trainer.weights == "inherited":
                raise ValueError(
                    f"{name}: weights: inherited, but model_desc is a code alone; give search_space.weights"
                )
        elif fully and step.trainer.weights == "scratch":
            raise ValueError(f"{name}: weights: scratch contradicts search_space.weights {space.weights}")
        elif not fully and space.start is None:
            raise ValueError(
                f"{name}: search_space.weights {space.weights} are of one network: give search_space.start its code, "
                "r_111-2111-211111-211_0-0-0-0 for a ResNet-50"
            )

    def fitted(self, neck_channels: int) -> RunConfig:
        """This configuration with the neck of the template for all that is predicted.

        Raises:
            ConfigError: a step says that the neck has another width.
        """
        steps = dict(self.steps)
        for name in self.pipeline:
            space = steps[name].search_space
            if "neck_channels" in space.model_fields_set and space.neck_channels != neck_channels:
                raise ConfigError(
                    f"{name}.search_space.neck_channels is {space.neck_channels}, but the template's neck has "
                    f"{neck_channels}: leave the key out, or make them agree"
                )
            space = space.model_copy(update={"neck_channels": neck_channels})
            steps[name] = steps[name].model_copy(update={"search_space": space})
        return self.model_copy(update={"steps": steps})

    def named_source(self, name: str) -> str | None:
        """The record or run that step `name` starts from, as the user named it."""
        step = self.steps[name]
        if step.phase == "audit":
            return None
        return step.trainer.model_desc_file if step.search_algorithm is None else step.search.source

    def source_of(self, name: str) -> str | None:
        """The earlier step that step `name` starts from: the one whose record it names, else the one before.

        None: it starts from outside this run (`outside_of`) or from a code (`code_of`).
        """
        index, record = self.pipeline.index(name), self.named_source(name)
        if record is not None:
            return None if record.startswith(OUTSIDE) else self._writers(index).get(Path(record).name)
        step = self.steps[name]
        starts_anew = step.phase in ("serial", "audit") or step.trainer.model_desc is not None
        return None if starts_anew or not index else self.pipeline[index - 1]

    def outside_of(self, name: str) -> str | None:
        """The record or run, of outside this pipeline, that step `name` starts from."""
        record = self.named_source(name)
        return None if record is None or self.source_of(name) else record.removeprefix(OUTSIDE)

    def told_apart(self, exists: Callable[[str], bool]) -> RunConfig:
        """This configuration with records marked that exist somewhere though an earlier step writes one of that name.

        A bare file name always means the earlier step's record; so do the path that step says it writes its record to, and
        a path to nothing, as in files written for Vega.
        """
        steps = dict(self.steps)
        for name in self.pipeline:
            record, source = self.named_source(name), self.source_of(name)
            if record is None or source is None or Path(record).name == str(Path(record)):
                continue
            written = self.steps[source].search.total_list
            if (written is None or Path(record) != Path(written)) and exists(record):
                steps[name] = _starting_from(steps[name], OUTSIDE + record)
        return self.model_copy(update={"steps": steps})

    def code_of(self, name: str) -> str | None:
        """The code that step `name` starts from where it has no source: full training's model_desc, or the space's start."""
        step = self.steps[name]
        if step.phase == "audit" or self.named_source(name) is not None or self.source_of(name) is not None:
            return None
        return step.trainer.model_desc if step.phase == "fullytrain" else step.search_space.first.code

    def reignite_of(self, name: str) -> Reignite | None:
        """How step `name` reignites: its own settings, else those of the nearest step before it that has some."""
        steps = [self.steps[other] for other in self.pipeline[: self.pipeline.index(name) + 1]]
        return next((step.reignite for step in reversed(steps) if step.reignite is not None), None)

    def _writers(self, before: int) -> dict[str, str]:
        earlier = [name for name in self.pipeline[:before] if self.steps[name].search_algorithm is not None]
        return {self.steps[name].search.record: name for name in earlier}

    @property
    def template(self) -> Path:
        """The detector template, relative to the configuration's folder."""
        return Path(self.steps[self.pipeline[0]].trainer.template)

    def to_mapping(self) -> dict[str, Any]:
        """The configuration as JSON-able values, in the shape of the file."""
        dump = self.model_dump(mode="json")
        steps = dump.pop("steps")
        return {**{key: value for key, value in dump.items() if value is not None}, **steps}

    def value_of(self, key: str) -> Any:
        """The value of a dotted key; None also where there is none."""
        value: Any = self.to_mapping()
        for name in key.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def with_value(self, key: str, value: Any) -> RunConfig:
        """This configuration with another value of a dotted key. Raises pydantic.ValidationError."""
        mapping = self.to_mapping()
        *parents, last = key.split(".")
        section = mapping
        for name in parents:
            if not isinstance(section.get(name), dict):
                section[name] = {}
            section = section[name]
        section[last] = value
        return RunConfig.model_validate(mapping)


def _starting_from(step: Step, record: str) -> Step:
    if step.search_algorithm is None:
        return step.model_copy(update={"trainer": step.trainer.model_copy(update={"model_desc_file": record})})
    settings = step.search.serial_settings.model_copy(update={"last_search_result": None})
    algorithm = step.search.model_copy(update={"last_search_result": record, "serial_settings": settings})
    return step.model_copy(update={"search_algorithm": algorithm})


def nearest(word: str, words: Iterable[object]) -> str:
    """``; did you mean 'x'?`` or nothing."""
    # comparing takes the product of the lengths
    short = [one for one in words if isinstance(one, str) and len(one) <= LONGEST_WORD]
    close = difflib.get_close_matches(word, short, n=1) if len(word) <= LONGEST_WORD else []
    return f"; did you mean {close[0]!r}?" if close else ""


def shown(value: object) -> str:
    """A value in a message, no more of it than can be read, and no password of a URL."""
    text = without_password(repr(value))
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
