"""What a configuration would do, what it would cost and how long it would take: nothing is trained, no run is made.

What the search does is said by `orchestrator.forecast`; here that is put together with what the template and the devices
say of themselves. It is printed by `orchestrator.plan_display`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lineage.architecture import Genotype
from lineage.cost import Cost, Heads, cost
from lineage.events import CandidateProposed, NetworkGiven, Phase, ReignitionProposed, Resource, RunStarted
from orchestrator import forecast
from orchestrator.config import RunConfig
from orchestrator.errors import ConfigError
from orchestrator.preparation import KindTimes, TemplateFacts, check_limits, time_networks

LIMITS: tuple[Resource, ...] = ("flops", "params", "memory", "latency")


@dataclass(frozen=True, slots=True)
class Start:
    """A network that is known before the run; `given_as` is its name and source, where it is more than a code."""

    code: str
    base_width: int
    image_size: tuple[int, int]
    given_as: str | None = None


@dataclass(slots=True)
class StepPlan:
    """What one step does.

    `start` is None where it is the result of an earlier step. `timed` is the known network its times are taken of, `growth`
    how much its networks cost on average, compared with that one. By kind of device: `latency_ms` is the time of a forward
    pass of the timed network, `seconds` that of one training.
    """

    step: str
    phase: Phase
    source: str | None
    trainings: forecast.Trainings
    reignitions: int
    limits: dict[Resource, float]
    sample: forecast.Sample | None
    start: Start | None
    start_cost: Cost | None
    space_size: int | None
    timed: Start
    growth: float
    latency_ms: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    hours: float | None = None


@dataclass(slots=True)
class Outlook:
    """A whole plan; `untimed` says why it has no hours."""

    facts: TemplateFacts
    devices: list[str]
    steps: list[StepPlan]
    certain: list[CandidateProposed | ReignitionProposed]
    kinds: list[KindTimes] = field(default_factory=list)
    untimed: str | None = None

    @property
    def hours(self) -> float | None:
        """Hours of all steps together."""
        return None if self.untimed else sum(step.hours or 0.0 for step in self.steps)


def outline(config: RunConfig, facts: TemplateFacts, given: Sequence[NetworkGiven], devices: list[str]) -> Outlook:
    """The plan of a configuration, without times.

    Raises:
        ConfigError: `start` would refuse the configuration with this template, and why.
    """
    config = config.fitted(facts["neck_channels"])
    heads = Heads(**facts["heads"]) if facts["heads"] else None
    check_limits(config, given, heads)
    started = RunStarted(
        run_id="plan",
        seed=config.general.seed,
        simulated=False,
        slots=len(devices),
        window=len(devices),
        config=config.to_mapping(),
        heads=heads,
    )
    samples, steps = forecast.sample(started, given, devices), dict[str, StepPlan]()
    for name in config.pipeline:
        steps[name] = _step(config, name, given, heads, samples, steps)
    return Outlook(facts, devices, list(steps.values()), forecast.first_proposals(started, given, devices))


def add_times(outlook: Outlook, config: RunConfig, workdir: Path) -> None:
    """Time the known networks and reckon up the hours; where that can't be done, say why."""
    networks = list(dict.fromkeys(step.timed for step in outlook.steps))
    wanted = [{"code": one.code, "base_width": one.base_width, "image_size": one.image_size} for one in networks]
    images = (outlook.facts.get("train_images"), outlook.facts.get("val_images"))
    try:
        outlook.kinds = time_networks(config, workdir, wanted, outlook.devices)
    except ConfigError as error:
        outlook.untimed = f"no device could be timed: {error}"
        return
    failed = {f"{kind['kind']}: {one['error']}" for kind in outlook.kinds for one in kind["networks"] if "error" in one}
    if failed:
        outlook.untimed = f"networks could not be timed on {'; '.join(sorted(failed))}"
    elif images[0] is None or images[1] is None:
        section = "train_dataloader" if images[0] is None else "val_dataloader"
        outlook.untimed = f"the images of {section}.dataset can't be counted from a COCO annotation file"
    else:
        for step in outlook.steps:
            _add_hours(step, outlook.kinds, networks.index(step.timed), images[0], images[1])


def _add_hours(step: StepPlan, kinds: Sequence[KindTimes], network: int, train_images: int, val_images: int) -> None:
    for kind in kinds:
        times = kind["networks"][network]
        epoch_ms = forecast.epoch_ms(times, train_images, val_images)
        step.latency_ms[kind["kind"]] = times["forward_ms"]
        step.seconds[kind["kind"]] = step.trainings.epochs * epoch_ms * step.growth / 1000
    by_device = [step.seconds[kind["kind"]] for kind in kinds for _ in kind["devices"]]
    step.hours = forecast.hours(step.trainings.total, by_device)


def _step(
    config: RunConfig,
    name: str,
    given: Sequence[NetworkGiven],
    heads: Heads | None,
    samples: Mapping[str, forecast.Sample],
    before: Mapping[str, StepPlan],
) -> StepPlan:
    step, source, start = config.steps[name], config.source_of(name), _start(config, name, given)
    timed = start or before[source or ""].timed
    alike = name if start or name in samples else source or ""  # step whose sample is like the networks this one trains
    mean_flops = samples[alike].mean_flops if alike in samples else None
    reignite = step.reignite
    return StepPlan(
        step=name,
        phase=step.phase,
        source=source,
        trainings=forecast.trainings(config, name),
        reignitions=(reignite.max_reignitions if reignite and step.phase == "serial" else 0) + step.starts_reignited,
        limits={key: value for key in LIMITS if (value := getattr(step.search_space.limits, key)) is not None},
        sample=samples.get(name),
        start=start,
        start_cost=_cost(config, name, start, heads) if start else None,
        space_size=forecast.space_size(step, Genotype.parse(start.code)) if start else None,
        timed=timed,
        growth=mean_flops / _cost(config, alike, timed, heads).flops if mean_flops else 1.0,
    )


def _start(config: RunConfig, name: str, given: Sequence[NetworkGiven]) -> Start | None:
    space = config.steps[name].search_space
    for network in given:
        if network.step == name:
            given_as = f"{network.candidate_id} ({network.source})"
            return Start(network.code, network.base_width, space.image_size, given_as)
    code = config.code_of(name)
    return Start(code, space.base_width, space.image_size) if code else None


def _cost(config: RunConfig, name: str, network: Start, heads: Heads | None) -> Cost:
    space = config.steps[name].search_space
    return cost(Genotype.parse(network.code), network.base_width, space.image_size, space.neck_channels, heads)
