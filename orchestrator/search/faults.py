"""What becomes of a training that failed: tried again, and how, or given up.

| fault | policy |
| --- | --- |
| out_of_memory | again with half the batch, gradients of two halves added; then on another device; then given up |
| non_finite | again from another seed, once |
| crash, hang, bug | again after a pause, twice for a crash |
| lost_device | again elsewhere or on the device's next worker; the network is not to blame, but three times is enough |
| broken_promise | given up at once: it would fail again |
| cancelled | given up at once: somebody asked for it |
| checkpoint | a file that is missing or damaged is made again by the training that made it (`weights`), twice |
| disk_full | again after a pause, four times; then the run stops. (Weights wait in the worker until there is room.) |
| data | the run stops until somebody has mended what is missing or damaged; a reignition is given up |

Where candidates fail for good one after another, it is not the networks: the run stops and says so.
"""

from __future__ import annotations

from collections.abc import Collection

from lineage.events import Fault
from orchestrator.search.state import Job

ATTEMPTS: dict[Fault, int] = {
    "out_of_memory": 3,
    "non_finite": 2,
    "crash": 3,
    "hang": 2,
    "bug": 2,
    "lost_device": 3,
    "broken_promise": 1,
    "cancelled": 1,
    "checkpoint": 3,
    "disk_full": 5,
}
"""Trainings of one job that may end so before it is given up."""

MENDED_BY_USER: tuple[Fault, ...] = ("data", "checkpoint", "disk_full")

MAX_FAILURES = 4  # of one job, whatever the faults
MAX_ABANDONED = 5  # candidates in a row, before the run stops
PAUSE_S = 2.0  # before the first new attempt after a crash; doubled for each further one


def is_final(job: Job, devices: Collection[str]) -> bool:
    """Whether a failed job is given up; `devices` are those that could take it."""
    if job.status != "failed" or job.fault is None or stops_the_run(job):
        return False
    same = [failure for failure in job.failures if failure.fault == job.fault]
    if job.fault == "out_of_memory" and len(same) > 1 and not devices_for(job, devices):
        return True
    blamed = [failure for failure in job.failures if failure.fault not in MENDED_BY_USER]
    return len(same) >= ATTEMPTS.get(job.fault, 1) or len(blamed) >= MAX_FAILURES


def stops_the_run(job: Job) -> bool:
    """Whether nothing goes on before somebody has mended what the job needs."""
    if job.status != "failed":
        return False
    if job.fault in ("checkpoint", "disk_full"):
        same = [failure for failure in job.failures if failure.fault == job.fault]
        return (job.fault == "checkpoint" and job.lost is None) or len(same) >= ATTEMPTS[job.fault]
    return job.fault == "data" and job.kind != "reignite"


def devices_for(job: Job, devices: Collection[str]) -> list[str]:
    """Devices that may take the next attempt: all of them, until half the batch was too much for one."""
    too_small = [failure.device for failure in job.failures if failure.fault == "out_of_memory"]
    return [device for device in devices if len(too_small) < 2 or device not in too_small]


def batch_parts(job: Job | None) -> int:
    """Parts that a batch of the next attempt is split into, their gradients added."""
    return 2 if job and any(failure.fault == "out_of_memory" for failure in job.failures) else 1


def pause_s(job: Job | None) -> float:
    """Seconds before the next attempt."""
    crashes = (
        [failure for failure in job.failures if failure.fault in ("crash", "hang", "bug", "disk_full")] if job else []
    )
    return PAUSE_S * 2 ** (len(crashes) - 1) if crashes else 0.0
