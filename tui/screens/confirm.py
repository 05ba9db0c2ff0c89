"""Questions that stand before what can't be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

UNSEEN_S = 0.3  # that a question stands before anybody can have read it


class _Seen:
    """Whether somebody can have read what a screen shows: a key from before is no answer."""

    def __init__(self, screen: ModalScreen[Any]) -> None:
        self._since: float | None = None
        screen.call_after_refresh(self._show)

    def _show(self) -> None:
        self._since = monotonic()

    def __bool__(self) -> bool:
        return self._since is not None and monotonic() - self._since >= UNSEEN_S


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

    def on_mount(self) -> None:
        self._seen = _Seen(self)

    def action_answer(self, is_meant: bool) -> None:
        if self._seen or not is_meant:
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

    def on_mount(self) -> None:
        self._seen = _Seen(self)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        if self._seen:
            self.dismiss(event.option.id)
