"""Which weights a training begins with, what is done where they are gone, and which may go.

Weights go because the configuration bounds what is kept (`general.keep_checkpoints`, `general.disk_quota`), or are lost:
their file is missing or damaged. Either way they are made again, from the same seed, once a training needs them; the results
they belong to stay what they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import le

from lineage.events import CheckpointDeleted, Resource
from orchestrator.search.proposal import finished, is_control
from orchestrator.search.state import Candidate, Job, SearchState, job_id_of, rank

Training = tuple[str, int]
"""A subject, and the number of its training."""


def jobs_of(state: SearchState, subject_id: str) -> Iterator[tuple[int, Job | None]]:
    """Every training of a subject: its number and its job, if it was assigned once."""
    for repeat in range(1, state.subject(subject_id).seeds + 1):
        yield repeat, state.jobs.get(job_id_of(subject_id, repeat))


def wanted(state: SearchState) -> list[Training]:
    """Trainings to begin, in order; before one whose weights to begin with are gone, those that make them again."""
    found: list[Training] = []
    for subject_id in state.open_subjects:
        for repeat, job in jobs_of(state, subject_id):
            if job is None or job.status not in ("running", "finished"):
                found += [one for one in _possible(state, (subject_id, repeat)) if one not in found]
    return found


def _possible(state: SearchState, training: Training) -> Iterator[Training]:
    """The training, or those of its ancestors that have to come first and do not run yet."""
    missing = [owner_of(state, checkpoint) for checkpoint in needs(state, training[0]) & state.gone]
    if not missing:
        yield training
    for owner in missing:
        if owner is not None and state.jobs[job_id_of(*owner)].status != "running":
            yield from _possible(state, owner)


def needs(state: SearchState, subject_id: str) -> frozenset[str]:
    """Checkpoints that a training of a subject begins with."""
    reignition = state.reignitions.get(subject_id)
    if reignition is not None:
        found = [state.candidates[reignition.candidate_id].checkpoint]
    else:
        candidate = state.candidates[subject_id]
        parent, lit = (
            state.candidates.get(candidate.parent_id or ""),
            state.reignitions.get(candidate.reignition_id or ""),
        )
        found = [one.checkpoint for one in (parent, lit) if one is not None]
    return frozenset(checkpoint for checkpoint in found if checkpoint is not None)


def kept(state: SearchState) -> dict[str, str | None]:
    """Checkpoints that the run should have, and the candidate or reignition that made each (None: it was given)."""
    found: dict[str, str | None] = {}
    for candidate in state.candidates.values():
        if candidate.outcome == "given" and candidate.checkpoint is not None:
            found[candidate.checkpoint] = None
        found |= {one.checkpoint: candidate.candidate_id for one in candidate.measurements.values()}
    found |= {one.checkpoint: name for name, one in state.reignitions.items() if one.checkpoint is not None}
    return {checkpoint: subject for checkpoint, subject in found.items() if checkpoint not in state.deleted}


def owner_of(state: SearchState, checkpoint: str) -> Training | None:
    """The training that made a checkpoint and can make it again; None: it was given, or nobody knows it."""
    for candidate in state.candidates.values():
        for repeat, measurement in candidate.measurements.items():
            if measurement.checkpoint == checkpoint:
                return candidate.candidate_id, repeat
    for reignition in state.reignitions.values():
        if reignition.checkpoint == checkpoint:
            return reignition.reignition_id, 1
    return None


@dataclass(frozen=True, slots=True)
class _Held:
    """Weights on the disk that a training of this run made; `place` of a candidate among all results, 0 for the best."""

    checkpoint: str
    subject_id: str
    size_bytes: int
    place: float = float("inf")  # of what nothing begins with: it goes first


def deletions(state: SearchState) -> tuple[CheckpointDeleted, ...]:
    """Weights that go now, the least useful first."""
    assert state.config is not None
    keep, quota = state.config.general.keep_checkpoints, state.config.general.disk_quota
    if keep is None and quota is None:
        return ()
    held = _held(state)
    excess = sum(one.size_bytes for one in held) - quota if quota is not None else 0
    if excess <= 0 and (keep is None or all(one.place < keep for one in held)):
        return ()
    needed, gone = _needed(state), []
    for one in sorted(held, key=lambda one: -one.place):
        if one.checkpoint in needed:
            continue
        if excess > 0 or (keep is not None and one.place >= keep):
            gone.append(CheckpointDeleted(checkpoint=one.checkpoint, subject_id=one.subject_id))
            excess -= one.size_bytes
    return tuple(gone)


def _held(state: SearchState) -> list[_Held]:
    results = sorted((one for one in state.candidates.values() if _may_be_parent(state, one)), key=rank)
    places = {one.candidate_id: place for place, one in enumerate(results)}
    found = []
    for candidate in state.candidates.values():
        for one in candidate.measurements.values() if candidate.outcome == "done" else ():
            place = places.get(candidate.candidate_id) if one.checkpoint == candidate.checkpoint else None
            size = one.checkpoint_bytes or 0
            found.append(_Held(one.checkpoint, candidate.candidate_id, size, float("inf") if place is None else place))
    found += [
        _Held(lit.checkpoint, lit.reignition_id, lit.checkpoint_bytes or 0)
        for lit in state.reignitions.values()
        if lit.checkpoint is not None
    ]
    return [one for one in found if one.checkpoint not in state.gone]


def _may_be_parent(state: SearchState, candidate: Candidate) -> bool:
    return candidate.is_result and not is_control(state, candidate.candidate_id)


def _needed(state: SearchState) -> set[str]:
    """Checkpoints of what is trained now, may be a parent next, is on the Pareto front, or is a result of the run."""
    needed: set[str] = set()
    subjects = list(state.open_subjects)
    for subject_id in subjects:  # and whatever has to be trained again before
        needed |= needs(state, subject_id)
        owners = [owner_of(state, checkpoint) for checkpoint in needs(state, subject_id) & state.gone]
        subjects += [owner[0] for owner in owners if owner is not None]
    used = {one.reignition_id for one in state.candidates.values()}
    needed |= {one.checkpoint for name, one in state.reignitions.items() if one.checkpoint and name not in used}
    ids = {done.best_candidate_id for done in state.finished_steps} | set(state.given.values())
    if state.current_step is not None:
        ids |= _next_parents(state)
    ids |= {one.candidate_id for one in pareto_front(state)}
    ids |= {name for name, one in state.candidates.items() if one.phase == "fullytrain"}
    return needed | {found for name in ids if name is not None and (found := state.candidates[name].checkpoint)}


def _next_parents(state: SearchState) -> set[str | None]:
    """What the current step may draw from, reignite or hand on: as far back as proposals look."""
    own = [state.candidates[item] for item in state.items if item in state.candidates]
    results = sorted((one for one in own if _may_be_parent(state, one)), key=rank)
    ids: set[str | None] = {state.origin.candidate_id} if state.origin is not None else set()
    if state.step.search_algorithm is None or not results:
        return ids | {one.candidate_id for one in results}
    newest = max(one.ignition for one in results)
    family = [one for one in results if one.ignition == newest]
    ids |= {one.candidate_id for one in family[: state.step.search.max_optimal + state.window]}
    return ids | {finished(state, "").best_candidate_id, results[0].candidate_id}


def pareto_front(state: SearchState) -> list[Candidate]:
    """Results of the search that no other beats in AP and all objectives at once, best AP first."""
    assert state.config is not None
    objectives = state.config.general.objectives
    front: list[tuple[Candidate, list[float]]] = []
    for candidate in sorted(state.candidates.values(), key=rank):  # so whoever is on the front has no lower AP
        if candidate.phase not in ("serial", "parallel") or not _may_be_parent(state, candidate):
            continue
        costs = [_cost(candidate, objective) for objective in objectives]
        if not any(
            all(map(le, theirs, costs)) and (better.ap > candidate.ap or theirs != costs) for better, theirs in front
        ):
            front.append((candidate, costs))
    return [candidate for candidate, _ in front]


def _cost(candidate: Candidate, objective: Resource) -> float:
    measured = candidate.measurements.values()
    match objective:
        case "flops":
            return candidate.flops
        case "params":
            return candidate.params
        case "memory":
            return max((one.peak_memory_bytes or float("inf") for one in measured), default=float("inf"))
    return float("inf") if candidate.latency_ms is None else candidate.latency_ms
