"""The loop that drives a search: intents are recorded, then carried out; reports are recorded, then decided upon.

All decisions are `orchestrator.search.decide`; all effects are the executor's. A listener hears of an event only after
it is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime

from lineage.errors import StoreFull
from lineage.events import (
    CandidateAbandoned,
    CheckpointDeleted,
    EpochFinished,
    Event,
    JobAssigned,
    JobCancelled,
    JobFailed,
    JobFinished,
    Recorded,
    RecordingDelayed,
    ReignitionAbandoned,
    RunStopped,
    StopRequested,
    WeightsInherited,
)
from lineage.writer import EventWriter
from orchestrator.errors import InfrastructureError
from orchestrator.executors import Executor
from orchestrator.search.decide import plan
from orchestrator.search.evolve import evolve, is_current
from orchestrator.search.state import SearchState

Listener = Callable[[Recorded], None]

Request = Callable[[SearchState], Event]
"""What somebody asks for: given what the run knows as it is recorded, the event that answers."""

ROOM_S = 2.0  # between two looks for room on a full disk

_log = logging.getLogger(__name__)


class Runtime:
    """Drives one run from `state` until it is over or asked to stop; then `state` is the last state."""

    def __init__(
        self,
        state: SearchState,
        writer: EventWriter,
        executor: Executor,
        now: Callable[[], datetime],
        room_s: float = ROOM_S,
    ) -> None:
        self.state = state
        self.listeners: list[Listener] = []
        self.is_asked_to_stop = False
        self._failing: set[Listener] = set()
        self._asked: list[tuple[Request, asyncio.Future[Recorded]]] = []
        self._is_asked = asyncio.Event()
        self._writer = writer
        self._executor = executor
        self._now = now
        self._room_s = room_s

    async def run(self, first: Sequence[Event]) -> SearchState:
        """Record `first` (the run's start or resumption), then search. Workers are ended whatever happens."""
        try:
            await self._advance(first)
            await self._executor.start()
            while self.state.status == "running":
                await self._advance(await self._reports() or ())
            if self.state.status == "stopping":
                await self._wind_down()
        finally:
            for _, answer in self._asked:
                answer.cancel()
            await self._executor.close()
        return self.state

    def ask(self, request: Request) -> asyncio.Future[Recorded]:
        """Record the event that answers what somebody asks for, and decide upon it, as soon as the loop comes to it.

        The answer is cancelled if the run is over before.
        """
        answer = asyncio.get_running_loop().create_future()
        self._asked.append((request, answer))
        self._is_asked.set()
        return answer

    def ask_to_stop(self, by: str) -> asyncio.Future[Recorded]:
        """Let trainings finish their epoch, and stop."""
        self.is_asked_to_stop = True
        return self.ask(lambda _: StopRequested(by=by))

    async def _reports(self) -> list[Event] | None:
        """Reports, as soon as there are any (none: all is drained); None if somebody asked for something before."""
        reports = asyncio.ensure_future(self._executor.reports())
        asked = asyncio.ensure_future(self._is_asked.wait())
        try:
            await asyncio.wait({reports, asked}, return_when=asyncio.FIRST_COMPLETED)
            return reports.result() if reports.done() else None
        finally:
            for task in (reports, asked):
                task.cancel()
            await asyncio.gather(reports, asked, return_exceptions=True)

    async def _wind_down(self) -> None:
        """Let every training come to the end of its epoch; what they report counts."""
        self._executor.drain()
        while (reports := await self._reports()) != []:
            await self._advance(reports or ())
        await self._record([RunStopped(reason="interrupted")])

    async def _advance(self, reports: Sequence[Event]) -> None:
        """Record what is new, what answers requests, and what follows, in one transaction; then carry it out."""
        state, news = self.state, []
        for report in reports:
            if _is_news(state, report):
                news.append(report)
                state = evolve(state, report)
        asked, self._asked = self._asked, []
        self._is_asked.clear()
        for request, _ in asked:
            news.append(request(state))
            state = evolve(state, news[-1])
        intents = plan(state)
        recorded = await self._record([*news, *intents])
        for (_, answer), one in zip(asked, recorded[len(news) - len(asked) :], strict=False):
            if not answer.done():
                answer.set_result(one)
        for event in (*news, *intents):
            if isinstance(event, JobAssigned):
                self._executor.assign(self.state, event)
            elif isinstance(event, CheckpointDeleted):
                self._executor.delete(event.checkpoint)
            elif isinstance(event, JobCancelled):
                self._executor.cancel(event.job_id)
        for job_id in _ended(self.state, (*news, *intents)):
            self._executor.forget(job_id)

    async def _record(self, events: Sequence[Event]) -> list[Recorded]:
        appended = await self._appended(events) if events else []
        for recorded in appended:
            self.state = evolve(self.state, recorded.event)
            for listener in self.listeners:
                try:
                    listener(recorded)
                except Exception as error:  # whoever watches must not stop the search
                    self._tell(listener, error, recorded)
        return appended

    def _tell(self, listener: Listener, error: Exception, recorded: Recorded) -> None:
        """That a listener failed, once; it may do better at a later event."""
        if listener in self._failing:
            return
        self._failing.add(listener)
        if isinstance(error, OSError):
            _log.warning(
                "what happens can't be shown (%s); the search goes on, and its log has everything",
                error.strerror or error,
            )
        else:
            _log.error("a listener failed on event %d; the search goes on", recorded.seq, exc_info=error)

    async def _appended(self, events: Sequence[Event]) -> list[Recorded]:
        """The events once they are durable. While the disk is full: wait, and try again.

        Raises:
            InfrastructureError: the disk is full, and the run is asked to stop.
        """
        time = asyncio.get_running_loop().time
        began: float | None = None
        delayed: list[Event] = []
        while True:
            try:
                return await asyncio.wrap_future(self._writer.append([*events, *delayed], self._now()))
            except StoreFull as error:
                if began is None:
                    began = time()
                    _log.warning("%s; the run waits for room", error)
                if self.is_asked_to_stop:
                    again = "start it again" if self.state.status == "new" else "resume it"
                    raise InfrastructureError(
                        f"the run ends without a last word, since there is no room for it: {error}; nothing that was "
                        f"recorded is lost: make room and {again}"
                    ) from error
                await asyncio.sleep(self._room_s)
                delayed = [RecordingDelayed(reason=str(error), seconds=round(time() - began, 1))]


def _ended(state: SearchState, events: Iterable[Event]) -> Iterator[str]:
    """Jobs that events ended for good."""
    for event in events:
        if isinstance(event, JobFinished):
            yield event.job_id
        elif isinstance(event, CandidateAbandoned | ReignitionAbandoned):
            subject = event.candidate_id if isinstance(event, CandidateAbandoned) else event.reignition_id
            yield from (job_id for job_id, job in state.jobs.items() if job.subject_id == subject)


def _is_news(state: SearchState, report: Event) -> bool:
    """Whether a report is of a job's running attempt; late and repeated ones are not recorded."""
    if isinstance(report, WeightsInherited | EpochFinished | JobFinished | JobFailed):
        return is_current(state, report.job_id, report.attempt)
    return True
