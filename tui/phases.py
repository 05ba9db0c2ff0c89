"""Pipeline steps, and reignitions in them, as the screens show them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from lineage.events import Resource
from lineage.wording import amount

RESOURCES: tuple[Resource, ...] = get_args(Resource)
Progress = Literal["waiting", "running", "done"]


class PhaseView(NamedTuple):
    """A pipeline step: candidates proposed, trained and abandoned, out of `max_sample` where the step has a limit.

    Controls, which the limit does not count, are counted apart; `ruled_out` are among the trained. `epochs` are those of a
    candidate, over all of its seeds; a full training `is_single`, on one device.
    """

    step: str
    phase: str | None = None
    state: Progress = "waiting"
    max_sample: int | None = None
    epochs: int = 1
    is_single: bool = False
    limits: tuple[tuple[str, str], ...] = ()
    proposed: int = 0
    trained: int = 0
    abandoned: int = 0
    ruled_out: int = 0
    controls: int = 0
    reason: str = ""

    @property
    def total(self) -> int | None:
        """Candidates the step is expected to train; None while nobody can know."""
        return self.max_sample or self.proposed or (1 if self.is_single else None)


class ReignitionView(NamedTuple):
    """A reignition of `candidate_id`; `successor_id` is the candidate that growth went on from.

    `after` are the candidates that had an outcome when it was proposed.
    """

    reignition_id: str
    candidate_id: str
    after: int
    trigger: Literal["stall", "start", "request"] = "stall"
    state: Literal["running", "done", "abandoned"] = "running"
    accuracy: float | None = None
    successor_id: str | None = None


def planned(config: Mapping[str, Any]) -> tuple[PhaseView, ...]:
    """The steps of a configuration that may lack anything: a step without a limit has none."""
    pipeline = config.get("pipeline")
    if not isinstance(pipeline, list | tuple):
        return ()
    return tuple(_planned(str(step), config.get(str(step))) for step in pipeline)


def _planned(step: str, section: object) -> PhaseView:
    algorithm, trainer = _part(section, "search_algorithm"), _part(section, "trainer")
    epochs, seeds = _count(trainer.get("epoch")) or 1, _count(algorithm.get("seeds_per_candidate")) or 1
    is_single = not algorithm and not _part(section, "audit")
    limits = {} if is_single else _part(_part(section, "search_space"), "limits")
    return PhaseView(
        step,
        max_sample=_count(algorithm.get("max_sample")),
        epochs=epochs * seeds,
        is_single=is_single,
        limits=tuple((one, amount(one, limits[one])) for one in RESOURCES if isinstance(limits.get(one), int | float)),
    )


def _part(section: object, key: str) -> Mapping[str, Any]:
    found = section.get(key) if isinstance(section, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
