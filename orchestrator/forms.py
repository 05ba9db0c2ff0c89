"""An answer in the form that was asked for: table, CSV, JSON, Parquet. Values are written as DuckDB writes them.

Python's words for lists, dates or bytes are no use to anybody who reads an answer, and JSON has none for most of them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from lineage.errors import QueryError

Row = tuple[Any, ...]
Answer = duckdb.DuckDBPyRelation

PAGE = 1000  # rows
NUMBERS = {
    *("tinyint", "smallint", "integer", "bigint", "hugeint"),
    *("utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"),
    *("float", "double"),
}
_NOT_FINITE = re.compile(r'"(?:[^"\\]|\\.)*"|-?(?:NaN|Infinity)')


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a table is shown: its width, whether it may have styles, what stands above the table, and its most rows."""

    width: int
    is_terminal: bool
    title: str
    most_rows: int


def write(answer: Answer, form: str, file: Path, screen: Screen) -> None:
    """Write an answer, whole.

    Raises:
        QueryError: two columns of one name can't be told apart in JSON.
    """
    WRITERS[form](answer, file, screen)


def _parquet(answer: Answer, file: Path, _: Screen) -> None:
    answer.write_parquet(str(file))


def _csv(answer: Answer, file: Path, _: Screen) -> None:
    rows = _rows(answer, lambda number, _: f"#{number}::VARCHAR")
    with file.open("w", encoding="utf-8", newline="") as output:
        writer = csv.writer(output, lineterminator="\n")
        writer.writerow(answer.columns)
        writer.writerows(rows)


def _json(answer: Answer, file: Path, _: Screen) -> None:
    columns = answer.columns
    if len(set(columns)) < len(columns):
        raise QueryError(f"two columns have one name in {', '.join(columns)}; JSON needs names apart: use AS")
    names = [json.dumps(column, ensure_ascii=False) for column in columns]
    rows = _rows(answer, lambda number, _: f"to_json(#{number})::VARCHAR")
    with file.open("w", encoding="utf-8", newline="") as output:
        separator = "[\n  {"
        for row in rows:
            pairs = zip(names, map(_finite, row), strict=True)
            output.write(separator + ", ".join(f"{name}: {value}" for name, value in pairs) + "}")
            separator = ",\n  {"
        output.write("[]\n" if separator.startswith("[") else "\n]\n")


def _finite(value: str | None) -> str:
    """A value in JSON, which has no word for what is no finite number; DuckDB uses some all the same."""
    if value is None:
        return "null"
    if "NaN" in value or "Infinity" in value:
        return _NOT_FINITE.sub(lambda found: found[0] if found[0].startswith('"') else "null", value)
    return value


def _table(answer: Answer, file: Path, screen: Screen) -> None:
    from rich.console import Console

    from orchestrator.printing import print_table

    rows = list(_readable(answer))
    with file.open("w", encoding="utf-8", newline="") as output:
        console = Console(
            file=output, width=screen.width, force_terminal=screen.is_terminal, highlight=False, markup=False
        )
        if screen.title:
            console.print(screen.title, soft_wrap=True)
        print_table(console, tuple(answer.columns), rows)


def _listed(answer: Answer, file: Path, screen: Screen) -> None:
    rows = list(islice(_readable(answer), screen.most_rows))
    file.write_text(json.dumps({"columns": answer.columns, "rows": rows}), encoding="utf-8")


def _readable(answer: Answer) -> Iterator[Row]:
    """Rows of numbers, and of all else as text."""
    return _rows(answer, lambda number, kind: f"#{number}" if kind in NUMBERS else f"#{number}::VARCHAR")


def _rows(answer: Answer, asked: Callable[[int, str], str]) -> Iterator[Row]:
    """Rows with each column as asked for, by its number and the name of its type: names may stand twice."""
    kinds = [str(kind.id) for kind in answer.types]
    found = answer.project(", ".join(asked(number, kind) for number, kind in enumerate(kinds, 1)))
    while page := found.fetchmany(PAGE):
        yield from page


WRITERS: dict[str, Callable[[Answer, Path, Screen], None]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "rows": _listed,
}
