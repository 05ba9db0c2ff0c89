"""How amounts, times and lists are put into words, for lines, tables and screen alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lineage.events import Resource

MESSAGE_LENGTH = 160
NAMES_SHOWN = 3
LIMIT_DIGITS = 5


def quantity(value: float, digits: int = 3) -> str:
    """A count in three digits and a suffix: 713204 -> ``713k``, 2.35e10 -> ``23.5G``."""
    scaled = float(value)
    for suffix in ("", "k", "M", "G"):
        if abs(scaled) < 999.5:
            return f"{scaled:.{digits}g}{suffix}"
        scaled /= 1000
    return f"{scaled:.{digits}g}T"


def duration(seconds: float) -> str:
    """A length of time as ``42s``, ``3m07s`` or ``2h05m``; negative ones, from clocks that disagree, are ``0s``."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def plural(count: int, noun: str) -> str:
    """A number of things: ``1 draw``, ``2 draws``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def amount(resource: Resource, value: float) -> str:
    """What a network costs, exactly enough to compare, with its unit: ``23.14 ms``, ``8.5899G bytes``, ``4.2G``."""
    match resource:
        case "latency":
            return f"{value:.{LIMIT_DIGITS}g} ms"
        case "memory":
            return f"{quantity(value, LIMIT_DIGITS)} bytes"
    return quantity(value, LIMIT_DIGITS)


def reasons(refused: Mapping[str, int]) -> str:
    """Why draws were thrown away: ``1000 duplicate, 3 flops``; the most frequent reason first."""
    return ", ".join(
        f"{count} {reason}" for reason, count in sorted(refused.items(), key=lambda one: (-one[1], one[0]))
    )


def first_line(message: str, length: int = MESSAGE_LENGTH) -> str:
    """The first line of a message, cut to a length that can be read."""
    line = next(iter(message.strip().splitlines()), "no message")
    return line if len(line) <= length else f"{line[: length - 1]}…"


def some_of(names: Sequence[str], shown: int = NAMES_SHOWN) -> str:
    """The first few of many names."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
