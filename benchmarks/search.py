"""Does the search find what chance does not? Real trainings on the digits, the same number each way, seed by seed.

    python benchmarks/search.py FOLDER [--seeds 1 2 3] [--candidates 24]

* search: serial growth from a small network, children inheriting their parent's weights, one epoch each;
* random: networks drawn at random from the same space, each trained from scratch for one epoch;
* walk: like search, but without selection: every network so far is as likely a parent as any other.

Every way is a run in FOLDER, with its lineage; what is there already is not trained again. The table it prints, and what
it was printed on, are in benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from lineage.architecture import Genotype
from lineage.events import Event, PhaseStarted, RunStarted
from lineage.morphism import Blueprint
from lineage.store import EventStore
from orchestrator.config import RunConfig
from orchestrator.config_file import load_config
from orchestrator.devices import find_devices
from orchestrator.display import LineDisplay, stdout_console
from orchestrator.examples import write_example
from orchestrator.launch import Plan, Watchers, resume_run, start_run
from orchestrator.preparation import make_data
from orchestrator.run_folder import RunFolder
from orchestrator.search import serial
from orchestrator.search.evolve import evolve
from orchestrator.search.proposal import proposed
from orchestrator.search.selection import parent_probabilities
from orchestrator.search.state import Candidate, SearchState, rank

CONFIG = "sp_nas.yml"
MAX_BLOCKS = 16
WAYS = ("search", "random", "walk")


def configuration(folder: Path, seed: int, candidates: int) -> RunConfig:
    """The digits' serial step alone, without reignition."""
    return load_config(
        folder / CONFIG,
        [
            f"general.seed={seed}",
            "pipeline=[serial]",
            f"serial.search_algorithm.max_sample={candidates}",
            "serial.search_algorithm.reignite=",
            f"serial.search_space.max_blocks={MAX_BLOCKS}",
        ],
    )


def random_networks(config: RunConfig, count: int, rng: random.Random) -> Iterator[Genotype]:
    """Networks that serial growth can reach from its start: depth, stages, borders and doublings drawn at random."""
    step = config.steps["serial"]
    start, space = step.search_space.first, step.search_space
    seen: set[str] = set()
    while len(seen) < count:
        depth = rng.randint(space.min_blocks, space.max_blocks)
        stages = rng.randint(len(start.stages), step.search.serial_settings.max_stages)
        characters = list("".join(start.stages))
        while len(characters) < depth:
            characters.insert(rng.randint(1, len(characters)), "1")
        borders = [0, *sorted(rng.sample(range(1, depth), stages - 1)), depth]
        parts = tuple("".join(characters[a:b]) for a, b in itertools.pairwise(borders))
        genotype = Genotype(start.block, parts, (0,) * stages)
        if genotype.code not in seen:
            seen.add(genotype.code)
            yield genotype


def begin_random(target: RunFolder, config: RunConfig, candidates: int) -> None:
    """A run whose log begins with every network proposed, before anything was trained; resuming it trains them."""
    devices = len(find_devices(config.general.worker.cpu_workers))
    log: list[Event] = [
        RunStarted(
            run_id=target.name,
            seed=config.general.seed,
            simulated=False,
            slots=devices,
            window=devices,
            config=config.to_mapping(),
            workdir=str(target.path.parent),
        ),
        PhaseStarted(step="serial", phase="serial"),
    ]
    state = evolve(evolve(SearchState(), log[0]), log[1])
    for number, genotype in enumerate(random_networks(config, candidates, random.Random(state.seed)), 1):
        candidate_id = f"s-{number:04d}"
        log.append(proposed(state, candidate_id, Blueprint.seed(genotype, candidate_id), None))
    for folder in (target.checkpoints, target.logs):
        folder.mkdir(parents=True)
    with EventStore.create(target.database) as store:
        store.append(log, datetime.now(UTC))


def any_parent(candidates: Iterable[Candidate], _max_optimal: int) -> dict[str, float]:
    """Every network so far is as likely."""
    family = list(candidates)
    return {candidate.candidate_id: 1 / len(family) for candidate in family}


def run(way: str, folder: Path, seed: int, candidates: int) -> list[Candidate]:
    """The networks of one way, trained now or before."""
    target = RunFolder(folder / f"{way}-{seed}")
    config = configuration(folder, seed, candidates)
    lines = LineDisplay(stdout_console())
    watchers = Watchers((lines.show,), (lines.replay,))
    serial.parent_probabilities = any_parent if way == "walk" else parent_probabilities
    if way == "random" and not target.database.exists():
        begin_random(target, config, candidates)
    if target.database.exists():
        state = resume_run(target, watchers)
    else:
        state = start_run(target, Plan(config, (folder / CONFIG).read_text(), folder), watchers)
    return [candidate for candidate in state.candidates.values() if candidate.outcome == "done"]


def line(way: str, seed: int, trained: list[Candidate]) -> str:
    """Best, median and share of the AP that is not near zero, as a row of a table."""
    aps = sorted((candidate.ap for candidate in trained), reverse=True)
    best = min(trained, key=rank)
    gflops = statistics.median(candidate.flops for candidate in trained) / 1e6
    return (
        f"| {way} | {seed} | {len(trained)} | {aps[0]:.3f} | {statistics.median(aps):.3f} | {aps[-1]:.3f} "
        f"| {gflops:.0f} | `{best.blueprint.genotype.code}` |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    if not (folder / CONFIG).exists():
        write_example("digits", folder)
    make_data(configuration(folder, 1, arguments.candidates), folder)
    rows = [
        line(way, seed, run(way, folder, seed, arguments.candidates))
        for seed in arguments.seeds
        for way in arguments.ways
    ]
    header = "| way | seed | trainings | best AP | median AP | worst AP | median MFLOPs | best network |"
    sys.stdout.write("\n".join([header, "| --- | --- | --- | --- | --- | --- | --- | --- |", *rows]) + "\n")


if __name__ == "__main__":
    main()
