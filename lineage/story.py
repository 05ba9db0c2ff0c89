"""The story so far: what a line about an event needs to know beside it, and what the screen needs to show.

A pure fold of the events that holds what has no outcome yet and the best `LEADERS` results, so it stays small in a long
run. A job's report is stale, and changes nothing, when the job is not in flight or another attempt was assigned since.
This module must not know who tells the story, nor any clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from lineage.events import (
    CandidateAbandoned,
    CandidateProposed,
    CandidateRuledOut,
    EpochFinished,
    JobAssigned,
    JobCancelled,
    JobFailed,
    JobFinished,
    JobKind,
    NetworkGiven,
    PhaseFinished,
    Recorded,
    ReignitionAbandoned,
    ReignitionProposed,
    RunFinished,
    RunResumed,
    RunStarted,
    RunStopped,
    WeightsInherited,
)
from lineage.measurements import finite, mean

LEADERS = 50

_Value = TypeVar("_Value")
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Job(NamedTuple):
    """A job in flight and its last report; training `repeat` of `repeats`. `ap` is the accuracy for kind reignite."""

    job_id: str
    kind: JobKind
    subject_id: str
    device: str
    attempt: int
    started: datetime
    repeat: int = 1
    repeats: int = 1
    epoch: int = 0
    epochs: int | None = None
    loss: float | None = None
    ap: float | None = None
    inherited: WeightsInherited | None = None
    is_restoring: bool = False  # its result is known; what it trains again are weights that are gone


class Leader(NamedTuple):
    """A trained candidate as the leaderboard ranks it: by AP, and by FLOPs where APs are equal."""

    candidate_id: str
    code: str
    ap: float
    params: int
    flops: int
    phase: str
    parent_id: str | None
    morphisms: tuple[str, ...]

    @property
    def rank(self) -> tuple[float, int, str]:
        return -self.ap, self.flops, self.candidate_id


class Story(NamedTuple):
    """What has begun and has no outcome yet, by id; the best results; what was refused in each step.

    `aps` are those of the trainings that are over, by number, of a candidate that has others to come. `given` are the
    ids of networks that nobody trained in this run.
    """

    run_id: str = ""
    simulated: bool = False
    given: frozenset[str] = frozenset()
    candidates: Mapping[str, CandidateProposed] = _NOTHING
    aps: Mapping[str, Mapping[int, float | None]] = _NOTHING
    reignitions: Mapping[str, ReignitionProposed] = _NOTHING
    jobs: Mapping[str, Job] = _NOTHING
    leaders: tuple[Leader, ...] = ()
    refused: Mapping[str, Mapping[str, int]] = _NOTHING

    def live_job(self, event: WeightsInherited | EpochFinished | JobFinished | JobFailed) -> Job | None:
        """The job an event speaks of; None when the event is stale."""
        job = self.jobs.get(event.job_id)
        return job if job is not None and job.attempt == event.attempt else None

    def is_control(self, candidate: CandidateProposed) -> bool:
        """Whether a candidate is its parent trained further, for the parent's children to be compared with."""
        return candidate.morphisms == ("continue",) and candidate.parent_id not in self.given

    def aps_with(self, job: Job, event: JobFinished) -> list[float | None] | None:
        """AP of every training of the job's candidate, if `event` is the last of them."""
        if job.repeats == 1:
            return [event.ap]
        aps = {**self.aps.get(job.subject_id, {}), job.repeat: event.ap}
        wanted = range(1, job.repeats + 1)
        return [aps[repeat] for repeat in wanted] if all(repeat in aps for repeat in wanted) else None

    def leader(self, job: Job, event: JobFinished) -> Leader | None:
        """The candidate as it will be ranked, if `event` is its last training's and it has an AP; controls are not."""
        candidate, aps = self.candidates.get(job.subject_id), self.aps_with(job, event)
        ap = None if aps is None else mean(aps)
        if candidate is None or ap is None or self.is_control(candidate):
            return None
        return Leader(
            candidate_id=candidate.candidate_id,
            code=candidate.code,
            ap=ap,
            params=event.params or candidate.params,
            flops=event.flops or candidate.flops,
            phase=candidate.phase,
            parent_id=candidate.parent_id,
            morphisms=candidate.morphisms,
        )

    @property
    def best(self) -> Leader | None:
        return self.leaders[0] if self.leaders else None


