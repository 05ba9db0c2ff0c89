"""A search that a test leads from report to report."""

from __future__ import annotations

from given import configuration, folded, of, run_started

from lineage.events import Event, Fault, JobAssigned, JobFailed, JobFinished, WorkerStarted
from orchestrator.search.decide import plan

DEVICES = ("d:0", "d:1", "d:2")


def failed(assigned: JobAssigned, fault: Fault) -> JobFailed:
    return JobFailed(job_id=assigned.job_id, attempt=assigned.attempt, fault=fault, message=f"{fault} happened")


class Search:
    """A search in which one candidate is done and the next ones train."""

    def __init__(self, devices: tuple[str, ...] = DEVICES, trained: int = 1, **config: object) -> None:
        started = run_started(configuration(max_sample=30, **config), slots=len(devices), window=len(devices))
        self.log: list[Event] = [started, *(WorkerStarted(device=device, name="") for device in devices)]
        self.decide()
        for number in range(1, trained + 1):
            self.report(JobFinished(job_id=f"j-s-{number:04d}", attempt=1, checkpoint="c", ap=0.1))

    def decide(self) -> list[Event]:
        intents = plan(folded(self.log))
        self.log += intents
        return intents

    def report(self, *events: Event) -> list[Event]:
        self.log += events
        return self.decide()

    def running(self, subject: str) -> JobAssigned:
        return [event for event in of(self.log, JobAssigned) if event.subject_id == subject][-1]

    def fail(self, subject: str, fault: Fault) -> list[Event]:
        return self.report(failed(self.running(subject), fault))
