"""From a run's log to what the search knew after it, or why that can't be told: damage, or another version's words."""

from __future__ import annotations

from pydantic import ValidationError

from lineage.events import Recorded, RunStarted
from orchestrator.errors import RunError
from orchestrator.search.evolve import evolve
from orchestrator.search.state import SearchState


def followed(state: SearchState, recorded: Recorded, run: object) -> SearchState:
    """The state after one more event of the log of `run`.

    Raises:
        RunError: the event's configuration is of another version, or it does not follow from the events before it.
    """
    if state.config is None and not isinstance(recorded.event, RunStarted):
        raise RunError(f"run {run} can't be read: its log does not begin with RunStarted; restore a copy")
    try:
        return evolve(state, recorded.event)
    except ValidationError as error:
        raise RunError(
            f"run {run} can't be read: another version of spnas-orch recorded its configuration; "
            f"this one finds {error.error_count()} faults in it"
        ) from error
    except (LookupError, AssertionError, AttributeError, TypeError, ValueError) as error:
        raise RunError(
            f"run {run} can't be read: event {recorded.event_id}, {recorded.event.kind}, does not follow from those before "
            f"it ({error!r}); restore a copy"
        ) from error
