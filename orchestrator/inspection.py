"""`status` and `lineage`: answers from a run's store, live, finished or crashed. Reads only."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from lineage import queries
from lineage.moment import At, Moment, last_at, parse
from lineage.snapshot import open_snapshot
from lineage.store import QueryResult
from orchestrator.display import stdout_console, table
from orchestrator.printing import records as by_column
from orchestrator.run_folder import find_run

if TYPE_CHECKING:
    from lineage.graph import LineageGraph

BEST_SHOWN = 5
LIVE = ("running", "paused", "stopping")
COLUMNS = {  # what `status` shows to people; --json has everything
    "phases": (
        "step",
        "phase",
        "status",
        "candidates",
        "trained",
        "ruled_out",
        "abandoned",
        "controls",
        "refused",
        "best_ap",
        "reason",
    ),
    "given": ("candidate_id", "arch", "source", "ap", "step"),
    "running": ("device", "job_id", "kind", "arch", "attempt", "epoch", "epochs", "loss", "blocked"),
    "best": ("rank", "candidate_id", "arch", "phase", "ap", "ap50", "flops", "params", "latency_ms"),
    "ruled_out": ("candidate_id", "arch", "phase", "ap", "ruled_out"),
}
SELDOM = (
    "ruled_out",
    "abandoned",
    "controls",
    "refused",
    "blocked",
)  # columns that are left out where they count nothing


def status(run: str, as_json: bool, at: str | None = None) -> None:
    """Print where a run stands, or stood: then no process has to do with it."""
    folder = find_run(run)
    process = folder.process() if at is None else None
    with open_snapshot(folder.database, asked(at)) as store:
        past = None if at is None else last_at(store)
        facts: dict[str, Any] = records(store.query(queries.RUN))[0]
        parts = {
            "phases": store.query(queries.PHASES),
            "given": store.query(queries.GIVEN),
            "running": store.query(queries.RUNNING),
            "best": store.query(queries.LEADERBOARD, [BEST_SHOWN]),
            "ruled_out": store.query(queries.RULED_OUT, [BEST_SHOWN]),
        }
    if facts["status"] in LIVE and process is None and past is None:
        facts["status"] = "crashed"
    facts |= {"process": process, "as_of": as_of(past)}
    if facts["status"] not in LIVE:
        parts["running"] = QueryResult(parts["running"].columns, [])
    if as_json:
        print_json(facts | {name: records(result) for name, result in parts.items()})
        return
    console = stdout_console()
    state = _state(facts, shlex.quote(str(folder.path))) if past is None else f"as of {past}: {_was(facts)}"
    simulated = ", simulated" if facts["simulated"] else ""
    forked = f", forked from {facts['forked_from']} at event {facts['forked_at_seq']}" if facts["forked_from"] else ""
    console.print(f"run {facts['run_id']}: {state}{simulated}{forked}", soft_wrap=True, markup=False)
    for name, result in parts.items():
        if rows := records(result):
            columns = tuple(one for one in COLUMNS[name] if one not in SELDOM or any(row[one] for row in rows))
            console.print(table(name.replace("_", " "), columns, [[row[column] for column in columns] for row in rows]))


def lineage(run: str, candidate: str | None, as_json: bool, at: str | None = None) -> None:
    """Print the inheritance graph, or one candidate's path from the seed and its descendants; as it is, or was."""
    from lineage.graph import LineageGraph

    with open_snapshot(find_run(run).database, asked(at)) as store:
        past = None if at is None else last_at(store)
        graph = LineageGraph.from_store(store)
        (run_id, simulated), *_ = store.query("SELECT run_id, simulated FROM run").rows
    facts: dict[str, Any] = {"run_id": run_id, "simulated": simulated, "as_of": as_of(past)}
    if candidate is None:
        facts |= {"candidates": graph.candidates, "edges": graph.edges}
        roots, shown = (
            [row["candidate_id"] for row in graph.candidates if graph.edge(row["candidate_id"]) is None],
            None,
        )
    else:
        path = graph.path(candidate)
        facts |= {
            "path": [graph.candidate(one) | {"inherited": graph.edge(one)} for one in path],
            "descendants": graph.descendants(candidate),
            "diff": graph.diff(path[-2], candidate) if len(path) > 1 else None,
        }
        roots, shown = path[:1], {*path, *graph.descendants(candidate)}
    if as_json:
        print_json(facts)
        return
    console = stdout_console()
    then = "" if past is None else f", as of {past}"
    console.print(f"lineage of run {run_id}{' (simulated)' if simulated else ''}{then}", markup=False)
    for root in roots:
        for line in _tree(graph, root, shown):
            console.print(line, markup=False, style="bold" if candidate and candidate in line.split() else None)


