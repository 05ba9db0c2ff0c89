"""A line to type what to look for."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input

from tui.widgets.grid import Grid


class Filter(Input):
    """Hidden until it is opened, for the table of its screen; closing empties and hides it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "End filter")]

    def __init__(self, placeholder: str) -> None:
        super().__init__(placeholder=placeholder, compact=True)
        self.display = False

    def open(self) -> None:
        self.display = True
        self.focus()

    def action_close(self) -> None:
        self.value = ""
        self._leave()

    def on_input_submitted(self) -> None:
        """What was typed stays."""
        self._leave()

    def _leave(self) -> None:
        """What is filtered has the keys again."""
        self.display = bool(self.value)
        self.screen.query_one(Grid).focus()
