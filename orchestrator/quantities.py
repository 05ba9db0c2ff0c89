"""Amounts as users write them: 4.2G multiply-adds, 30M parameters, 8GiB of memory, 20ms."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_AMOUNT = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?) *(?P<unit>[a-z]*)", re.IGNORECASE | re.ASCII)
_LONGEST = 40  # characters
_LARGEST = 2.0**63  # what the log's integers can hold
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BYTES = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 10**power for prefix, power in (("k", 3), ("m", 6), ("g", 9), ("t", 12))},
    **{f"{prefix}ib": 2**power for prefix, power in (("k", 10), ("m", 20), ("g", 30), ("t", 40))},
}
_MILLISECONDS = {"": 1, "us": 1e-3, "ms": 1, "s": 1e3}


def count(value: Any) -> int | None:
    """A whole number, with a suffix K, M, G or T (powers of 1000) if it is text."""
    return _whole(_amount(value, _COUNTS, "a number such as 4200000000, 4.2e9 or 4.2G"))


def memory_bytes(value: Any) -> int | None:
    """Bytes, with a unit B, KB .. TB (powers of 1000) or KiB .. TiB (of 1024) if it is text."""
    return _whole(_amount(value, _BYTES, "bytes, or text such as 8GB or 8GiB"))


def milliseconds(value: Any) -> float | None:
    """Milliseconds, with a unit us, ms or s if it is text."""
    expected = "milliseconds, or text such as 20ms"
    amount = _amount(value, _MILLISECONDS, expected)
    if amount is not None and float(amount) >= _LARGEST:  # an integer below it, rounded
        raise ValueError(f"expected {expected}")
    return None if amount is None else float(amount)


def _whole(amount: float | None) -> int | None:
    return None if amount is None else round(amount)


def _amount(value: Any, units: Mapping[str, float], expected: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, str):
        match = _AMOUNT.fullmatch(value.strip()) if len(value) <= _LONGEST else None
        unit = None if match is None else units.get(match["unit"].lower())
        amount = math.nan if match is None or unit is None else float(match["number"]) * unit
    else:
        amount = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= amount < _LARGEST:
        raise ValueError(f"expected {expected}")
    return amount
