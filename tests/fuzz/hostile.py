"""Given: what nobody would send in good faith. Arbitrary values, and mutations of good values, texts and bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

ODD_TEXTS = [
    "",
    " ",
    "\0",
    "..",
    "../../etc/passwd",
    "/dev/zero",
    "a" * 5000,
    "b/" * 3000,
    "line\nline",
    "\ud800",
    "٣",
    "=1+1",
    "nan",
    "{local_base_path}",
    "\x1b[31m",
    "b_11-21-21-21_0-0-0-0",
    "total_list_s.csv",
]
ODD_NUMBERS = [0, -1, 7, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, -0.0, 1.5]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(ODD_TEXTS)
    | st.sampled_from(ODD_NUMBERS)
)
VALUES = st.recursive(
    SCALARS,
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), part, max_size=4),
    max_leaves=8,
)


def tries(count: int) -> settings:
    """So many examples, each for as long as it takes: the machine may be busy."""
    return settings(
        max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
    )


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key inside a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield value, key
        yield from _places(part)


@st.composite
def mutated(draw: st.DrawFn, good: Any, values: st.SearchStrategy[Any] = VALUES) -> Any:
    """A good value of dicts and lists with up to four parts gone, replaced, renamed, or standing elsewhere too."""
    value = deepcopy(good)
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(value))
        if not places:
            return deepcopy(draw(values))
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["delete", "replace", "rename", "elsewhere", "deepen"])):
            case "delete":
                del holder[key]
            case "replace":
                holder[key] = deepcopy(draw(values))  # what is sampled is shared
            case "rename" if isinstance(holder, dict):
                holder[draw(st.text(max_size=10) | st.sampled_from([str(key).upper(), f"{key}s"]))] = holder.pop(key)
            case "elsewhere":
                other, place = draw(st.sampled_from(places))
                holder[key] = deepcopy(other[place])
            case _:
                holder[key] = {key: holder[key]} if draw(st.booleans()) else [holder[key]]
    return value


@st.composite
def mutated_bytes(draw: st.DrawFn, good: bytes, parts: st.SearchStrategy[bytes] | None = None) -> bytes:
    """Good bytes with up to four stretches cut out, replaced or repeated; `parts` are what may be put in."""
    value = good
    put_in = st.binary(max_size=20) if parts is None else st.binary(max_size=20) | parts
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(value)))
        end = draw(st.integers(start, min(len(value), start + 60)))
        middle = draw(st.one_of(st.just(b""), put_in, st.integers(2, 3).map(lambda n, part=value[start:end]: part * n)))
        value = value[:start] + middle + value[end:]
    return value


def refusal(kinds: type[Exception] | tuple[type[Exception], ...], attempt: Callable[[], object]) -> str:
    """What is said where an attempt is refused with such an error, and only with such; empty: it is not."""
    try:
        attempt()
    except kinds as error:
        return str(error) or "nothing is said"
    return ""
