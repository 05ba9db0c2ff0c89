"""Every candidate of a run as the screens show it: a pure fold of the events, in maps that share what does not change.

A hundred thousand candidates cost what one does to bring up to date. This module must not know Textual, nor any clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from immutables import Map

from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    CandidateRuledOut,
    Event,
    JobAssigned,
    JobCancelled,
    JobFailed,
    JobFinished,
    NetworkGiven,
    WeightsInherited,
)
from lineage.measurements import finite, mean
from lineage.story import Story

State = Literal["given", "proposed", "training", "trained", "ruled out", "abandoned"]


class Candidate(NamedTuple):
    """A network of the run, or one that was given to it.

    `ap` is the mean of its trainings, or of a given one what was recorded elsewhere. `params` and `flops` are predicted
    until they are measured. `residual` and the tensor counts say what it took over from its parent.
    """

    candidate_id: str
    code: str
    step: str
    phase: str
    parent_id: str | None
    morphisms: tuple[str, ...]
    params: int
    flops: int
    base_width: int
    block_ids: tuple[tuple[str, ...], ...]
    state: State = "proposed"
    ap: float | None = None
    memory_bytes: int | None = None
    latency_ms: float | None = None
    residual: float | None = None
    inherited: WeightsInherited | None = None
    is_control: bool = False
    reason: str = ""
    trainings: tuple[JobFinished, ...] = ()

    @property
    def share_inherited(self) -> float | None:
        """Share of its tensors that are its parent's, whole or in part; 0 to 1."""
        if self.inherited is None:
            return None
        kept = self.inherited.tensors_copied + self.inherited.tensors_adapted
        return kept / max(1, kept + self.inherited.tensors_new)


class Candidates(NamedTuple):
    """By id; `order` by number of proposal, `finished` by number of outcome, `children` in the order of proposal."""

    by_id: Map[str, Candidate] = Map()
    order: Map[int, str] = Map()
    finished: Map[int, str] = Map()
    children: Map[str | None, Map[int, str]] = Map()

    def get(self, candidate_id: str | None) -> Candidate | None:
        return None if candidate_id is None else self.by_id.get(candidate_id)

    def children_of(self, candidate_id: str | None) -> list[str]:
        """Ids in the order of proposal; of None: those without a parent here."""
        below = self.children.get(candidate_id, Map())
        return [below[number] for number in range(len(below))]


def follow(candidates: Candidates, story: Story, event: Event) -> Candidates:
    """The candidates after an event that follows `story`; what is stale there changes nothing."""
    handler = _HANDLERS.get(type(event))
    return candidates if handler is None else handler(candidates, story, event)


def _proposed(candidates: Candidates, story: Story, event: CandidateProposed) -> Candidates:
    return _added(candidates, event, is_control=story.is_control(event))


def _given(candidates: Candidates, story: Story, event: NetworkGiven) -> Candidates:
    return _added(candidates, event, state="given", ap=finite(event.ap), reason=event.source)


def _added(candidates: Candidates, event: CandidateProposed | NetworkGiven, **more: Any) -> Candidates:
    if event.candidate_id in candidates.by_id:
        return candidates
    candidate = Candidate(
        candidate_id=event.candidate_id,
        code=event.code,
        step=event.step,
        phase=event.phase,
        parent_id=event.parent_id,
        morphisms=event.morphisms,
        params=event.params,
        flops=event.flops,
        base_width=event.base_width,
        block_ids=event.block_ids,
        **more,
    )
    parent_id = event.parent_id if event.parent_id in candidates.by_id else None
    siblings = candidates.children.get(parent_id, Map())
    return candidates._replace(
        by_id=candidates.by_id.set(event.candidate_id, candidate),
        order=candidates.order.set(len(candidates.order), event.candidate_id),
        children=candidates.children.set(parent_id, siblings.set(len(siblings), event.candidate_id)),
    )


def _assigned(candidates: Candidates, story: Story, event: JobAssigned) -> Candidates:
    candidate = candidates.get(event.subject_id)
    if candidate is None or candidate.state != "proposed":
        return candidates
    return _with(candidates, candidate._replace(state="training"))


def _inherited(candidates: Candidates, story: Story, event: WeightsInherited) -> Candidates:
    candidate = candidates.get(event.child_id)
    if candidate is None or story.live_job(event) is None:
        return candidates
    return _with(candidates, candidate._replace(inherited=event, residual=finite(event.residual)))


def _finished(candidates: Candidates, story: Story, event: JobFinished) -> Candidates:
    job = story.live_job(event)
    candidate = None if job is None else candidates.get(job.subject_id)
    if job is None or candidate is None or job.subject_id not in story.candidates:
        return candidates
    trainings = (*candidate.trainings, event)
    memory = [one.peak_memory_bytes for one in trainings if one.peak_memory_bytes is not None]
    latencies = [one.latency_ms for one in trainings if one.latency_ms is not None]
    aps = story.aps_with(job, event)
    candidate = candidate._replace(
        trainings=trainings,
        params=event.params or candidate.params,
        flops=event.flops or candidate.flops,
        memory_bytes=max(memory, default=None),
        latency_ms=mean(latencies) if latencies else None,
        state=candidate.state if aps is None else "trained",
        ap=candidate.ap if aps is None else mean(aps),
    )
    if aps is None:
        return _with(candidates, candidate)
    finished = candidates.finished.set(len(candidates.finished), candidate.candidate_id)
    return _with(candidates, candidate)._replace(finished=finished)


def _ended(candidates: Candidates, story: Story, event: JobFailed | JobCancelled) -> Candidates:
    """An attempt that came to nothing: another may follow."""
    job = story.jobs.get(event.job_id)
    candidate = None if job is None else candidates.get(job.subject_id)
    if job is None or job.attempt != event.attempt or candidate is None or candidate.state != "training":
        return candidates
    return _with(candidates, candidate._replace(state="proposed"))


def _ruled_out(candidates: Candidates, story: Story, event: CandidateRuledOut) -> Candidates:
    candidate = candidates.get(event.candidate_id)
    return (
        candidates
        if candidate is None
        else _with(candidates, candidate._replace(state="ruled out", reason=event.limit))
    )


def _abandoned(candidates: Candidates, story: Story, event: CandidateAbandoned) -> Candidates:
    candidate = candidates.get(event.candidate_id)
    return (
        candidates
        if candidate is None
        else _with(candidates, candidate._replace(state="abandoned", reason=event.fault))
    )


def _with(candidates: Candidates, candidate: Candidate) -> Candidates:
    return candidates._replace(by_id=candidates.by_id.set(candidate.candidate_id, candidate))


_HANDLERS: dict[type, Callable[[Candidates, Story, Any], Candidates]] = {
    CandidateProposed: _proposed,
    NetworkGiven: _given,
    JobAssigned: _assigned,
    WeightsInherited: _inherited,
    JobFinished: _finished,
    JobFailed: _ended,
    JobCancelled: _ended,
    CandidateRuledOut: _ruled_out,
    CandidateAbandoned: _abandoned,
}
