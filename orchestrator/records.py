"""Search records in CSV, ours and Vega's ``total_list_*.csv``: the best network in one.

Columns are found by name, in any order; only ``arch`` (a code) and ``mAP`` are needed. A row whose mAP is empty, nan or
negative is of a training that failed; one with a value in ``ruled_out``, a column of ours alone, is of a network that
breaks a limit. AP counts from 0 to 1, or, where any exceeds 1, to 100.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import NamedTuple, TextIO

from lineage.architecture import Genotype, GenotypeError
from orchestrator.errors import ConfigError
from orchestrator.user_files import in_words, opened

MAX_BYTES = 64 * 2**20
MAX_LINE = 2**20  # characters; those of a field are csv's own 128 KiB
COLUMNS = ("arch", "mAP")


class Row(NamedTuple):
    """A trained network of a record: its line in the file, its code, and its AP as written."""

    line: int
    code: str
    ap: float


def best_of(path: Path, flops: Callable[[Genotype], int]) -> tuple[Genotype, float]:
    """The network of the highest AP in a record, and that AP from 0 to 1; the one of fewer `flops` where APs are equal.

    Raises:
        ConfigError: the file can't be read as a record, or no network in it was trained.
    """
    highest, rows = -1.0, dict[str, Row]()
    for row in _trained(path):
        if row.ap > highest:
            highest, rows = row.ap, {}
        if row.ap == highest:
            rows[row.code] = row
    if not rows:
        raise ConfigError(f"{path} names no trained network: every mAP in it is empty, nan or negative")
    genotypes = {code: _genotype(path, row) for code, row in rows.items()}
    best = min(genotypes.values(), key=lambda genotype: (flops(genotype), genotype.code))
    return best, highest / 100 if highest > 1 else highest


def _trained(path: Path) -> Iterator[Row]:
    try:
        with opened(path, MAX_BYTES) as file, TextIOWrapper(file, newline="", encoding="utf-8-sig") as text:
            reader = csv.reader(_lines(text))
            names = [name.strip() for name in next(reader, [])]
            missing = [name for name in COLUMNS if name not in names]
            if missing:
                found = ", ".join(names[:12])[:200] or "nothing"
                raise ConfigError(
                    f"{path} is no search record: expected the columns of a total_list_*.csv, at least "
                    f"{' and '.join(COLUMNS)}, found {found!r}"
                )
            code, ap = map(names.index, COLUMNS)
            ruled_out = names.index("ruled_out") if "ruled_out" in names else None
            for row in reader:
                if ruled_out is not None and any(row[ruled_out : ruled_out + 1]):
                    continue
                if len(row) > max(code, ap) and (value := _ap(path, reader.line_num, row[ap])) is not None:
                    yield Row(reader.line_num, row[code].strip(), value)
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"can't read {path} as a search record (CSV, UTF-8): {reason}") from error


def _lines(text: TextIO) -> Iterator[str]:
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE:
            raise ValueError(f"a line has more than {in_words(MAX_LINE)}")
        yield line


def _ap(path: Path, line: int, text: str) -> float | None:
    """AP as written, or None for a training that failed."""
    try:
        value = float(text.strip() or "nan")
    except ValueError:
        value = math.inf
    if math.isnan(value) or value < 0:
        return None
    if value > 100:
        raise ConfigError(f"{path}, line {line}: mAP {text[:40]!r}; expected a number from 0 to 1, or to 100")
    return value


def _genotype(path: Path, row: Row) -> Genotype:
    try:
        return Genotype.parse(row.code)
    except GenotypeError as error:
        raise ConfigError(f"{path}, line {row.line}: arch {error}") from error
