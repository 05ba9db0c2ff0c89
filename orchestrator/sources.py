"""What steps start from that no step of their run trains: other runs, records, files of weights, codes, audited candidates.

Everything is read once, before the run begins, and weights are put into its own folder: afterwards the run needs nothing
but that.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from lineage.architecture import Genotype
from lineage.cost import Heads, cost
from lineage.events import NetworkGiven
from lineage.morphism import Blueprint
from orchestrator.config import RunConfig
from orchestrator.errors import ConfigError
from orchestrator.outside import OtherRun, hand_over, open_run, result_of, seed_of_training
from orchestrator.records import best_of
from orchestrator.run_folder import RUNS, RunFolder, has_begun
from orchestrator.search.state import Candidate
from orchestrator.user_files import is_file

WEIGHTS_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are looked for and put. `checkpoints` None: the run is simulated, no weights are read.

    `heads` are what the detector costs beside backbone and neck, where that is known.
    """

    workdir: Path
    checkpoints: Path | None
    heads: Heads | None


def given_networks(
    config: RunConfig, workdir: Path, checkpoints: Path, simulate: bool, heads: Heads | None = None
) -> list[NetworkGiven]:
    """The networks that the steps of a new run are given, in the order of its pipeline.

    Args:
        workdir: folder of the configuration, which relative paths start from; a run may also be one in ./runs.
        checkpoints: folder of the new run, where the weights are put.
        simulate: weights are not read; their file has to be there.

    Raises:
        ConfigError: a source is not there, is no record, or holds a network that the step can't start from.
        RunError: another run can't be read, or has no weights to give.
    """
    place, numbers = Place(workdir, None if simulate else checkpoints, heads), count(1)
    given: list[NetworkGiven] = []
    for name in config.pipeline:
        if config.steps[name].phase == "audit":
            given += _audited(config, name, place)
        elif (start := _start(config, name, place, numbers)) is not None:
            if start.checkpoint is None and config.steps[name].trainer.weights == "inherited":
                raise ConfigError(
                    f"{name}.trainer.weights: inherited, but {start.source} gives a code without weights: name a run, or "
                    "give reignited or scratch"
                )
            given.append(start)
    return given


def _start(config: RunConfig, name: str, place: Place, numbers: Iterator[int]) -> NetworkGiven | None:
    """What a step starts from, unless it is another step, or a code that is trained without more ado."""
    step, code, outside = config.steps[name], config.code_of(name), config.outside_of(name)
    space = step.search_space
    if outside is not None:
        candidate_id = f"i-{next(numbers):04d}"
        return _from_source(config, name, candidate_id, outside, place)
    if code is None or (space.weights is None and not step.starts_reignited):
        return None
    candidate_id = f"i-{next(numbers):04d}"
    source = "trainer.model_desc" if step.phase == "fullytrain" else "search_space.start"
    checkpoint = None
    if space.weights is not None:
        source = Path(space.weights).name
        checkpoint = _weights(name, place, space.weights, code, space.base_width) or f"simulated-{candidate_id}"
    blueprint = Blueprint.seed(Genotype.parse(code), candidate_id)
    return _event(config, name, candidate_id, source, blueprint, space.base_width, place.heads, checkpoint=checkpoint)


def _from_source(config: RunConfig, name: str, candidate_id: str, source: str, place: Place) -> NetworkGiven:
    """The best network of a run, of one of its steps by its record, or of a record alone."""
    step = config.steps[name]
    space = step.search_space
    for path in (place.workdir / source, RUNS / source):
        run, other = _run_at(path), None
        if run is None and (run := _run_at(path.parent)) is not None:
            other = run.records.get(path.name)
            run = run if other else None
        if run is not None:
            best = result_of(run, other)
            return _of_candidate(
                config,
                name,
                candidate_id,
                source,
                best,
                None if step.trainer.weights == "scratch" else hand_over(run, best, place.checkpoints),
                place.heads,
            )
        if is_file(path):
            genotype, ap = best_of(
                path, lambda one: cost(one, space.base_width, space.image_size, space.neck_channels, place.heads).flops
            )
            blueprint = Blueprint.seed(genotype, candidate_id)
            return _event(config, name, candidate_id, source, blueprint, space.base_width, place.heads, ap=ap)
    key = "trainer.model_desc_file" if step.search_algorithm is None else "search_algorithm.last_search_result"
    raise ConfigError(f"{name}.{key}: {_nothing_at(source, place)}")