def advance(story: Story, recorded: Recorded) -> Story:
    """The story after one more event. Pure; unknown jobs and stale attempts change nothing."""
    match recorded.event:  # most of them are told by workers
        case WeightsInherited() | EpochFinished() | JobFailed() | JobFinished() as event:
            reporting = story.live_job(event)
            return story if reporting is None else _reported(story, reporting, event)
        case JobAssigned() as event:
            return _assigned(story, event, recorded.ts)
        case RunStarted() as event:
            return Story(run_id=event.run_id, simulated=event.simulated)
        case RunResumed() | RunStopped() | RunFinished():
            return story._replace(jobs={})
        case NetworkGiven() as event:
            return story._replace(given=story.given | {event.candidate_id})
        case CandidateProposed() as event:
            return _refused(story._replace(candidates={**story.candidates, event.candidate_id: event}), event)
        case PhaseFinished() as event:
            return _refused(story, event)
        case CandidateRuledOut() | CandidateAbandoned() as event:
            leaders = tuple(one for one in story.leaders if one.candidate_id != event.candidate_id)
            if isinstance(event, CandidateRuledOut):
                return story._replace(leaders=leaders)
            return _without_candidate(story, event.candidate_id, leaders=leaders)
        case ReignitionProposed() as event:
            return story._replace(reignitions={**story.reignitions, event.reignition_id: event})
        case ReignitionAbandoned() as event:
            return story._replace(reignitions=_without(story.reignitions, event.reignition_id))
        case JobCancelled() as event:
            return story._replace(jobs=_without(story.jobs, event.job_id))
    return story


def _refused(story: Story, event: CandidateProposed | PhaseFinished) -> Story:
    counts = dict(story.refused.get(event.step, {}))
    for reason, more in event.refused.items():
        counts[reason] = counts.get(reason, 0) + more
    return story._replace(refused={**story.refused, event.step: counts}) if event.refused else story


def _assigned(story: Story, event: JobAssigned, now: datetime) -> Story:
    candidate = story.candidates.get(event.subject_id)
    is_restoring = candidate is None and event.subject_id not in story.reignitions
    job = Job(
        event.job_id,
        event.job_kind,
        event.subject_id,
        event.device,
        event.attempt,
        now,
        event.repeat,
        candidate.seeds if candidate else event.repeat,
        is_restoring=is_restoring,
    )
    return _with_job(story, job)


def _reported(story: Story, job: Job, event: WeightsInherited | EpochFinished | JobFinished | JobFailed) -> Story:
    if isinstance(event, WeightsInherited):
        return _with_job(story, job._replace(inherited=event))
    if isinstance(event, EpochFinished):
        ap = job.ap if event.ap is None else event.ap
        return _with_job(story, job._replace(epoch=event.epoch, epochs=event.epochs, loss=event.loss, ap=ap))
    jobs = _without(story.jobs, job.job_id)
    if isinstance(event, JobFailed):
        return story._replace(jobs=jobs)
    if job.kind == "reignite":
        return story._replace(jobs=jobs, reignitions=_without(story.reignitions, job.subject_id))
    if job.subject_id not in story.candidates:
        return story._replace(jobs=jobs)
    if story.aps_with(job, event) is None:
        aps = {**story.aps.get(job.subject_id, {}), job.repeat: finite(event.ap)}
        return story._replace(jobs=jobs, aps={**story.aps, job.subject_id: aps})
    leader = story.leader(job, event)
    leaders = story.leaders if leader is None else _ranked(story.leaders, leader)
    return _without_candidate(story, job.subject_id, jobs=jobs, leaders=leaders)


def _ranked(leaders: tuple[Leader, ...], leader: Leader) -> tuple[Leader, ...]:
    if len(leaders) == LEADERS and leaders[-1].rank < leader.rank:
        return leaders
    place = bisect_right(leaders, leader.rank, key=lambda one: one.rank)
    return (*leaders[:place], leader, *leaders[place:])[:LEADERS]


def _with_job(story: Story, job: Job) -> Story:
    return story._replace(jobs={**story.jobs, job.job_id: job})


def _without_candidate(story: Story, candidate_id: str, **more: Any) -> Story:
    candidates, aps = _without(story.candidates, candidate_id), _without(story.aps, candidate_id)
    return story._replace(candidates=candidates, aps=aps, **more)


def _without(values: Mapping[str, _Value], key: str) -> Mapping[str, _Value]:
    return values if key not in values else {name: value for name, value in values.items() if name != key}
