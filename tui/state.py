"""What the screens show at one moment: the view of the events, how they are heard, and what time it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from immutables import Map

from tui.source import Contact, DeviceUse
from tui.view_models import SearchView, Status


class State(NamedTuple):
    """`heard` is when the last event came, by the clock of whoever looks; `uses` are of the devices, by name."""

    run: str
    now: datetime
    view: SearchView = SearchView()
    contact: Contact = Contact()
    uses: Mapping[str, DeviceUse] = Map()
    heard: datetime | None = None
    chosen: str | None = None

    @property
    def status(self) -> Status:
        """Where the run stands: its own word, unless it is gone without one."""
        return "lost" if self.contact.state == "over" and self.view.is_live else self.view.status

    @property
    def is_live(self) -> bool:
        return self.view.is_live and self.contact.state != "over"

    @property
    def silence_s(self) -> float | None:
        """Seconds since the last event of a live run."""
        if not self.is_live or self.heard is None:
            return None
        return max(0.0, (self.now - self.heard).total_seconds())

    @property
    def time(self) -> datetime:
        """What jobs are timed by: a simulated or ended run has no other time than that of its events."""
        if self.view.story.simulated or not self.is_live:
            return self.view.last_ts or self.now
        return self.now
