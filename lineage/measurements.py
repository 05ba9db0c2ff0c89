"""Measurements: how the trainings of one network, each from its own seed, become its result. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DECIMALS = 6


def finite(value: float | None) -> float | None:
    """None for NaN and infinity, which a database would rank above every number."""
    return value if value is not None and math.isfinite(value) else None


def mean(values: Iterable[float | None]) -> float | None:
    """Mean without float dust; None where one of the values is not known, for then their mean is not."""
    total, count = 0.0, 0
    for value in values:
        number = finite(value)
        if number is None:
            return None
        total, count = total + number, count + 1
    return round(total / count, DECIMALS) if count else None


def combined(measurements: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Result of a network from the rows of its measurements, in the order of their repeats; what is unknown is left out.

    AP, AP50 and latency are means, memory is the highest; costs and checkpoint are those of the training with the
    highest AP, the first one of equals.
    """
    best = max(measurements, key=lambda row: -math.inf if row["ap"] is None else row["ap"])
    memory = [row["peak_memory_bytes"] for row in measurements if row["peak_memory_bytes"] is not None]
    found = {
        **{column: mean(row[column] for row in measurements) for column in ("ap", "ap50", "latency_ms")},
        "peak_memory_bytes": max(memory, default=None),
        **{column: best[column] for column in ("params", "flops", "checkpoint")},
    }
    return {column: value for column, value in found.items() if value is not None}
