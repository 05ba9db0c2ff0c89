"""The keys, and what the signs mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

TEXT = """\
[b]Everywhere[/b]
  1 to 6      Search, Lineage, Pareto, Candidate, SQL, Log
  p           pause the run, or go on (asks first)
  r           reignite the best network now (asks first)
  x           cancel a job (asks which)
  /           filter, where there is something to; esc ends it
  t           dark or light
  ctrl+p      all commands, by name
  ?           these keys
  q           close this view: the run goes on

[b]In tables[/b]
  ↑ ↓ ← →     move; so do page up, page down, home, end
  c           copy the cell under the cursor
  enter       open the candidate
  tab         the next part of the screen

[b]Lineage[/b]
  space       fold a candidate's descendants, or show them
  -  +        fold everything, or show everything
  s           the path to the seed, or the whole tree
  m           mark one; m on another shows both side by side

[b]Pareto[/b]
  o           another cost: FLOPs, parameters, latency, memory

[b]Candidate[/b]
  \\[  ]        the part before, the next one
  u           its parent

[b]Log[/b]
  f           the kind under the cursor alone; esc ends it

[b]SQL[/b]
  ctrl+j, f5  run the statement
  esc         cancel it; otherwise leave the editor
  ctrl+↑ ↓    earlier statements, later ones
  ctrl+s      keep the statement by a name
  ctrl+o      one that was kept
  ctrl+e      write the answer to a file
  tab         complete a name

[b]Signs[/b]
  ▶ running   ‖ paused   ■ stopping or interrupted
  ✗ lost or failed       ✓ finished
  *           on the Pareto front
  STALE       what is shown may be old; it is tried again\
"""


class HelpScreen(ModalScreen[None]):
    """Over whatever is shown."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog help"):
            yield Static(TEXT)
