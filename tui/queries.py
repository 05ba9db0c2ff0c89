"""Statements that were asked or kept, in the user's own folder, and the names that complete one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

MOST = 500  # statements that are remembered
KEYWORDS = (
    "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT", "JOIN", "USING", "HAVING", "DESC", "DISTINCT", "BETWEEN",
    "count(*)", "avg(", "max(", "min(", "round(", "median(", "unnest(", "strftime(",
)  # fmt: skip
NAMES = """
SELECT table_name AS name FROM duckdb_columns() WHERE NOT internal
UNION SELECT column_name FROM duckdb_columns() WHERE NOT internal
UNION SELECT function_name || '(' FROM duckdb_functions() WHERE NOT internal AND function_type = 'table_macro'
ORDER BY ALL
"""
"""Every name of a run's tables."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*$")


class Kept:
    """Remembered between runs, in a file that nobody else reads; without one where it can't be written."""

    def __init__(self, file: Path | None = None) -> None:
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        self._file = file or Path(state) / "spnas-orch" / "statements.json"
        self._history: list[str] = []
        self._saved: dict[str, str] = {}
        with suppress(OSError, ValueError):
            content = json.loads(self._file.read_text("utf-8"))
            self._history = [one for one in content["history"] if isinstance(one, str)]
            self._saved = {str(name): str(one) for name, one in content["saved"].items()}

    def history(self) -> list[str]:
        """The latest last."""
        return self._history

    def saved(self) -> dict[str, str]:
        return dict(sorted(self._saved.items()))

    def remember(self, statement: str) -> None:
        self._history = [*(one for one in self._history if one != statement), statement][-MOST:]
        self._write()

    def save(self, name: str, statement: str) -> None:
        self._saved[name] = statement
        self._write()

    def _write(self) -> None:
        content = json.dumps({"history": self._history, "saved": self._saved}, indent=1)
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            beside = self._file.with_suffix(".new")
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
                out.write(content)
            beside.replace(self._file)


def completions(before: str, names: Iterable[str]) -> tuple[list[str], int]:
    """Names and words of SQL that begin as what stands before the cursor ends, and where that begins."""
    match = _WORD.search(before)
    if match is None:
        return [], len(before)
    begun = match[0].lower()
    return sorted({name for name in (*names, *KEYWORDS) if name.lower().startswith(begun)}), match.start()
