"""Values written out in SQL text.

DuckDB looks for pandas with every parameter that Python binds; where it is not installed, that takes as long as a plain
SELECT or two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any


def literal(value: Any) -> str:
    """None, a number, a time, a text or a list of these, as SQL that reads as exactly that."""
    match value:
        case None:
            return "NULL"
        case bool() | int():
            return str(value)
        case float() | datetime():
            return f"'{value}'"  # as text that the column reads exactly: 0.1 alone would be a DECIMAL
        case str():
            return "'" + value.replace("'", "''").replace("\0", "' || chr(0) || '") + "'"
    return f"[{', '.join(map(literal, value))}]"
