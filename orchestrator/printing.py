"""Rows for people and programs: tables, and values that JSON has words for. Knows neither events nor runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

MANY = 500  # rows, from which on it matters how long a table takes

Rows = Sequence[Sequence[Any]]


def table(title: str, columns: tuple[str, ...], rows: Rows) -> Table:
    """A rich table of query rows."""
    result = Table(title=Text(title) if title else None, title_justify="left")
    for position, column in enumerate(columns):
        result.add_column(Text(column), justify=_side(position, rows), overflow="fold")
    for row in rows:
        result.add_row(*("" if value is None else Text(_text(value)) for value in row))
    return result


def print_table(console: Console, columns: tuple[str, ...], rows: Rows) -> None:
    """Print a table of query rows: a large one without rich, which takes minutes for a million, where it looks the same."""
    cells = [["" if value is None else _text(value) for value in row] for row in rows] if len(rows) >= MANY else []
    widths = _widths(columns, cells)
    if not cells or not widths or sum(widths) + 3 * len(widths) + 1 > console.width:
        console.print(table("", columns, rows))
        return
    sides = [_side(position, rows) for position in range(len(columns))]
    frame = Table()
    for column, width, side in zip(columns, widths, sides, strict=True):
        frame.add_column(Text(column), justify=side, min_width=width)
    with console.capture() as captured:
        console.print(frame)
    *head, foot = captured.get().splitlines(keepends=True)
    is_right = [side == "right" for side in sides]
    console.file.writelines(head)
    for row in cells:
        console.file.write(f"│ {' │ '.join(map(_padded, row, widths, is_right))} │\n")
    console.file.write(foot)


def _widths(columns: tuple[str, ...], cells: list[list[str]]) -> list[int]:
    """Of columns, where each cell is one line; otherwise none."""
    widths = list(map(cell_len, columns))
    if not all(column.isprintable() for column in columns):
        return []
    for row in cells:
        for position, cell in enumerate(row):
            if not cell.isprintable():
                return []
            widths[position] = max(widths[position], cell_len(cell))
    return widths if all(widths) else []


def _padded(cell: str, width: int, is_right: bool) -> str:
    blank = " " * (width - cell_len(cell))
    return blank + cell if is_right else cell + blank


def _side(position: int, rows: Rows) -> Literal["left", "right"]:
    return "right" if any(isinstance(row[position], int | float) for row in rows) else "left"


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
