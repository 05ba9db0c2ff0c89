"""`plan`: asks what a configuration would do, and tells it to people or as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from lineage.cost import Cost
from lineage.events import CandidateProposed
from lineage.wording import amount, duration, plural, quantity, reasons
from orchestrator.config_file import load_config
from orchestrator.devices import find_devices
from orchestrator.display import stdout_console, table
from orchestrator.forecast import Trainings
from orchestrator.notices import notices
from orchestrator.planning import Outlook, StepPlan, add_times, outline
from orchestrator.preparation import check_data, check_template, make_data
from orchestrator.sources import given_networks

LABEL = 11
MANY = 1_000_000  # networks, from where their number is rounded
PHASES = {
    "serial": "serial search",
    "parallel": "parallel search",
    "fullytrain": "full training",
    "audit": "audit",
}


def plan(config_path: Path, overrides: list[str], as_json: bool) -> None:
    """Print what `start` would do with a configuration."""
    console = Console(stderr=True, highlight=False, markup=False) if as_json else stdout_console()
    config = load_config(config_path, overrides)
    for notice in notices(config):
        sys.stderr.write(f"note: {notice}\n")
    workdir = config_path.resolve().parent
    with console.status("loading the template and the data"):
        check_template(config, workdir)
        make_data(config, workdir)
        check_data(config, workdir)
        facts = check_template(config, workdir, images=True)
        given = given_networks(config, workdir, workdir, simulate=True)  # nothing is copied, weights are not read
    devices = find_devices(config.general.worker.cpu_workers)
    outlook = outline(config, facts, given, devices)
    timing = f"timing networks on {', '.join(devices)}"
    if not console.is_terminal:
        sys.stderr.write(f"{timing}, at the size of search_space.image_size: large ones take minutes on a CPU\n")
    with console.status(timing):
        add_times(outlook, config, workdir)
    if as_json:
        sys.stdout.write(json.dumps(as_mapping(outlook), indent=2) + "\n")
    else:
        show(console, outlook)


def show(console: Console, outlook: Outlook) -> None:
    """Print a plan."""
    facts, devices = outlook.facts, outlook.devices
    counted = "of the whole detector"
    if facts["heads_unknown"]:
        counted = f"of backbone and neck alone, since its heads can't be counted: {facts['heads_unknown']}"
    lines = [
        f"{plural(len(outlook.steps), 'step')} on {plural(len(devices), 'device')} ({', '.join(devices)})",
        f"template: {facts['detector']}, {facts['classes']} classes, {_images(outlook)}; costs are {counted}",
    ]
    for step in outlook.steps:
        lines += ["", f"{step.step}: {PHASES[step.phase]}, from {_origin(step)}"]
        lines += [f"  {label:<{LABEL}}{text}" for label, text in _facts(step)]
    lines += ["", _total(outlook), ""]
    for line in lines:
        console.print(line, soft_wrap=True)
    columns = ("id", "code", "parent", "by", "params", "flops")
    console.print(
        table("certain, if the first network can be trained:", columns, [_row(one) for one in outlook.certain])
    )


def as_mapping(outlook: Outlook) -> dict[str, Any]:
    """A plan as JSON; times in seconds and hours, costs in numbers, multiply-adds and bytes."""
    return {
        "template": dict(outlook.facts) | {"ok": True},
        "devices": outlook.devices,
        "kinds": outlook.kinds,
        "steps": [_step_as_mapping(step) for step in outlook.steps],
        "hours": outlook.hours,
        "untimed": outlook.untimed,
        "certain": [event.model_dump(mode="json", exclude={"best_ap"}) for event in outlook.certain],
    }


def _step_as_mapping(step: StepPlan) -> dict[str, Any]:
    mapping = asdict(step) | {"trainings": asdict(step.trainings) | {"total": step.trainings.total}}
    if step.sample is not None:
        mapping["sample"] = {
            "drawn": step.sample.drawn,
            "refused": step.sample.refused,
            "share_kept": step.sample.share_kept,
            "mean_flops": step.sample.mean_flops,
            "largest": asdict(step.sample.largest) if step.sample.largest else None,
        }
    return mapping


def _origin(step: StepPlan) -> str:
    if step.start is None:
        return f"the best network of {step.source}"
    return step.start.code + (f", given as {step.start.given_as}" if step.start.given_as else "")


def _facts(step: StepPlan) -> Iterator[tuple[str, str]]:
    yield "trains", _trainings(step.trainings, at_most=step.phase in ("serial", "parallel"))
    if step.reignitions:
        yield "reignites", f"at most {plural(step.reignitions, 'time')}, by classification"
    if step.start_cost is not None:
        yield "start", _cost(step.start_cost)
    if step.space_size is not None:
        size = f"{step.space_size:,}" if step.space_size < MANY else f"about {step.space_size:.1e}"
        yield "space", f"{size} networks can be reached"
    elif step.sample is not None:
        yield "space", "as large as its start makes it"
    if step.limits:
        yield "limits", ", ".join(f"{name} {amount(name, value)}" for name, value in step.limits.items())
    if step.sample is not None:
        if step.limits:
            refused = f" ({reasons(step.sample.refused)} refused)" if step.sample.refused else ""
            drawn = f"{step.sample.share_kept:.0%} of {plural(step.sample.drawn, 'new network')} drawn"
            yield "", f"{drawn} keep what can be told before training{refused}"
        if step.sample.largest is not None:
            yield (
                "sample",
                f"{quantity(step.sample.mean_flops or 0)} FLOPs on average; largest {_cost(step.sample.largest)}",
            )
    for kind, seconds in step.seconds.items():
        of_the_start = f"; a forward pass of the start {step.latency_ms[kind]:.3g} ms" if step.start else ""
        yield "time", f"{duration(seconds)} a training on {kind}{of_the_start}"
    if step.hours is not None:
        yield "", f"{duration(3600 * step.hours)} in all"


def _trainings(trainings: Trainings, at_most: bool) -> str:
    parts = plural(trainings.networks, "network")
    if trainings.controls:
        parts += f" and {plural(trainings.controls, 'control')}"
    seeds = f", each with {trainings.seeds} seeds" if trainings.seeds > 1 else ""
    total = f"{'at most ' if at_most else ''}{plural(trainings.total, 'training')}"
    return f"{parts}{seeds}, {plural(trainings.epochs, 'epoch')} long: {total}"


def _cost(cost: Cost) -> str:
    return (
        f"{quantity(cost.params)} parameters, {quantity(cost.flops)} FLOPs, "
        f"{quantity(cost.activation_bytes)} bytes of activations an image"
    )


def _images(outlook: Outlook) -> str:
    train, val = outlook.facts.get("train_images"), outlook.facts.get("val_images")
    if train is None or val is None:
        return "images not counted"
    return f"{train} images to train on and {val} to validate on"


def _total(outlook: Outlook) -> str:
    if outlook.hours is None:
        return f"no estimate of time: {outlook.untimed}"
    return (
        f"about {duration(3600 * outlook.hours)} in all, "
        "without loading of images, matching of boxes for AP, inheritance and reignitions"
    )


def _row(event: Any) -> tuple[Any, ...]:
    if not isinstance(event, CandidateProposed):
        return event.reignition_id, "", event.candidate_id, f"reignition ({event.trigger})", "", ""
    by = ", ".join(event.morphisms) or "a code"
    return (
        event.candidate_id,
        event.code,
        event.parent_id,
        by,
        quantity(event.params),
        quantity(event.flops),
    )
