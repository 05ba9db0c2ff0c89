"""Rows for people and programs: tables, and values that JSON has words for. Knows neither events nor runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text


def table(title: str, columns: tuple[str, ...], rows: Sequence[Sequence[Any]]) -> Table:
    """A rich table of query rows."""
    result = Table(title=Text(title) if title else None, title_justify="left")
    for position, column in enumerate(columns):
        numeric = any(isinstance(row[position], int | float) for row in rows)
        result.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        result.add_row(*("" if value is None else Text(_text(value)) for value in row))
    return result


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def records(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows by column, as JSON can say them."""
    return [dict(zip(columns, map(_finite, row), strict=True)) for row in rows]


def _finite(value: Any) -> Any:
    """JSON has no word for what is no finite number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
