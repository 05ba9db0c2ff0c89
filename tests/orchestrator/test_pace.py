"""Answers take their share of the machine's time and no more: given what was used, when a query comes, then how it waits."""

from __future__ import annotations

import pytest

from orchestrator.live import pace
from orchestrator.live.pace import CREDIT_S, LONGEST_WAIT_S, Pace


class Clock:
    """The module's clocks: time passes by sleeping, and by `use`."""

    def __init__(self) -> None:
        self.now = self.used = self.main = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return self.used

    def thread_time(self) -> float:
        return self.main

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def use(self, seconds: float) -> None:
        """A core is busy with answers for so long."""
        self.now += seconds
        self.used += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(pace, "time", clock)
    return clock


def test_who_asks_seldom_does_not_wait(clock: Clock) -> None:
    paced = Pace(0.05, cores=2)
    for _ in range(100):
        assert paced.turn()
        clock.use(0.005)
        clock.now += 1
    assert clock.slept == []


def test_who_asks_without_a_pause_gets_the_share_of_all_cores_and_no_more(clock: Clock) -> None:
    paced = Pace(0.05, cores=8)
    for _ in range(1000):
        assert paced.turn()
        clock.use(0.01)
    assert clock.used / clock.now == pytest.approx(8 * 0.05, rel=0.1)


def test_a_long_query_makes_nobody_wait_for_long(clock: Clock) -> None:
    paced = Pace(0.05, cores=1)
    clock.use(1000)
    assert paced.turn()
    assert paced.turn()
    assert clock.slept == [LONGEST_WAIT_S]


def test_idleness_gives_no_more_than_a_moment_of_credit(clock: Clock) -> None:
    paced = Pace(0.05, cores=1)
    clock.now += 10**6
    paced.turn()
    clock.use(CREDIT_S + 0.1)
    paced.turn()
    assert len(clock.slept) == 1


def test_what_the_main_thread_does_for_the_tables_is_not_counted(clock: Clock) -> None:
    paced = Pace(0.05, cores=1)
    clock.use(10)
    clock.main = 10
    paced.main_thread_worked()
    paced.turn()
    assert clock.slept == []
