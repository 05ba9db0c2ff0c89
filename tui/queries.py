"""Statements that were asked or kept, in the user's own folder, and the names that complete one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel

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


class _File(BaseModel):
    history: list[str] = []
    saved: dict[str, str] = {}


class Kept:
    """Remembered between runs, in a file that nobody else reads; without one where it can't be written.

    Several views share the file: each reads it anew before it adds something.
    """

    def __init__(self, file: Path | None = None) -> None:
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        self._file = file or Path(state) / "spnas-orch" / "statements.json"
        self._history: list[str] = []
        self._saved: dict[str, str] = {}
        self._read()

    def history(self) -> list[str]:
        """The latest last."""
        return self._history

    def saved(self) -> dict[str, str]:
        self._read()
        return dict(sorted(self._saved.items()))

    def remember(self, statement: str) -> None:
        self._read()
        self._history = [*(one for one in self._history if one != statement), statement][-MOST:]
        with suppress(OSError):
            self._write()

    def save(self, name: str, statement: str) -> None:
        """Keep a statement by a name. Raises OSError."""
        self._read()
        self._saved[name] = statement
        self._write()

    def _read(self) -> None:
        """Take what the file has; one that was not written here is as good as none."""
        with suppress(OSError, ValueError):
            content = _File.model_validate_json(self._file.read_bytes())
            self._history, self._saved = content.history, content.saved

    def _write(self) -> None:
        content = _File(history=self._history, saved=self._saved).model_dump_json(indent=1)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(f".{os.getpid()}")
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
