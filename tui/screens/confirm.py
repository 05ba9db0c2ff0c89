"""Questions that stand before what can't be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option


class Confirm(ModalScreen[bool]):
    """Yes or no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y,enter", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
    ]

    def __init__(self, question: str, text: str) -> None:
        super().__init__()
        self._question, self._text = question, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, classes="question", markup=False)
            yield Static(self._text, markup=False)
            yield Static("[b]y[/b] yes   [b]n[/b] no", classes="keys")

    def action_answer(self, is_meant: bool) -> None:
        self.dismiss(is_meant)


class Choice(ModalScreen[str | None]):
    """One of some, or none."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,n", "dismiss(None)", "None")]

    def __init__(self, question: str, text: str, options: Mapping[str, str]) -> None:
        super().__init__()
        self._question, self._text, self._options = question, text, options

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, classes="question", markup=False)
            yield Static(self._text, markup=False)
            yield OptionList(*(Option(text, id=key) for key, text in self._options.items()), markup=False)
            yield Static("[b]enter[/b] this one   [b]esc[/b] none", classes="keys")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)
