"""What people ask of a live run, and the event that answers: what was asked for, or why it is refused. Pure."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lineage.events import (
    Event,
    JobCancelled,
    ReignitionRequested,
    RequestRefused,
    RunContinued,
    RunPaused,
    SettingChanged,
    StopRequested,
)
from orchestrator.config import RunConfig, nearest, shown
from orchestrator.config_faults import faults_of
from orchestrator.search.decide import indispensable
from orchestrator.search.evolve import SEED
from orchestrator.search.proposal import sampled
from orchestrator.search.state import Job, SearchState


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"expected characters that can be printed, found {text!a}")
    return text


def _plain(value: Any) -> Any:
    """What a configuration may hold: text, finite numbers, and lists and mappings of them."""
    match value:
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case str() if value.isprintable():
            return value
        case list():
            return [_plain(one) for one in value]
        case dict() if all(isinstance(name, str) and name.isprintable() for name in value):
            return {name: _plain(one) for name, one in value.items()}
    raise ValueError(f"expected text or finite numbers, found {shown(value)}")


Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]

GENERAL = ("keep_checkpoints", "disk_quota")
OF_A_STEP = (
    "search_algorithm.max_sample",
    "search_algorithm.max_optimal",
    "search_algorithm.reignite.max_reignitions",
    "search_algorithm.reignite.min_delta",
    "search_algorithm.reignite.n_stuck",
    "search_algorithm.serial_settings.addstage_ratio",
    "search_algorithm.serial_settings.expand_ratio",
    "search_algorithm.serial_settings.max_stages",
    "search_algorithm.serial_settings.num_mutate",
)
"""What the steps that are not over take up as they go on; of one that has not begun, also its `EPOCHS`."""

EPOCHS = "trainer.epoch"  # within a step, candidates are compared


class _Request(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Pause(_Request):
    request: Literal["pause"] = "pause"


class Continue(_Request):
    request: Literal["continue"] = "continue"


class Stop(_Request):
    request: Literal["stop"] = "stop"


class Reignite(_Request):
    request: Literal["reignite"] = "reignite"


class Cancel(_Request):
    """`job` may also be the candidate or reignition that it is done for."""

    request: Literal["cancel"] = "cancel"
    job: Word


class Set(_Request):
    request: Literal["set"] = "set"
    key: Word
    value: Annotated[Any, AfterValidator(_plain)] = None


Request = Annotated[Pause | Continue | Stop | Reignite | Cancel | Set, Field(discriminator="request")]
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


def answered(state: SearchState, request: Request, by: str) -> Event:
    """The event that a request comes to, given what the run knows as it is recorded."""
    found = _answer(state, request, by)
    return found if not isinstance(found, str) else RequestRefused(request=typed(request), reason=found, by=by)


def typed(request: Request) -> str:
    """A request as a person types it."""
    match request:
        case Cancel():
            return f"cancel {request.job}"
        case Set():
            value = request.value if isinstance(request.value, str) else json.dumps(request.value)
            return f"set {request.key}={value}"
    return request.request


def _answer(state: SearchState, request: Request, by: str) -> Event | str:
    """The event, or what stands against it."""
    if state.status != "running":
        return "the run is stopping" if state.status == "stopping" else "the run is over"
    match request:
        case Pause():
            return "it is paused already" if state.paused else RunPaused(by=by)
        case Continue():
            return RunContinued(by=by) if state.paused else "it is not paused"
        case Stop():
            return StopRequested(by=by)
        case Reignite():
            return why_not_reignite(state) or ReignitionRequested(by=by)
        case Cancel():
            return _cancelled(state, request.job, by)
        case Set():
            return changed(state, request.key, request.value, by)


def why_not_reignite(state: SearchState) -> str | None:
    """What stands against a reignition by hand; None: nothing."""
    assert state.config is not None
    if state.is_over:
        return "it is over"
    step = state.current_step
    if step is None or state.step.phase != "serial":
        return f"only serial growth can be reignited, and it is at step {step or 'none yet'}"
    if state.step.search.reignite is None:
        return f"{step}.search_algorithm has no reignite section, so there are no images to train on"
    coming = state.items[-1:] and state.items[-1] in state.reignitions  # lights one more network
    if sampled(state) + bool(coming) >= state.step.search.max_sample:
        return f"all {state.step.search.max_sample} networks that max_sample allows are proposed"
    return "one is requested already" if state.reignition_requested else None


def _cancelled(state: SearchState, name: str, by: str) -> JobCancelled | str:
    running: list[Job] = [job for job in state.jobs.values() if job.status == "running"]
    job = next((one for one in running if name in (one.job_id, one.subject_id)), None)
    if job is None:
        known = ", ".join(one.job_id for one in running) or "none"
        return f"no training of that name runs; running: {known}"
    if job.subject_id == indispensable(state):
        return f"nothing goes on without {job.subject_id}; stop the run instead"
    if state.subject(job.subject_id).outcome != "pending":
        return f"{job.subject_id} is trained again for its weights, which others begin with"
    return JobCancelled(job_id=job.job_id, attempt=job.attempt, by=by)


def changed(state: SearchState, key: str, value: Any, by: str, *, anew: bool = False) -> SettingChanged | str:
    """A setting's change, or what stands against it; `anew`: of a run that goes its own way from here, so its seed too."""
    assert state.config is not None
    key = key.replace("expend_ratio", "expand_ratio")
    if (reason := _why_fixed(state, key, anew)) is not None:
        return reason
    try:
        config = state.config.with_value(key, value)
    except ValidationError as error:
        return "; ".join(faults_of(error))
    before, after = state.config.value_of(key), config.value_of(key)
    if after == before:
        return f"{key} is {shown(before)} already"
    return SettingChanged(key=key, value=after, before=before, by=by)


def _why_fixed(state: SearchState, key: str, anew: bool) -> str | None:
    """Why a key can't change any more; None: it can."""
    assert state.config is not None
    section, _, rest = key.partition(".")
    if (section == "general" and rest in GENERAL) or (key == SEED and anew):
        return None
    over = {done.step for done in state.finished_steps}
    waiting = [name for name in state.config.pipeline if name not in over and name != state.current_step]
    if section in over:
        return f"step {section} is over"
    if section in state.config.pipeline and (rest in OF_A_STEP or (rest == EPOCHS and section in waiting)):
        return None
    if section in state.config.pipeline and rest == EPOCHS:
        return f"step {section} has begun, and its candidates are compared: they train for as long as the first"
    known = [f"general.{name}" for name in GENERAL]
    known += [f"{name}.{one}" for name in state.config.pipeline if name not in over for one in OF_A_STEP]
    known += [f"{name}.{EPOCHS}" for name in waiting]
    known = [name for name in known if _exists(state.config, name)]
    if re.fullmatch(r"[\w.]+", key) and _exists(state.config, key):
        return f"{key} is fixed once the run has begun; what can change: {', '.join(known)}"
    return f"unknown key {shown(key)}{nearest(key, known)}"


def _exists(config: RunConfig, key: str) -> bool:
    """Whether a configuration has a key, be it without a value."""
    if config.value_of(key) is not None:
        return True
    try:
        config.with_value(key, None)
    except ValidationError:
        return False
    return True
