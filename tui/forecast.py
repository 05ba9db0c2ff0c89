"""How long a run will still take, judged by what its trainings took so far. Pure."""

from __future__ import annotations

from datetime import datetime

from tui.phases import PhaseView
from tui.view_models import SearchView


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
