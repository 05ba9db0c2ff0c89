"""Every candidate of a run as the screens show it: a pure fold of the events, in maps that share what does not change.

A hundred thousand candidates cost what one does to bring up to date. This module must not know Textual, nor any clock.
"""

from __future__ import annotations

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
    inherited: WeightsInherited | None = None
    is_control: bool = False
    reason: str = ""
    trainings: tuple[JobFinished, ...] = ()

    @property
    def residual(self) -> float | None:
        return None if self.inherited is None else finite(self.inherited.residual)

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


class Draft:
    """Candidates while events change them one by one: new maps for each event would take most of the time."""

    def __init__(self, before: Candidates) -> None:
        self._before = before
        self._by_id, self._order = before.by_id.mutate(), before.order.mutate()
        self._finished, self._children = before.finished.mutate(), before.children.mutate()
        self._is_changed = False

    @property
    def count_finished(self) -> int:
        return len(self._finished)

    def candidates(self) -> Candidates:
        """As they are now, which ends the draft; a map that is as it was before is the same one."""
        before = self._before
        if not self._is_changed:
            return before
        has_more, has_outcomes = len(self._order) > len(before.order), len(self._finished) > len(before.finished)
        return Candidates(
            self._by_id.finish(),
            self._order.finish() if has_more else before.order,
            self._finished.finish() if has_outcomes else before.finished,
            self._children.finish() if has_more else before.children,
        )

    def take(self, story: Story, event: Event) -> None:
        """Follow an event that follows `story`; what is stale there changes nothing."""
        match event:
            case CandidateProposed():
                self._add(event, is_control=story.is_control(event))
            case NetworkGiven():
                self._add(event, state="given", ap=finite(event.ap), reason=event.source)
            case JobAssigned():
                self._change(event.subject_id, when="proposed", state="training")
            case WeightsInherited():
                if story.live_job(event) is not None:
                    self._change(event.child_id, inherited=event)
            case JobFinished():
                self._finish(story, event)
            case JobFailed() | JobCancelled():
                job = story.jobs.get(event.job_id)
                if job is not None and job.attempt == event.attempt:
                    self._change(job.subject_id, when="training", state="proposed")  # another attempt may follow
            case CandidateRuledOut():
                self._change(event.candidate_id, state="ruled out", reason=event.limit)
            case CandidateAbandoned():
                self._change(event.candidate_id, state="abandoned", reason=event.fault)

    def _add(self, event: CandidateProposed | NetworkGiven, **more: Any) -> None:
        if event.candidate_id in self._by_id:
            return
        parent_id = event.parent_id if event.parent_id in self._by_id else None
        siblings = self._children.get(parent_id, Map())
        self._children[parent_id] = siblings.set(len(siblings), event.candidate_id)
        self._order[len(self._order)] = event.candidate_id
        self._put(
            Candidate(
                event.candidate_id,
                event.code,
                event.step,
                event.phase,
                event.parent_id,
                event.morphisms,
                event.params,
                event.flops,
                event.base_width,
                event.block_ids,
                **more,
            )
        )

    def _finish(self, story: Story, event: JobFinished) -> None:
        job = story.live_job(event)
        candidate = None if job is None else self._by_id.get(job.subject_id)
        if job is None or candidate is None or job.subject_id not in story.candidates:
            return
        trainings = (*candidate.trainings, event)
        memory = [one.peak_memory_bytes for one in trainings if one.peak_memory_bytes is not None]
        latencies = [one.latency_ms for one in trainings if one.latency_ms is not None]
        aps = story.aps_with(job, event)
        if aps is not None:
            self._finished[len(self._finished)] = candidate.candidate_id
        self._put(
            candidate._replace(
                trainings=trainings,
                params=event.params or candidate.params,
                flops=event.flops or candidate.flops,
                memory_bytes=max(memory, default=None),
                latency_ms=mean(latencies) if latencies else None,
                state=candidate.state if aps is None else "trained",
                ap=candidate.ap if aps is None else mean(aps),
            )
        )

    def _change(self, candidate_id: str, when: State | None = None, **changes: Any) -> None:
        candidate = self._by_id.get(candidate_id)
        if candidate is not None and when in (None, candidate.state):
            self._put(candidate._replace(**changes))

    def _put(self, candidate: Candidate) -> None:
        self._by_id[candidate.candidate_id] = candidate
        self._is_changed = True