def _audited(config: RunConfig, name: str, place: Place) -> list[NetworkGiven]:
    """The audited candidates of another run and their parents, under the names they have there, parents first."""
    audit = config.steps[name].audit
    assert audit is not None
    run = _run_at(place.workdir / audit.run) or _run_at(RUNS / audit.run)
    if run is None:
        raise ConfigError(f"{name}.audit.run: {_nothing_at(audit.run, place)}")
    given: dict[str, NetworkGiven] = {}
    audited = [_audited_candidate(name, run, candidate_id) for candidate_id in audit.candidates]
    parents = [run.state.candidates[one.parent_id] for one in audited if one.parent_id is not None]
    ids = {one.candidate_id for one in (*parents, *audited)}
    for one in sorted((*parents, *audited), key=list(run.state.candidates.values()).index):
        if one.candidate_id not in given:
            checkpoint = hand_over(run, one, place.checkpoints)
            event = _of_candidate(config, name, one.candidate_id, audit.run, one, checkpoint, place.heads)
            family = {"parent_id": one.parent_id, "morphisms": one.morphisms} if one.parent_id in ids else {}
            given[one.candidate_id] = event.model_copy(update={**family, "seed": seed_of_training(run, one)})
    return list(given.values())


def _audited_candidate(name: str, run: OtherRun, candidate_id: str) -> Candidate:
    candidate = run.state.candidates.get(candidate_id)
    fault = None
    if candidate is None:
        fault = "there is no such candidate"
    elif candidate.outcome != "done":
        fault = f"it was not trained there ({candidate.outcome})"
    elif candidate.parent_id is None or candidate.reignition_id is not None:
        fault = "its weights are not inherited from another candidate, so there is nothing to audit"
    if candidate is None or fault is not None:
        raise ConfigError(f"{name}.audit.candidates: {candidate_id} of run {run.folder.path}: {fault}; name another")
    return candidate


def _of_candidate(
    config: RunConfig,
    name: str,
    candidate_id: str,
    source: str,
    candidate: Candidate,
    checkpoint: str | None,
    heads: Heads | None,
) -> NetworkGiven:
    return _event(
        config,
        name,
        candidate_id,
        source,
        candidate.blueprint,
        candidate.base_width,
        heads,
        ignition=candidate.ignition,
        ap=candidate.ap,
        checkpoint=checkpoint,
    )


def _event(
    config: RunConfig,
    name: str,
    candidate_id: str,
    source: str,
    blueprint: Blueprint,
    base_width: int,
    heads: Heads | None,
    *,
    ignition: int = 0,
    ap: float | None = None,
    checkpoint: str | None = None,
) -> NetworkGiven:
    step, genotype = config.steps[name], blueprint.genotype
    space = step.search_space
    if (reason := step.refusal(genotype, base_width)) is not None:
        raise ConfigError(f"{name} can't start from {source}: {reason}")
    predicted = cost(genotype, base_width, space.image_size, space.neck_channels, heads)
    return NetworkGiven(
        candidate_id=candidate_id,
        step=name,
        phase=step.phase,
        source=source,
        code=genotype.code,
        block_ids=blueprint.block_ids,
        base_width=base_width,
        ignition=ignition,
        ap=ap,
        checkpoint=checkpoint,
        params=predicted.params,
        flops=predicted.flops,
    )


def _weights(name: str, place: Place, weights: str, code: str, base_width: int) -> str | None:
    """Checkpoint of a file of torchvision weights, made by a process that may use torch; None: the run is simulated."""
    file, key = place.workdir / weights, f"{name}.search_space.weights"
    if not is_file(file):
        raise ConfigError(f"{key}: {file} does not exist: expected a file of torchvision weights (.pth, .safetensors)")
    if place.checkpoints is None:
        return None
    command = [sys.executable, "-P", "-m", "trainers.weights", str(file), code, str(base_width), str(place.checkpoints)]
    try:
        done = subprocess.run(
            command,
            cwd=place.workdir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WEIGHTS_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{key}: {file} was not read within {WEIGHTS_TIMEOUT_S} s") from error
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        last = " ".join(done.stderr.strip().splitlines()[-1:])
        raise ConfigError(f"{key}: reading {file} ended its process (exit code {done.returncode}): {last}") from error
    if not answer.get("ok"):
        raise ConfigError(f"{key}: {answer.get('error')}")
    return str(answer["checkpoint"])


def _run_at(path: Path) -> OtherRun | None:
    return open_run(path) if is_file(path / "lineage.duckdb") else None


def _nothing_at(source: str, place: Place) -> str:
    folders = (RunFolder(path.parent) for path in RUNS.glob("*/lineage.duckdb"))
    known = ", ".join(sorted(folder.path.name for folder in folders if has_begun(folder))) or "none"
    return (
        f"{source!r} is no run folder and no record (total_list_*.csv), neither in {place.workdir} nor in ./runs "
        f"(runs there: {known})"
    )
