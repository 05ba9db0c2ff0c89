"""Amounts are read as they are meant, or refused with an example."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.quantities import count, memory_bytes, milliseconds

READERS = [count, memory_bytes, milliseconds]
LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("read", "text", "amount"),
    [
        (count, "4.2G", 4_200_000_000),
        (count, "4.2e9", 4_200_000_000),
        (count, " 30 m ", 30_000_000),
        (count, "1.5k", 1500),
        (count, "2T", 2 * 10**12),
        (count, 30e6, 30_000_000),
        (memory_bytes, "8GB", 8 * 10**9),
        (memory_bytes, "8GiB", 8 * 2**30),
        (memory_bytes, "512 mib", 512 * 2**20),
        (memory_bytes, "17b", 17),
        (milliseconds, "20ms", 20.0),
        (milliseconds, "0.1s", 100.0),
        (milliseconds, "1500us", 1.5),
        (milliseconds, 7, 7.0),
    ],
)
def test_a_suffix_is_a_power(read: Callable[[Any], Any], text: Any, amount: float):
    assert read(text) == pytest.approx(amount, rel=1e-12)


@given(st.integers(0, LARGEST))
def test_whole_numbers_stay_what_they_are(number: int):
    assert count(number) == memory_bytes(number) == number
    if number < 2**53:
        assert count(str(number)) == memory_bytes(f"{number}B") == number


@given(st.integers(0, 10**6), st.sampled_from([("k", 10**3), ("M", 10**6), ("g", 10**9), ("T", 10**12)]))
def test_a_number_with_a_suffix_is_that_many(number: int, unit: tuple[str, int]):
    assert count(f"{number}{unit[0]}") == memory_bytes(f"{number} {unit[0]}b") == number * unit[1]


@given(st.floats(1e-6, 1e12, allow_subnormal=False))
def test_a_time_is_the_same_in_every_unit(time_ms: float):
    assert milliseconds(time_ms) == time_ms
    assert milliseconds(f"{time_ms!r}ms") == time_ms
    assert milliseconds(f"{time_ms / 1000!r}s") == pytest.approx(time_ms)


@pytest.mark.parametrize("read", READERS)
@given(value=st.one_of(st.text(), st.from_regex(r"[0-9.e+-]*[a-zA-Z]*"), st.integers(), st.floats()))
@example(value=2**63 - 512)
def test_what_was_read_is_read_the_same_again(read: Callable[[Any], Any], value: Any):
    try:
        amount = read(value)
    except ValueError:
        return
    assert 0 <= amount <= LARGEST + 1
    assert read(amount) == amount


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "value",
    [
        "1e999", "٣", "²", "9" * 5000, "9" * 10**6, " " * 10**6 + "1", "1" + " " * 10**6, "", "G", "-1", "+1", "1 2",
        "1e", "1.2.3", "0x10", "1_000", "1,5", "nan", "inf", "1e3000000000", "1G!", "1\n2", "1 GG", "\0", "1\u00a0x",
        -1, -0.5, math.nan, math.inf, 10**400, 2**63, True, False, [], {}, b"1", object(),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_is_no_amount_is_refused_with_an_example(read: Callable[[Any], Any], value: Any):
    with pytest.raises(ValueError, match=r"expected .* such as "):
        read(value)


@pytest.mark.parametrize(
    ("read", "text"), [(count, "8GiB"), (count, "20ms"), (memory_bytes, "4.2G"), (milliseconds, "2G")]
)
def test_a_unit_of_something_else_is_refused(read: Callable[[Any], Any], text: str):
    with pytest.raises(ValueError, match="expected"):
        read(text)


@pytest.mark.parametrize("read", READERS)
def test_no_amount_is_no_limit(read: Callable[[Any], Any]):
    assert read(None) is None
