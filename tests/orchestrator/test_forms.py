"""Values of every type are written as DuckDB writes them, JSON is always JSON, and a large table looks like a small one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import duckdb
import pytest
from rich.console import Console

from lineage.errors import QueryError
from orchestrator import forms
from orchestrator.forms import Screen
from orchestrator.printing import MANY, print_table, table

VALUES = {  # in SQL: as text, and in JSON
    "NULL": ("", None),
    "''": ("", ""),
    "1.50::DECIMAL(9, 2)": ("1.50", 1.5),
    "170141183460469231731687303715884105727": ("170141183460469231731687303715884105727", 2**127 - 1),
    "'nan'::DOUBLE": ("nan", None),
    "'-inf'::FLOAT": ("-inf", None),
    "1e300": ("1e+300", 1e300),
    "[1.5, 'inf'::DOUBLE, NULL]": ("[1.5, inf, NULL]", [1.5, None, None]),
    "{'NaN': 'a\"NaN,-Infinity\\', 'x': ['nan'::FLOAT]}": (
        "{'NaN': 'a\"NaN,-Infinity\\\\', 'x': [nan]}",
        {"NaN": 'a"NaN,-Infinity\\', "x": [None]},
    ),
    "MAP {DATE '2024-05-01': 1, DATE '2024-05-02': NULL}": (
        "{2024-05-01=1, 2024-05-02=NULL}",
        {"2024-05-01": 1, "2024-05-02": None},
    ),
    "union_value(k := 1)": ("1", {"k": 1}),
    "'\\x00ab'::BLOB": ("\\x00ab", "\\x00ab"),
    "INTERVAL 3 DAYS": ("3 days", "3 days"),
    "true": ("true", True),
    "TIMESTAMP '2024-05-01 12:00:00.5'": ("2024-05-01 12:00:00.5", "2024-05-01 12:00:00.5"),
    "'{\"a\": [1,\n2]}'::JSON": ('{"a": [1,\n2]}', {"a": [1, 2]}),
    "'é \" , \n end'": ('é " , \n end', 'é " , \n end'),
    "'NaN'": ("NaN", "NaN"),
}


def answered(query: str, form: str, file: Path, screen: Screen | None = None) -> str:
    with duckdb.connect(config={"threads": 1}) as connection:
        forms.write(connection.sql(query), form, file, screen or Screen(200, False, "", 10))
    return file.read_text(encoding="utf-8")


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_written_in_every_form(tmp_path: Path, value: str) -> None:
    text, meant = VALUES[value]
    found = answered(f"SELECT {value} AS x", "csv", tmp_path / "csv")
    assert list(csv.reader(io.StringIO(found, newline=""))) == [["x"], [text]]
    found = answered(f"SELECT {value} AS x", "json", tmp_path / "json")
    assert json.loads(found, parse_constant=pytest.fail) == [{"x": meant}]
    if "\n" not in text and len(text) < 35:
        assert f"│ {text}" in answered(f"SELECT {value} AS x, 'z' AS z", "table", tmp_path / "table")


@pytest.mark.parametrize(("form", "empty"), [("csv", "a,B c\n"), ("json", "[]\n")])
def test_an_answer_without_rows_has_its_columns(tmp_path: Path, form: str, empty: str) -> None:
    assert answered('SELECT 1 AS a, 2 AS "B c" WHERE false', form, tmp_path / "file") == empty


def test_rows_and_columns_stay_in_order_whatever_they_are_called(tmp_path: Path) -> None:
    query = 'SELECT -i AS "b""", i AS a, i AS a FROM range(5000) t(i) ORDER BY i DESC -- all'
    rows = list(csv.reader(io.StringIO(answered(query, "csv", tmp_path / "csv"))))
    assert rows == [['b"', "a", "a"], *([str(-i), str(i), str(i)] for i in range(4999, -1, -1))]
    query = query.replace("AS a FROM", 'AS "A" FROM')
    found = json.loads(answered(query, "json", tmp_path / "json"))
    assert found == [{'b"': -i, "a": i, "A": i} for i in range(4999, -1, -1)]
    assert list(found[0]) == ['b"', "a", "A"]


def test_json_needs_names_apart(tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="two columns have one name in a, a; JSON needs names apart"):
        answered("SELECT 1 AS a, 2 AS a", "json", tmp_path / "json")


@pytest.mark.parametrize("is_terminal", [False, True])
@pytest.mark.parametrize("width", [200, 40])
def test_a_large_table_looks_as_rich_draws_it(is_terminal: bool, width: int) -> None:
    columns = ("number", "text that is", "é", "wide")
    rows = [(i if i % 7 else None, "x" * (i % 17), f"é {i}", "漢字" * (i % 3) + " ") for i in range(MANY)]
    drawn = []
    for way in (
        lambda console: print_table(console, columns, rows),
        lambda console: console.print(table("", columns, rows)),
    ):
        console = Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system="standard")
        way(console)
        drawn.append(console.file.getvalue())
    assert drawn[0] == drawn[1]
    assert drawn[0].count("\n") >= MANY + 4


def test_cells_with_lines_of_their_own_are_no_reason_to_break_a_large_table() -> None:
    console = Console(file=io.StringIO(), width=100)
    print_table(console, ("a", "b"), [("one\ntwo", i) for i in range(MANY)])
    assert {len(line) for line in console.file.getvalue().splitlines()} == {len("│ two │     │")}
