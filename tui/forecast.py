"""How far a run is, and how long it will still take, judged by what its trainings took so far. Pure."""

from __future__ import annotations

from datetime import datetime

from tui.phases import PhaseView
from tui.view_models import SearchView


def fraction(view: SearchView, phase: PhaseView) -> float:
    """How much of a phase is done, 0 to 1, counting the epochs of trainings that its candidates have behind them."""
    if phase.state == "done":
        return 1.0
    story = view.story
    ongoing = [one for one in story.candidates.values() if one.step == phase.step and not story.is_control(one)]
    parts = {one.candidate_id: len(story.aps.get(one.candidate_id, {})) / one.seeds for one in ongoing}
    for job in story.jobs.values():
        if job.epochs and job.subject_id in parts:
            parts[job.subject_id] += job.epoch / job.epochs / job.repeats
    return min(1.0, (phase.trained + phase.abandoned + sum(parts.values())) / phase.total) if phase.total else 0.0


def seconds_left(view: SearchView, now: datetime) -> float | None:
    """Of the whole run, without reignitions to come; None while nothing is known, or where a step has no end in sight.

    Every epoch still to come takes the mean of those behind; a search shares the devices, a full training has one.
    """
    if not view.is_live or view.epochs == 0 or view.busy_s == 0:
        return None
    epoch_s, left_s = view.busy_s / view.epochs, 0.0
    for phase in view.phases:
        if phase.state == "done":
            continue
        candidates = 1 if phase.is_single else phase.max_sample
        if candidates is None:
            return None
        to_do = (candidates - phase.trained - phase.abandoned) * phase.epochs - _behind(view, phase, epoch_s, now)
        left_s += max(0.0, to_do) * epoch_s / (1 if phase.is_single else view.slots)
    return left_s


def _behind(view: SearchView, phase: PhaseView, epoch_s: float, now: datetime) -> float:
    """Epochs that trainings in flight have behind them, the running one by the time it has taken."""
    epochs = 0.0
    for job in view.story.jobs.values():
        candidate = view.story.candidates.get(job.subject_id)
        if candidate is not None and candidate.step == phase.step:
            by_time = (now - job.started).total_seconds() / epoch_s
            epochs += max(job.epoch, min(by_time, job.epoch + 1, phase.epochs))
    return epochs
