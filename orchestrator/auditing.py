"""Audits: which candidates of a run to train again, the run that does it, and what it says of the search.

A candidate's AP after a short training owes much to the weights it began with. An audit trains candidates again for as
long, from the same seed, from scratch and with the backbone alone inherited, and compares the orders (Kendall's tau).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table

from orchestrator.config_faults import parse_config
from orchestrator.display import table
from orchestrator.errors import UserError
from orchestrator.launch import Plan
from orchestrator.outside import open_run
from orchestrator.preparation import check_workdir
from orchestrator.run_folder import RunFolder
from orchestrator.search.proposal import is_control
from orchestrator.search.state import Candidate, SearchState, rank

WAYS = {"detector": "whole detector", "backbone": "backbone alone", "nothing": "from scratch"}


def audit_plan(folder: RunFolder, count: int, step: str | None, epochs: int | None) -> Plan:
    """The run that audits `count` candidates of a step (None: the first search step), spread over its ranking.

    Raises:
        UserError: the run has no such step, or too few candidates that inherited weights.
    """
    run = open_run(folder.path)
    started, state = run.started, run.state
    assert state.config is not None
    searches = [name for name in state.config.pipeline if state.config.steps[name].search_algorithm is not None]
    step = step or (searches[0] if searches else None)
    if step not in searches:
        known = ", ".join(searches) or "none, so there is nothing to audit"
        raise UserError(f"run {folder.name} has no search step {step or 'at all'}; its search steps: {known}")
    chosen = _spread(_children(state, step), count)
    if len(chosen) < count:
        raise UserError(
            f"step {step} of run {folder.name} has {len(chosen)} candidates with inherited weights"
            f"{' that are kept' if state.deleted else ''}, fewer than {count}; "
            + ("ask for at most as many" if len(chosen) > 1 else "an audit compares the order of two at least")
        )
    if not started.simulated:
        check_workdir(Path(started.workdir))
    section = started.config[step]
    config = {
        "general": started.config["general"],
        "pipeline": ["audit"],
        "audit": {
            "pipe_step": {"type": "AuditPipeStep"},
            "search_space": section["search_space"] | {"weights": None},
            "audit": {
                "run": str(folder.path),
                "candidates": sorted(one.candidate_id for one in chosen),
                "searched_epoch": section["trainer"]["epoch"],
                "searched_seeds": section["search_algorithm"]["seeds_per_candidate"],
            },
            "trainer": section["trainer"] | ({"epoch": epochs} if epochs else {}),
        },
    }
    return Plan(
        parse_config(config, f"the audit of {folder.name}"),
        yaml.safe_dump(config, sort_keys=False),
        Path(started.workdir),
        started.simulated,
        started.heads,
    )


def report(folder: RunFolder) -> dict[str, Any]:
    """What an audit found: AP of each candidate in each way (the whole detector is the search's own), means, and tau."""
    run = open_run(folder.path)
    state = run.state
    assert state.config is not None
    audit = state.config.steps[state.config.pipeline[0]].audit
    assert audit is not None
    epochs = state.config.steps[state.config.pipeline[0]].trainer.epoch
    rows = [_row(state, candidate_id) for candidate_id in audit.candidates]
    whole = [row for row in rows if all(row["ap"][way] is not None for way in WAYS)]
    return {
        "run": audit.run,
        "simulated": run.simulated,
        "epochs": epochs,
        "search_epochs": audit.searched_epoch or epochs,
        "search_seeds": audit.searched_seeds,
        "candidates": rows,
        "mean_ap": {way: _mean([row["ap"][way] for row in whole]) for way in WAYS},
        "kendall_tau": {
            way: _tau([row["ap"]["detector"] for row in whole], [row["ap"][way] for row in whole])
            for way in ("backbone", "nothing")
        },
    }


def table_of(found: Mapping[str, Any]) -> Table:
    """The report as a table, best first in the search's order."""
    rows = sorted(found["candidates"], key=lambda row: -row["ap"]["detector"])
    lines = [[row["candidate"], row["arch"], *(row["ap"][way] for way in WAYS)] for row in rows]
    lines.append(["mean", "", *(_rounded(found["mean_ap"][way]) for way in WAYS)])
    lines.append(["tau", "", None, *(_rounded(tau) for tau in found["kendall_tau"].values())])
    search, *again = WAYS.values()
    same = found["epochs"] == found["search_epochs"]
    length = "" if same else f" ({_epochs(found['search_epochs'])}, in the search)"
    columns = ("candidate", "arch", f"AP, {search}{length}", *(f"AP, {name}" for name in again))
    simulated = " (simulated)" if found["simulated"] else ""
    return table(f"audit of {found['run']}{simulated} after {_epochs(found['epochs'])}", columns, lines)


def sentence(found: Mapping[str, Any]) -> str:
    """The report in words."""
    mean, tau = found["mean_ap"], found["kendall_tau"]
    if mean["nothing"] is None:
        return "no candidate could be trained in both ways"
    whole = f"{mean['detector']:.3f} with the whole detector"
    if found["epochs"] != found["search_epochs"]:
        whole += f" after {_epochs(found['search_epochs'])} in the search, which is no comparison"
    elif mean["nothing"]:
        whole += f" ({mean['detector'] / mean['nothing']:.1f} times that)"
    if found["search_seeds"] > 1:
        whole += f", there the mean of {found['search_seeds']} trainings"
    return (
        f"mean AP after {_epochs(found['epochs'])}: {mean['nothing']:.3f} from scratch, "
        f"{mean['backbone']:.3f} with the backbone inherited, {whole}; Kendall's tau to the search's order "
        f"{_number(tau['backbone'])} (backbone), {_number(tau['nothing'])} (scratch)"
    )


def _children(state: SearchState, step: str) -> list[Candidate]:
    """Trained candidates of a step that inherited a whole detector and whose family's weights are kept, best first."""
    found = [
        candidate
        for candidate in state.candidates.values()
        if candidate.step == step
        and candidate.outcome == "done"
        and candidate.parent_id is not None
        and candidate.reignition_id is None
        and state.candidates[candidate.parent_id].outcome == "done"
        and not is_control(state, candidate.candidate_id)
        and not {candidate.checkpoint, state.candidates[candidate.parent_id].checkpoint} & state.deleted
    ]
    return sorted(found, key=rank)


def _spread(ranked: list[Candidate], count: int) -> list[Candidate]:
    """`count` of them at even distances, the first and the last included."""
    if len(ranked) <= count:
        return ranked
    return [ranked[round(place * (len(ranked) - 1) / max(1, count - 1))] for place in range(count)]


def _row(state: SearchState, candidate_id: str) -> dict[str, Any]:
    audited = state.candidates[candidate_id]
    again = {
        candidate.inherit: candidate.ap
        for candidate in state.candidates.values()
        if candidate.audited_id == candidate_id and candidate.outcome == "done"
    }
    ap = {"detector": audited.ap, "backbone": again.get("backbone"), "nothing": again.get("nothing")}
    return {"candidate": candidate_id, "arch": audited.blueprint.genotype.code, "ap": ap}


def _mean(values: list[float]) -> float | None:
    return round(sum(values) / len(values), 6) if values else None


def _tau(search: list[float], again: list[float]) -> float | None:
    from scipy.stats import kendalltau

    if len(search) < 2:
        return None
    tau = float(kendalltau(search, again).statistic)
    return None if math.isnan(tau) else round(tau, 6)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count > 1 else ''}"