def _tree(graph: LineageGraph, root: str, shown: set[str] | None) -> Iterator[str]:
    """Lines of the tree below `root`; iterative, since a lineage can be deeper than Python's stack."""
    children: dict[str, list[str]] = {}
    for edge in graph.edges:
        if shown is None or edge["child_id"] in shown:
            children.setdefault(edge["parent_id"], []).append(edge["child_id"])
    stack = [(root, "", "")]
    while stack:
        candidate, indent, branch = stack.pop()
        yield indent + branch + _line(graph, candidate)
        below = indent + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        family = children.get(candidate, [])
        stack += [(child, below, "└─ " if child == family[-1] else "├─ ") for child in reversed(family)]


def _line(graph: LineageGraph, candidate_id: str) -> str:
    row, edge = graph.candidate(candidate_id), graph.edge(candidate_id)
    line = f"{candidate_id} {row['arch']} {outcome(row)}"
    if row["audited_id"]:
        line += f", audits {row['audited_id']} {'with the backbone alone' if row['parent_id'] else 'from scratch'}"
    if edge is None:
        return line
    kept = f", kept {edge['tensors_copied']}, new {edge['tensors_new']}" if edge["tensors_copied"] is not None else ""
    residual = f", residual {edge['residual']:.2g}" if edge["residual"] is not None else ""
    return f"{line} by {' '.join(edge['morphisms'])}{kept}{residual}"


def outcome(row: dict[str, Any]) -> str:
    """What came of a candidate: its AP, or why it has none."""
    ap = "" if row["ap"] is None else f"AP {row['ap']:.3f}"
    if row["status"] == "given":
        return f"given ({row['source']}{f', {ap} there' if ap else ''})"
    if row["ruled_out"]:
        return f"{ap or 'trained'} ruled out ({row['ruled_out']})"
    return ap or row["status"]


def _state(facts: dict[str, Any], path: str) -> str:
    match facts["status"]:
        case "running" | "paused" | "stopping":
            return f"{facts['status']} (process {facts['process']})"
        case "crashed":
            return f"crashed; go on with: spnas-orch resume {path}"
        case "stopped":
            return f"stopped ({facts['reason']}); go on with: spnas-orch resume {path}"
    return _was(facts)


def _was(facts: dict[str, Any]) -> str:
    """The state of a run that nobody can go on with: it is over, or that was then."""
    reason = f" ({facts['reason']})" if facts["reason"] else ""
    best = f", best {facts['best_candidate_id']}" if facts["best_candidate_id"] else ""
    return f"{facts['status']}{reason}{best}"


def asked(at: str | None) -> At | None:
    """The moment that was asked for; None: now."""
    return None if at is None else parse(at, datetime.now(UTC))


def as_of(past: Moment | None) -> dict[str, Any] | None:
    """The moment of which tables are, for JSON; None: now."""
    return None if past is None else {"seq": past.seq, "ts": past.ts.isoformat()}


def records(result: QueryResult) -> list[dict[str, Any]]:
    """Rows by column, as JSON can say them."""
    return by_column(result.columns, result.rows)


def print_json(value: Any) -> None:
    """Print a value as JSON, what JSON has no word for as text."""
    typer.echo(json.dumps(value, default=str, indent=2))
