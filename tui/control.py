"""What a user asks of the run from here: first a question whether it is meant, then the request, then what came of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from textual.worker import Worker

from lineage.narration import narrate
from tui.screens.confirm import Choice, Confirm
from tui.source import SourceError

if TYPE_CHECKING:
    from tui.app import SpnasApp


class Control:
    """Asks through the app's source; what the run answers is told by a notice."""

    def __init__(self, app: SpnasApp) -> None:
        self._app = app

    def pause_or_go_on(self) -> None:
        if self._app.state.status == "paused":
            self._confirm("Go on?", "Trainings begin again.", {"request": "continue"})
        else:
            self._confirm("Pause?", "Trainings that run go on to their end; none begins.", {"request": "pause"})

    def reignite(self) -> None:
        best = self._app.state.view.story.best
        of = "the best network" if best is None else f"the best network so far ({best.candidate_id}, AP {best.ap:.3f})"
        text = (
            f"The backbone of {of} is retrained on classification once what trains has ended; growth goes on from it."
        )
        self._confirm("Reignite now?", text, {"request": "reignite"})

    def stop(self) -> None:
        text = f"Trainings finish their epoch. It goes on with spnas-orch resume {self._app.state.run}"
        self._confirm("Stop the run?", text, {"request": "stop"})

    def cancel(self) -> None:
        """The only job there is, or the one that is chosen."""
        if self._is_deaf():
            return
        jobs = sorted(self._app.state.view.story.jobs.values(), key=lambda job: job.device)
        if not jobs:
            self._app.notify("no job is running", severity="warning")
            return
        options = {
            job.job_id: f"{job.subject_id} on {job.device}, epoch {job.epoch}/{job.epochs or '?'}" for job in jobs
        }
        text = "It is ended for good, and its candidate is given up."
        self._app.push_screen(Choice("Cancel which job?", text, options), self._cancel_chosen)

    def _cancel_chosen(self, job_id: str | None) -> None:
        if job_id is not None:
            self._send({"request": "cancel", "job": job_id})

    def _confirm(self, question: str, text: str, request: dict[str, Any]) -> None:
        if self._is_deaf():
            return

        def answered(is_meant: bool | None) -> None:
            if is_meant:
                self._send(request)

        self._app.push_screen(Confirm(question, text), answered)

    def _is_deaf(self) -> bool:
        """Whether nobody is there to ask, which is told."""
        state = self._app.state
        if state.is_live:
            return False
        self._app.notify(f"the run is {state.status}: there is nobody to ask", severity="warning")
        return True

    def _send(self, request: dict[str, Any]) -> Worker[None]:
        return self._app.run_worker(partial(self._ask, request), group="requests")

    async def _ask(self, request: dict[str, Any]) -> None:
        try:
            recorded = await self._app.source.ask(request)
        except SourceError as error:
            self._app.notify(str(error), title="Not done", severity="error", timeout=10, markup=False)
            return
        is_refused = recorded.event.kind == "RequestRefused"
        text = narrate(self._app.state.view.story, recorded) or recorded.event.kind
        self._app.notify(text, severity="warning" if is_refused else "information", timeout=8, markup=False)
