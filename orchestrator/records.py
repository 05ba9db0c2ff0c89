"""Search records in CSV, ours and Vega's ``total_list_*.csv``: the best network in one.

Columns are found by name, in any order; only ``arch`` (a code) and ``mAP`` are needed. A row whose mAP is empty, nan or
negative is of a training that failed; one with a value in ``ruled_out``, a column of ours alone, is of a network that
breaks a limit. AP counts from 0 to 1, or, where any exceeds 1, to 100.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from lineage.architecture import Genotype, GenotypeError
from orchestrator.errors import ConfigError

MAX_BYTES = 64 * 2**20
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
    rows = list(_trained(path))
    if not rows:
        raise ConfigError(f"{path} names no trained network: every mAP in it is empty, nan or negative")
    highest = max(row.ap for row in rows)
    genotypes = {row.code: _genotype(path, row) for row in rows if row.ap == highest}
    best = min(genotypes.values(), key=lambda genotype: (flops(genotype), genotype.code))
    return best, highest / 100 if highest > 1 else highest


def _trained(path: Path) -> Iterator[Row]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_BYTES >> 20} MiB: no search writes such a record")
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
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
