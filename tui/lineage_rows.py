"""The lineage of a run as rows of text, from the seed down. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from tui.candidates import Candidate, Candidates

MAX_GUIDES = 10  # levels that are drawn; deeper ones are counted
ARROW = " → "


class TreeRow(NamedTuple):
    """A candidate in the tree; `hidden` are its descendants that are folded away."""

    candidate_id: str
    guides: str
    has_children: bool
    hidden: int = 0


def tree(candidates: Candidates, folded: Collection[str] = (), shown: Collection[str] | None = None) -> list[TreeRow]:
    """Every candidate once, children beneath their parent, those of `folded` left out; only those of `shown`, if given.

    An only child stands right beneath its parent, so a line of descent does not wander to the right.
    """
    rows: list[TreeRow] = []
    stack: list[tuple[str, tuple[str, ...], str]] = [(one, (), "") for one in reversed(_below(candidates, None, shown))]
    while stack:
        candidate_id, guides, branch = stack.pop()
        children = _below(candidates, candidate_id, shown)
        is_folded = candidate_id in folded and bool(children)
        hidden = sum(1 for _ in descendants(candidates, candidate_id)) if is_folded else 0
        rows.append(TreeRow(candidate_id, _drawn(guides, branch), bool(children), hidden))
        if is_folded:
            continue
        within = (*guides, {"├─": "│ ", "└─": "  "}[branch]) if branch else guides
        if len(children) == 1:
            stack.append((children[0], within, ""))
            continue
        for number, child in enumerate(reversed(children)):
            stack.append((child, within, "├─" if number else "└─"))
    return rows


def descendants(candidates: Candidates, candidate_id: str) -> Iterator[str]:
    """All that came from one, parents before children."""
    stack = candidates.children_of(candidate_id)[::-1]
    while stack:
        one = stack.pop()
        yield one
        stack.extend(reversed(candidates.children_of(one)))


def path(candidates: Candidates, candidate_id: str) -> list[str]:
    """From the seed to a candidate, both included."""
    found: list[str] = []
    one = candidates.get(candidate_id)
    while one is not None:
        found.append(one.candidate_id)
        one = candidates.get(one.parent_id)
    return found[::-1]


def with_ancestors(candidates: Candidates, ids: Collection[str]) -> set[str]:
    """What a tree has to show for each of `ids` to hang together."""
    found: set[str] = set()
    for candidate_id in ids:
        one = candidates.get(candidate_id)
        while one is not None and one.candidate_id not in found:
            found.add(one.candidate_id)
            one = candidates.get(one.parent_id)
    return found


def matching(candidates: Candidates, text: str) -> list[str]:
    """Ids of the candidates in whose id, code, morphisms, phase or state each word of `text` is found."""
    words = text.lower().split()
    return [
        candidate.candidate_id
        for candidate in candidates.by_id.values()
        if all(word in _searchable(candidate) for word in words)
    ]


def change(candidate: Candidate, parent: Candidate | None) -> str:
    """How its code differs from its parent's: the stages that do, ``…-21 → …-211-1``, ``branches 0-0 → 0-1``."""
    if parent is None:
        return ""
    (block, serial, parallel), (was_block, was_serial, was_parallel) = _parts(candidate.code), _parts(parent.code)
    changes = []
    if block != was_block:
        changes.append(f"{was_block}{ARROW}{block}")
    if serial != was_serial:
        changes.append(ARROW.join(_differing(was_serial.split("-"), serial.split("-"))))
    if parallel != was_parallel:
        changes.append(f"branches {was_parallel}{ARROW}{parallel}")
    return ", ".join(changes) or "same code"


def _parts(code: str) -> tuple[str, str, str]:
    block, serial, parallel = code.split("_")
    return block, serial, parallel


def _differing(old: list[str], new: list[str]) -> tuple[str, str]:
    """Two lists of stages from where they begin to differ to where they end to."""
    start = 0
    while start < min(len(old), len(new)) - 1 and old[start] == new[start]:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start - 1 and old[-1 - end] == new[-1 - end]:
        end += 1
    return _cut(old, start, end), _cut(new, start, end)


def _cut(stages: list[str], start: int, end: int) -> str:
    middle = stages[start : len(stages) - end]
    return "-".join([*(["…"] if start else []), *middle, *(["…"] if end else [])])


def _below(candidates: Candidates, candidate_id: str | None, shown: Collection[str] | None) -> list[str]:
    below = candidates.children_of(candidate_id)
    return below if shown is None else [one for one in below if one in shown]


def _drawn(guides: tuple[str, ...], branch: str) -> str:
    left_out = len(guides) - MAX_GUIDES
    if left_out <= 0:
        return "".join(guides) + branch
    return f"+{left_out} " + "".join(guides[left_out:]) + branch


def _searchable(candidate: Candidate) -> str:
    parts = (candidate.candidate_id, candidate.code, *candidate.morphisms, candidate.phase, candidate.state)
    return " ".join(parts).lower()
