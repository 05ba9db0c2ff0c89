"""The loop that drives a search: intents are recorded, then carried out; reports are recorded, then decided upon.

All decisions are `orchestrator.search.decide`; all effects are the executor's. A listener hears of an event only after
it is durable.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from lineage.events import (
    EpochFinished,
    Event,
    JobAssigned,
    JobFailed,
    JobFinished,
    Recorded,
    RunStopped,
    WeightsInherited,
)
from lineage.writer import EventWriter
from orchestrator.executors import Executor
from orchestrator.search.decide import plan
from orchestrator.search.evolve import evolve, is_current
from orchestrator.search.state import SearchState

Listener = Callable[[Recorded], None]

_log = logging.getLogger(__name__)


class Runtime:
    """Drives one run from `state` until it is over or `stop` is set; then `state` is the last state."""

    def __init__(
        self, state: SearchState, writer: EventWriter, executor: Executor, now: Callable[[], datetime]
    ) -> None:
        self.state = state
        self.stop = asyncio.Event()
        self.listeners: list[Listener] = []
        self._asked: list[Event] = []
        self._is_asked = asyncio.Event()
        self._writer = writer
        self._executor = executor
        self._now = now

    async def run(self, first: Sequence[Event]) -> SearchState:
        """Record `first` (the run's start or resumption), then search. Workers are ended whatever happens."""
        try:
            await self._advance(first)
            await self._executor.start()
            while self.state.status == "running":
                reports = await self._reports()
                if reports is None:
                    await self._record([RunStopped(reason="interrupted")])
                    break
                await self._advance(reports)
        finally:
            await self._executor.close()
        return self.state

    def ask(self, request: Event) -> None:
        """Record what somebody asks for, and decide upon it, as soon as the loop comes to it."""
        self._asked.append(request)
        self._is_asked.set()

    async def _reports(self) -> list[Event] | None:
        """Reports and requests, or None once the run is asked to stop."""
        reports = asyncio.ensure_future(self._executor.reports())
        others = [asyncio.ensure_future(event.wait()) for event in (self.stop, self._is_asked)]
        try:
            await asyncio.wait({reports, *others}, return_when=asyncio.FIRST_COMPLETED)
            if self.stop.is_set():
                return None
            requests, self._asked = self._asked, []
            self._is_asked.clear()
            return [*(reports.result() if reports.done() else ()), *requests]
        finally:
            for task in (reports, *others):
                task.cancel()
            await asyncio.gather(reports, *others, return_exceptions=True)

    async def _advance(self, reports: Sequence[Event]) -> None:
        """Record what is new and what follows from it, in one transaction; then carry the assignments out."""
        state, news = self.state, []
        for report in reports:
            if _is_news(state, report):
                news.append(report)
                state = evolve(state, report)
        intents = plan(state)
        await self._record([*news, *intents])
        for event in intents:
            if isinstance(event, JobAssigned):
                self._executor.assign(self.state, event)

    async def _record(self, events: Sequence[Event]) -> None:
        if not events:
            return
        for recorded in await asyncio.wrap_future(self._writer.append(events, self._now())):
            self.state = evolve(self.state, recorded.event)
            for listener in self.listeners:
                try:
                    listener(recorded)
                except Exception:  # whoever watches must not stop the search
                    _log.exception("a listener failed on event %d", recorded.seq)


def _is_news(state: SearchState, report: Event) -> bool:
    """Whether a report is of a job's running attempt; late and repeated ones are not recorded."""
    if isinstance(report, WeightsInherited | EpochFinished | JobFinished | JobFailed):
        return is_current(state, report.job_id, report.attempt)
    return True
