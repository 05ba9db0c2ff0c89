"""Text in SQL as DuckDB's own lexer and parser see it: where its statements end, and whether one is a SELECT."""

from __future__ import annotations

import itertools

import duckdb
import pydantic_core

from lineage.errors import QueryError
from lineage.literals import literal

_END = b";"


def split(text: str) -> list[str]:
    """The statements of a text, without what ends them; comments alone are none."""
    content = text.encode()
    starts = [start for start, _ in duckdb.tokenize(text)]
    ends = [start for start in starts if content.startswith(_END, start)]
    cuts = itertools.pairwise([0, *(end + 1 for end in ends), len(content) + 1])
    return [content[start : end - 1].decode() for start, end in cuts if any(start <= at < end - 1 for at in starts)]


def is_complete(text: str) -> bool:
    """Whether a text ends with the end of a statement, and not in a string or a comment."""
    tokens = duckdb.tokenize(text)
    return bool(tokens) and text.encode().startswith(_END, tokens[-1][0])


def must_be_select(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise QueryError unless `sql` is a single SELECT."""
    statements = cursor.extract_statements(sql)
    if len(statements) > 1 and len(split(sql)) == 1:
        raise QueryError("PIVOT has to say which values become columns, as in PIVOT events ON kind IN ('JobAssigned')")
    if len(statements) != 1:
        raise QueryError(f"expected one SELECT, found {len(statements)} statements")
    (serialized,) = cursor.execute(f"SELECT json_serialize_sql({literal(sql)})").fetchone() or ("",)
    if pydantic_core.from_json(serialized)["error"]:
        kind = statements[0].type.name
        found = _first_word(sql) if kind == "SELECT" else kind  # the parser makes SELECTs of some PRAGMAs
        raise QueryError(f"only SELECT is allowed, found {found}")


def _first_word(sql: str) -> str:
    """DuckDB's parser makes a SELECT of a PRAGMA, and the like."""
    content = sql.encode()
    return next(
        content[start:].split(maxsplit=1)[0].decode(errors="replace")[:40].upper() for start, _ in duckdb.tokenize(sql)
    )
