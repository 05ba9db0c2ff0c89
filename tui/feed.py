"""Feeds: where the screen gets its view from.

A feed is an async iterable of `SearchView`s. It folds every event and hands out the newest view only, so a consumer
that is slow, or gone, costs no memory and misses nothing but views that are out of date already. The end of a feed
means that nobody will add events any more. This module must not know widgets, nor the scheduler that publishes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from pathlib import Path

from lineage.errors import StoreError
from lineage.events import Recorded
from lineage.snapshot import open_snapshot, stamp
from tui.view_models import SearchView, fold

Feed = AsyncIterable[SearchView]

STORE_NAME = "lineage.duckdb"
POLL_S = 1.5
SLICE = 100
MAX_BACKLOG = 5000


class QueueFeed:
    """The feed of a search in this process: the runtime publishes, any number of screens iterate, one after another."""

    def __init__(self) -> None:
        self._view = SearchView()
        self._backlog: deque[Recorded] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def view(self) -> SearchView:
        """The view after every event published so far."""
        while self._backlog:
            self._fold_one()
        return self._view

    def publish(self, recorded: Recorded) -> None:
        """Take an event that is durable already. Call it from the event loop; it takes microseconds, never waits."""
        self._backlog.append(recorded)
        if len(self._backlog) > MAX_BACKLOG:
            self._fold_one()
        self._changed.set()

    def close(self) -> None:
        """No more events will come: iterations end once they have seen the newest view."""
        self._closed = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[SearchView]:
        shown = -1
        while True:
            await self._catch_up()
            if self._view.last_seq != shown:
                shown = self._view.last_seq
                yield self._view
            elif self._closed:
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    async def _catch_up(self) -> None:
        """Fold the backlog in slices, between which the event loop can do other things."""
        while self._backlog:
            for _ in range(min(SLICE, len(self._backlog))):
                self._fold_one()
            await asyncio.sleep(0)

    def _fold_one(self) -> None:
        self._view = fold(self._view, self._backlog.popleft())


async def follow_run(run: Path, is_live: Callable[[], bool]) -> AsyncIterator[SearchView]:
    """The feed of a run folder: all events so far, then new ones every `POLL_S` seconds for as long as it is live.

    Reading and folding happen in a thread. Raises what `open_snapshot` raises, except that a look at a live run which
    fails after the first is taken again at the next turn.
    """
    store_path, view, seen = run / STORE_NAME, SearchView(), None
    while True:
        live, state = is_live(), stamp(store_path)
        if state != seen or not live:
            try:
                view = await asyncio.to_thread(_read_on, store_path, view)
                seen = state
            except StoreError:
                if not live or seen is None:
                    raise
            yield view
        if not live:
            return
        await asyncio.sleep(POLL_S)


def _read_on(store_path: Path, view: SearchView) -> SearchView:
    with open_snapshot(store_path) as store:
        for recorded in store.read(after_seq=view.last_seq):
            view = fold(view, recorded)
    return view
