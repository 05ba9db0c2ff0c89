"""`status`, `sql` and `lineage`: answers from a run's store, live, finished or crashed. Reads only."""

from __future__ import annotations

import csv
import json
import sys
from typing import Any

import typer
from rich.console import Console

from lineage.snapshot import open_snapshot
from lineage.store import QueryResult
from orchestrator.display import table
from orchestrator.run_folder import find_run

PHASES = """
    SELECT phases.step, phases.phase, phases.status, count(candidate_id) AS candidates,
        count(candidate_id) FILTER (candidates.status = 'trained') AS trained, max(ap) AS best_ap, phases.reason
    FROM phases LEFT JOIN candidates USING (step) GROUP BY ALL ORDER BY any_value(phases.started_at)
"""
RUNNING = """
    SELECT device, jobs.job_id, kind, candidate_id, jobs.attempt, max(epoch) AS epoch, last(loss ORDER BY epoch) AS loss
    FROM jobs LEFT JOIN epochs ON epochs.job_id = jobs.job_id AND epochs.attempt = jobs.attempt
    WHERE status = 'running' GROUP BY ALL ORDER BY device
"""
BEST = "SELECT candidate_id, arch, phase, ap, flops, params FROM leaderboard LIMIT 5"
RUN = "SELECT run_id, simulated, status, reason, best_candidate_id, started_at, finished_at FROM run"


def status(run: str, as_json: bool) -> None:
    """Print where a run stands."""
    folder = find_run(run)
    owner = folder.owner()
    with open_snapshot(folder.database) as store:
        facts: dict[str, Any] = _records(store.query(RUN))[0]
        if facts["status"] == "running" and owner is None:
            facts["status"] = "crashed"
        facts["process"] = owner
        parts = {name: store.query(query) for name, query in (("phases", PHASES), ("running", RUNNING), ("best", BEST))}
    if facts["status"] != "running":
        parts["running"] = QueryResult(parts["running"].columns, [])
    if as_json:
        _print_json(facts | {name: _records(result) for name, result in parts.items()})
        return
    console = Console(highlight=False)
    simulated = ", simulated" if facts["simulated"] else ""
    console.print(f"run {facts['run_id']}: {_state(facts, str(folder.path))}{simulated}", soft_wrap=True, markup=False)
    for name, result in parts.items():
        if result.rows:
            console.print(table(name, result.columns, result.rows))


def sql(run: str, query: str, output: str) -> None:
    """Print the rows of one SELECT."""
    with open_snapshot(find_run(run).database) as store:
        result = store.query(query)
    if output == "json":
        _print_json(_records(result))
    elif output == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows(result.rows)
    else:
        Console(highlight=False).print(table("", result.columns, result.rows))


def lineage(run: str, candidate: str | None, as_json: bool) -> None:
    """Print the inheritance graph, or one candidate's path from the seed."""
    from lineage.graph import LineageGraph

    with open_snapshot(find_run(run).database) as store:
        graph = LineageGraph.from_store(store)
    raise NotImplementedError(graph, candidate, as_json)


def _state(facts: dict[str, Any], path: str) -> str:
    match facts["status"]:
        case "running":
            return f"running (process {facts['process']})"
        case "crashed":
            return f"crashed; go on with: spnas-orch resume {path}"
        case "stopped":
            return f"stopped ({facts['reason']}); go on with: spnas-orch resume {path}"
    best = f", best {facts['best_candidate_id']}" if facts["best_candidate_id"] else ""
    return f"{facts['status']} ({facts['reason']}){best}"


def _records(result: QueryResult) -> list[dict[str, Any]]:
    return [dict(zip(result.columns, row, strict=True)) for row in result.rows]


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, default=str, indent=2))
