"""Keys that come in one go, as from a slow line, do what they do one after the other.

Textual hands each key to the widget that has the focus when it comes, and looks for its action once it has gone up to the
app. Of ``/py`` in one go, the second would ask to pause the run.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from textual import events
from textual.app import App
from textual.message import Message

LIMIT_S = 0.5  # that a key may take; what had it may be gone


class KeysInTurn(App[None]):
    """An app that looks where a key belongs once the one before it has done what it does."""

    class Passed(Message):
        """Goes the way of a key, behind it."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._waiting: deque[events.Key] = deque()
        self._number = 0  # of the key that is on its way
        self._is_on_its_way = False

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key) or event.is_forwarded:
            await super().on_event(event)
            return
        self._waiting.append(event)
        if not self._is_on_its_way:
            await self._send_next()

    def on_keys_in_turn_passed(self, message: Passed) -> None:
        self.call_later(self._arrived, message.number)  # behind what its action asked for

    async def _send_next(self) -> None:
        if not self._waiting:
            return
        self._is_on_its_way = True
        self._number += 1
        target = self.focused or self.screen
        await super().on_event(self._waiting.popleft())
        self.set_timer(LIMIT_S, lambda number=self._number: self.call_later(self._arrived, number))
        target.post_message(self.Passed(self._number))

    async def _arrived(self, number: int) -> None:
        if self._is_on_its_way and number == self._number:
            self._is_on_its_way = False
            await self._send_next()
