"""When a training counts as hung."""

from __future__ import annotations

from orchestrator.executors.patience import Patience


def test_silence_is_hanging_whatever_is_known():
    patience = Patience(silence_s=60)
    assert patience.verdict("detection", 1e9, silent_s=59, running_s=1e6) is None
    assert patience.verdict("detection", 1e9, silent_s=61, running_s=70) == "no sign of life for 61 s"


def test_a_training_may_take_many_times_what_the_slowest_took_for_its_cost():
    patience = Patience(least_s=10, factor=5)
    patience.learn("detection", cost=100, seconds=20)
    patience.learn("detection", cost=100, seconds=10)
    assert patience.limit_s("detection", 1000) == 5 * 200
    assert patience.limit_s("detection", 1) == 10
    assert patience.limit_s("classification", 1) is None
    assert patience.verdict("detection", 1000, silent_s=1, running_s=999) is None
    assert patience.verdict("detection", 1000, silent_s=1, running_s=1001) == (
        "not done after 1001 s; 1000 s are enough for what it costs"
    )
