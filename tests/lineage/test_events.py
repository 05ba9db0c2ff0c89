"""Every kind of event reads back from its JSON as it was, and what is no event is refused."""

import math
from typing import get_args

import pydantic
import pytest
from histories import (
    INTERRUPTIONS,
    assigned,
    epoch,
    failed,
    finished,
    given_network,
    inherited,
    proposed,
    reignition,
    run_started,
)

from lineage.cost import Heads
from lineage.events import (
    CandidateRuledOut,
    EpochFinished,
    Event,
    PhaseStarted,
    ReignitionRequested,
    from_json,
    to_json,
)

EXAMPLES: list[Event] = [
    run_started(config={"pipeline": ["serial"], "depth": {"a": [1, 2.5, None, "ü"]}}, versions={"torch": "2.9"}),
    run_started(heads=Heads(1, 2, 3, 4, 5)),
    PhaseStarted(step="serial", phase="serial"),
    proposed(
        "s-0001", "s-0000", parent_probabilities={"s-0000": 0.75, "s-0002": 0.25}, reignition_id="i-01", ignition=1
    ),
    given_network("i-0001"),
    CandidateRuledOut(candidate_id="s-0001", limit="latency", measured=20.5, allowed=20),
    ReignitionRequested(by="somebody"),
    reignition("i-01", "s-0000"),
    assigned("j-1", "s-0001"),
    inherited("j-1", "s-0001", "s-0000"),
    epoch("j-1"),
    finished("j-1", ap50=0.5, accuracy=0.9, params=1, flops=2, peak_memory_bytes=3, latency_ms=4.5),
    failed("j-1"),
    *INTERRUPTIONS,
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: event.kind)
def test_an_event_reads_back_from_its_json(event: Event) -> None:
    assert from_json(to_json(event)) == event


def test_the_examples_hold_every_kind_of_event() -> None:
    kinds = {kind.model_fields["kind"].default for kind in get_args(get_args(Event)[0])}
    assert {event.kind for event in EXAMPLES} == kinds


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_diverged_loss_reads_back(loss: float) -> None:
    event = from_json(to_json(epoch("j-1", loss=loss)))
    assert isinstance(event, EpochFinished)
    assert repr(event.loss) == repr(loss)


@pytest.mark.parametrize(
    "payload",
    [
        '{"kind": "NothingHappened"}',
        '{"reason": "no kind"}',
        '{"kind": "RunResumed", "unknown": 1}',
        '{"kind": "RunStopped"}',
        "not json",
    ],
)
def test_what_is_no_event_is_refused(payload: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        from_json(payload)


def test_an_event_never_changes() -> None:
    with pytest.raises(pydantic.ValidationError):
        epoch("j-1").loss = 0.0  # type: ignore[misc]
