"""Why a candidate or a reignition of a run is what it is: the recorded facts about one, as values JSON can say.

Everything is read from the log and its tables; nothing is guessed. How the facts are told is `orchestrator.why`. This
module must not know who asks, nor any clock: whether the run still lives is told to it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from typing import Any

from lineage.errors import UnknownCandidate
from lineage.events import (
    CandidateProposed,
    JobAssigned,
    JobFailed,
    JobFinished,
    ReignitionProposed,
    ReignitionRequested,
)
from lineage.graph import LineageGraph, rows_of
from lineage.store import EventStore

Facts = dict[str, Any]

_RUN = "SELECT run_id, simulated, status, objectives, started_at FROM run"
_TRAININGS = """
SELECT
    jobs.job_id, jobs.repeat, jobs.status, measurements.ap, measurements.ap50, reignitions.accuracy,
    max(epoch) AS epoch, max(epochs.epochs) AS epochs
FROM jobs
LEFT JOIN measurements USING (job_id)
LEFT JOIN reignitions USING (reignition_id)
LEFT JOIN epochs USING (job_id, attempt)
WHERE coalesce(jobs.reignition_id, jobs.candidate_id) = ?
GROUP BY ALL
ORDER BY jobs.repeat
"""
_DRAWS = """
SELECT candidate_id, probability, arch, ap
FROM parent_draws AS draw JOIN candidates ON candidate_id = draw.parent_id
WHERE child_id = ? ORDER BY probability DESC, candidate_id
"""
_RANK = "SELECT rank, (SELECT count(*) FROM leaderboard) AS ranked FROM leaderboard WHERE candidate_id = ?"
_BETTER = """
SELECT pareto_front.* FROM dominated JOIN pareto_front ON pareto_front.candidate_id = by_id
WHERE dominated.candidate_id = ?
"""
_GAIN = "SELECT control_id, ap, control_ap, gain FROM gains WHERE child_id = ?"
_RESULT_OF = "SELECT step FROM phases WHERE best_candidate_id = ? ORDER BY started_at, step"
_REIGNITIONS = "FROM reignitions WHERE candidate_id = ? ORDER BY reignition_id"


def explain(store: EventStore, subject_id: str, live: bool) -> Facts:
    """The facts about a candidate or a reignition; `live` says whether a process drives the run now.

    Raises:
        UnknownCandidate: the run has neither of that id; the message names ids that are alike.
    """
    graph = LineageGraph.from_store(store)
    reignitions = {row["reignition_id"]: row for row in rows_of(store, "FROM reignitions ORDER BY reignition_id")}
    (run,) = rows_of(store, _RUN)
    if run["status"] == "running" and not live:
        run["status"] = "crashed"
    known = [row["candidate_id"] for row in graph.candidates]
    if subject_id in reignitions:
        return {"run": run, **_reignition(store, graph, reignitions[subject_id], live)}
    if subject_id not in known:
        raise UnknownCandidate(_unknown(subject_id, [*known, *reignitions]))
    return {"run": run, **_candidate(store, graph, subject_id, live)}


def _candidate(store: EventStore, graph: LineageGraph, candidate_id: str, live: bool) -> Facts:
    row, edge = graph.candidate(candidate_id), graph.edge(candidate_id)
    parent = None if edge is None else graph.candidate(edge["parent_id"])
    others = [other for other in graph.candidates if other["candidate_id"] != candidate_id]
    proposal = _proposal(store, candidate_id)
    return {
        "candidate": row,
        "parent": parent,
        "draws": rows_of(store, _DRAWS, candidate_id),
        "diff": None if parent is None else graph.diff(parent["candidate_id"], candidate_id),
        "refused": {} if proposal is None else proposal.refused,
        "inheritance": edge,
        "trainings": list(_trainings(store, candidate_id, live)),
        "ranking": {
            "rank": next(iter(rows_of(store, _RANK, candidate_id)), None),
            "weighed": _exists(store, "SELECT 1 FROM weighed WHERE candidate_id = ?", candidate_id),
            "on_front": _exists(store, "SELECT 1 FROM pareto_front WHERE candidate_id = ?", candidate_id),
            "dominated_by": rows_of(store, _BETTER, candidate_id),
            "gain": next(iter(rows_of(store, _GAIN, candidate_id)), None),
        },
        "control": _known(graph, row["control_id"]),
        "is_control": bool(rows_of(store, "FROM controls WHERE candidate_id = ?", candidate_id)),
        "control_of": [other for other in others if other["control_id"] == candidate_id],
        "audits": [other for other in others if other["audited_id"] == candidate_id],
        "audited": _known(graph, row["audited_id"]),
        "children": _children(graph, candidate_id),
        "descendants": graph.descendants(candidate_id),
        "reignitions": rows_of(store, _REIGNITIONS, candidate_id),
        "result_of": [step["step"] for step in rows_of(store, _RESULT_OF, candidate_id)],
    }


def _reignition(store: EventStore, graph: LineageGraph, row: Facts, live: bool) -> Facts:
    lit = [other for other in graph.candidates if other["reignition_id"] == row["reignition_id"]]
    below = [one for first in lit for one in graph.descendants(first["candidate_id"])]
    results = [one for one in (*lit, *map(graph.candidate, below)) if _is_result(one)]
    return {
        "reignition": row,
        "requested_by": _requester(store, row["reignition_id"]) if row["trigger"] == "request" else None,
        "candidate": _known(graph, row["candidate_id"]),
        "trainings": list(_trainings(store, row["reignition_id"], live)),
        "successors": lit,
        "descendants": below,
        "best": max(results, key=lambda one: one["ap"], default=None),
    }


def _trainings(store: EventStore, subject_id: str, live: bool) -> Iterator[Facts]:
    """Each training of a subject with all its attempts; one without an outcome runs, or was interrupted."""
    trainings = rows_of(store, _TRAININGS, subject_id)
    attempts: dict[str, list[Facts]] = {training["job_id"]: [] for training in trainings}
    for recorded in store.read(kinds=["JobAssigned", "JobFailed", "JobFinished"]):
        event = recorded.event
        if not isinstance(event, JobAssigned | JobFailed | JobFinished) or event.job_id not in attempts:
            continue
        tried = attempts[event.job_id]
        if isinstance(event, JobAssigned):
            tried.append({"attempt": event.attempt, "device": event.device, "started": recorded.ts})
        elif tried and tried[-1]["attempt"] == event.attempt and "outcome" not in tried[-1]:
            tried[-1] |= {
                "outcome": "failed" if isinstance(event, JobFailed) else "finished",
                "seconds": (recorded.ts - tried[-1]["started"]).total_seconds(),
                **({"fault": event.fault, "message": event.message} if isinstance(event, JobFailed) else {}),
            }
    for training in trainings:
        tried = attempts[training["job_id"]]
        for one in tried:
            runs = live and one is tried[-1] and training["status"] == "running"
            one.setdefault("outcome", "running" if runs else "interrupted")
            one["started"] = _text(one["started"])
        yield {**training, "attempts": tried}


def _proposal(store: EventStore, candidate_id: str) -> CandidateProposed | None:
    for recorded in store.read(kinds=["CandidateProposed"]):
        event = recorded.event
        if isinstance(event, CandidateProposed) and event.candidate_id == candidate_id:
            return event
    return None


def _requester(store: EventStore, reignition_id: str) -> str | None:
    """Who asked last before a reignition was proposed."""
    by = None
    for recorded in store.read(kinds=["ReignitionRequested", "ReignitionProposed"]):
        event = recorded.event
        if isinstance(event, ReignitionRequested):
            by = event.by
        elif isinstance(event, ReignitionProposed) and event.reignition_id == reignition_id:
            break
    return by


def _children(graph: LineageGraph, candidate_id: str) -> list[Facts]:
    return [
        graph.candidate(edge["child_id"]) | {"morphisms": edge["morphisms"]}
        for edge in graph.edges
        if edge["parent_id"] == candidate_id
    ]


def _known(graph: LineageGraph, candidate_id: str | None) -> Facts | None:
    return next((row for row in graph.candidates if row["candidate_id"] == candidate_id), None)


def _is_result(row: Facts) -> bool:
    return row["status"] == "trained" and row["ruled_out"] is None and row["ap"] is not None


def _exists(store: EventStore, sql: str, subject_id: str) -> bool:
    return bool(store.query(sql, [subject_id]).rows)


def _unknown(subject_id: str, known: list[str]) -> str:
    message = f"the run has no candidate or reignition {subject_id!r}"
    if not known:
        return f"{message}: it has none yet"
    near = difflib.get_close_matches(subject_id, sorted(known), n=3)
    return f"{message}: " + (f"near it are {', '.join(near)}" if near else "it has " + _spans(known))


def _spans(known: list[str]) -> str:
    """``s-0001 to s-0009, p-0001``: the first and the last of each prefix."""
    spans = (list(ids) for _, ids in groupby(known, key=lambda one: one.partition("-")[0]))
    return ", ".join(ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1]}" for ids in spans)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
