"""What the lock's text says once nobody holds the lock: whether events were left in the write-ahead log."""

from __future__ import annotations

import pytest
from elsewhere import write_run

from lineage.events import Event, RunResumed
from lineage.store import EventStore
from lineage.wal import wal_of
from orchestrator.run_folder import RunFolder


class Mistake(Exception):
    """Something that ends a command in order."""


@pytest.fixture
def killed(tmp_path_factory: pytest.TempPathFactory, old_log: list[Event]) -> RunFolder:
    """A run whose process was killed after it had resumed it."""
    run = write_run(tmp_path_factory.mktemp("runs") / "run", old_log[:-1])
    files = (run.database, wal_of(run.database))
    with EventStore.open(run.database) as store:
        (last,) = store.read(after_seq=len(old_log) - 2)
        store.append([RunResumed()], last.ts)
        live = [file.read_bytes() for file in files]
    for file, content in zip(files, live, strict=True):
        file.write_bytes(content)
    run.lock.write_text("4194305\n")
    return run


def test_after_an_orderly_error_no_process_is_called_killed(killed: RunFolder) -> None:
    with pytest.raises(Mistake), killed.held(), EventStore.open(killed.database):
        raise Mistake
    assert not wal_of(killed.database).exists()
    assert not killed.was_killed()


def test_as_long_as_events_lie_in_the_write_ahead_log_their_loss_would_be_noticed(killed: RunFolder) -> None:
    with pytest.raises(Mistake), killed.held():
        raise Mistake
    with killed.held():
        pass
    assert wal_of(killed.database).exists()
    assert killed.was_killed()


def test_an_error_does_not_hide_that_the_write_ahead_log_was_missing_before(killed: RunFolder) -> None:
    wal_of(killed.database).unlink()
    with pytest.raises(Mistake), killed.held(), EventStore.open(killed.database):
        raise Mistake
    assert killed.was_killed()
    with killed.held(), EventStore.open(killed.database):
        pass
    assert not killed.was_killed()
