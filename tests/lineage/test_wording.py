"""Amounts and times in words."""

import pytest

from lineage.wording import duration, quantity


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1k"),
        (713_204, "713k"),
        (999_999, "1M"),
        (2.35e10, "23.5G"),
        (4.1e15, "4.1e+03T"),
    ],
)
def test_quantities_have_three_digits_and_a_suffix(value, text):
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (7500, "2h05m")]
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
