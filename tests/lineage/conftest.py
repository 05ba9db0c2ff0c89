"""A new store for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lineage.store import EventStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore.create(tmp_path / "lineage.duckdb") as store:
        yield store
