"""A line to type what to look for."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class Filter(Input):
    """Hidden until it is opened; escape empties and hides it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "End filter")]

    class Closed(Message):
        """Whatever was filtered has the keys again."""

    def __init__(self, placeholder: str) -> None:
        super().__init__(placeholder=placeholder, compact=True)
        self.display = False

    def open(self) -> None:
        self.display = True
        self.focus()

    def action_close(self) -> None:
        self.value = ""
        self.display = False
        self.post_message(self.Closed())

    def on_input_submitted(self) -> None:
        """What was typed stays."""
        self.display = bool(self.value)
        self.post_message(self.Closed())
