"""The lineage of a run as a graph: candidates, and edges that say whose weights a candidate started from.

A candidate has one parent or, as a seed, none, so the graph is a forest and every candidate has one path to its seed.
A given network is a seed too where its parent, in another run, is not known here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import networkx as nx

from lineage.architecture import Genotype
from lineage.errors import StoreError, UnknownCandidate
from lineage.events import CandidateProposed, NetworkGiven
from lineage.measurements import finite
from lineage.morphism import Blueprint, correspondence
from lineage.store import EventStore

_CANDIDATES = "FROM candidates ORDER BY proposed_at, candidate_id"
_EDGES = "FROM inheritance"


class LineageGraph:
    """Read-only view of a run's candidates at one moment; all it returns can be written as JSON."""

    def __init__(
        self, candidates: list[dict[str, Any]], edges: list[dict[str, Any]], blueprints: dict[str, Blueprint]
    ) -> None:
        self._candidates = {row["candidate_id"]: row for row in candidates}
        self._blueprints = blueprints
        self._graph: nx.DiGraph[str] = nx.DiGraph()
        self._graph.add_nodes_from(self._candidates)
        self._graph.add_edges_from(
            (edge["parent_id"], edge["child_id"], edge) for edge in edges if edge["parent_id"] in self._candidates
        )

    @classmethod
    def from_store(cls, store: EventStore) -> LineageGraph:
        """Graph of everything in a store. Raises StoreError if its tables are not what its log says."""
        blueprints = {
            event.candidate_id: Blueprint(Genotype.parse(event.code), event.block_ids)
            for recorded in store.read(kinds=["CandidateProposed", "NetworkGiven"])
            if isinstance(event := recorded.event, CandidateProposed | NetworkGiven)
        }
        candidates = rows_of(store, _CANDIDATES)
        graph = cls(candidates, rows_of(store, _EDGES), blueprints)
        if unknown := [one["candidate_id"] for one in candidates if one["candidate_id"] not in blueprints]:
            raise StoreError(
                f"the tables have candidate {unknown[0]!r}, and the log has not: rebuild them, or restore a copy"
            )
        if not nx.is_directed_acyclic_graph(graph._graph):
            raise StoreError("a candidate is its own ancestor: the log or the tables are damaged; restore a copy")
        return graph

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """Row of each candidate in the order of proposal."""
        return list(self._candidates.values())

    @property
    def edges(self) -> list[dict[str, Any]]:
        """Row of `inheritance` of each child, parents before children."""
        order = {candidate_id: number for number, candidate_id in enumerate(self._candidates)}
        edges = [edge for _, _, edge in self._graph.edges(data=True)]
        return sorted(edges, key=lambda edge: order.get(edge["child_id"], len(order)))

    def candidate(self, candidate_id: str) -> dict[str, Any]:
        """Row of a candidate. Raises UnknownCandidate, as all that follow."""
        self._must_know(candidate_id)
        return self._candidates[candidate_id]

    def edge(self, child_id: str) -> dict[str, Any] | None:
        """What the candidate inherited and how; None for a seed."""
        self._must_know(child_id)
        for _, _, edge in self._graph.in_edges(child_id, data=True):
            return dict(edge)
        return None

    def path(self, candidate_id: str) -> list[str]:
        """The candidates from the seed to this one, both included."""
        self._must_know(candidate_id)
        path = [candidate_id]
        while parents := list(self._graph.predecessors(path[-1])):
            path.append(parents[0])
        return path[::-1]

    def ancestors(self, candidate_id: str) -> list[str]:
        """The candidates its weights came through, nearest first."""
        return self.path(candidate_id)[-2::-1]

    def descendants(self, candidate_id: str) -> list[str]:
        """The candidates whose weights came through it, nearest first."""
        self._must_know(candidate_id)
        distances = nx.single_source_shortest_path_length(self._graph, candidate_id)
        del distances[candidate_id]
        return sorted(distances, key=lambda other: (distances[other], other))

    def diff(self, before: str, after: str) -> dict[str, Any]:
        """What differs between two candidates' networks.

        `stages` and `parallel` list [before, after] for each stage; blocks of the main path are told apart by their
        ids: kept ones stay in their stage, moved ones are in another.
        """
        self._must_know(before)
        self._must_know(after)
        old, new = self._blueprints[before], self._blueprints[after]
        pairs = correspondence(old, new)
        moved = sum(position[0] != origin[0] for position, origin in pairs.items())
        return {
            "before": {"candidate_id": before, "arch": old.genotype.code},
            "after": {"candidate_id": after, "arch": new.genotype.code},
            "stages": _side_by_side(old.genotype.stages, new.genotype.stages),
            "parallel": _side_by_side(old.genotype.parallel, new.genotype.parallel),
            "blocks_kept": len(pairs) - moved,
            "blocks_moved": moved,
            "blocks_new": new.genotype.depth - len(pairs),
            "blocks_gone": old.genotype.depth - len(pairs),
        }

    def _must_know(self, candidate_id: str) -> None:
        if candidate_id not in self._candidates:
            known = list(self._candidates)
            found = f"it has {known[0]} to {known[-1]}" if known else "it has none yet"
            raise UnknownCandidate(f"the run has no candidate {candidate_id!r}: {found}")


def _side_by_side(before: tuple[Any, ...], after: tuple[Any, ...]) -> list[list[Any]]:
    length = max(len(before), len(after))
    padded = [[*side, *[None] * (length - len(side))] for side in (before, after)]
    return [list(pair) for pair in zip(*padded, strict=True)]


def rows_of(store: EventStore, sql: str, *parameters: object) -> list[dict[str, Any]]:
    """Rows of a query by column, in values JSON can say; times are UTC."""
    result = store.query(sql, parameters)
    return [dict(zip(result.columns, map(_jsonable, row), strict=True)) for row in result.rows]


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return finite(value)
    return f"{value.isoformat()}Z" if isinstance(value, datetime) else value
