"""Group commit: every producer is answered once its events are durable, in order, whatever the others sent."""

import threading
from concurrent.futures import Future

import pytest
from histories import NOON, epoch, failed, proposed, run_started

from lineage.errors import StoreError
from lineage.events import Event, JobFailed, Recorded
from lineage.store import EventStore
from lineage.writer import EventWriter


def test_an_acknowledged_append_is_in_the_store(store: EventStore) -> None:
    with EventWriter(store) as writer:
        recorded = writer.append([run_started(), proposed("s-0")], NOON).result(10)
        assert list(store.read()) == recorded
        assert writer.append([], NOON).result(10) == []


def test_each_producer_finds_its_events_whole_and_in_its_order(store: EventStore) -> None:
    futures: dict[int, list[Future[list[Recorded]]]] = {}

    def produce(producer: int) -> None:
        futures[producer] = [
            writer.append([epoch(f"j-{producer}", 2 * number + 1), epoch(f"j-{producer}", 2 * number + 2)], NOON)
            for number in range(20)
        ]

    with EventWriter(store) as writer:
        threads = [threading.Thread(target=produce, args=(producer,)) for producer in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    log = list(store.read())
    assert len(log) == 8 * 20 * 2
    for producer, mine in futures.items():
        pairs = [future.result(0) for future in mine]
        assert [one for pair in pairs for one in pair] == [one for one in log if one.event.job_id == f"j-{producer}"]  # type: ignore[union-attr]
        assert all(second.seq == first.seq + 1 for first, second in pairs)


def test_one_bad_append_fails_alone(store: EventStore) -> None:
    bad = [proposed("s-1"), proposed("s-2", params=2**70)]
    with EventWriter(store) as writer:
        futures = [
            writer.append(events, NOON) for events in ([run_started()], bad, [proposed("s-3")]) for _ in range(2)
        ]
    outcomes = [type(future.exception(0)).__name__ for future in futures]
    assert outcomes == ["NoneType", "NoneType", "StoreError", "StoreError", "NoneType", "NoneType"]
    assert store.query("SELECT candidate_id FROM candidates").rows == [("s-3",)]


def test_the_writer_survives_what_it_can_not_store(store: EventStore) -> None:
    with EventWriter(store) as writer:
        with pytest.raises(ValueError, match="timezone-aware"):
            writer.append([run_started()], NOON.replace(tzinfo=None)).result(10)
        assert len(writer.append([run_started()], NOON).result(10)) == 1


def test_closing_writes_what_is_queued_and_refuses_the_rest(store: EventStore) -> None:
    events: list[Event] = [failed(f"j-{number}") for number in range(50)]
    writer = EventWriter(store)
    futures = [writer.append([event], NOON) for event in events]
    writer.close()
    writer.close()
    assert all(future.done() for future in futures)
    assert [one.event for one in store.read()] == events
    assert all(isinstance(event, JobFailed) for event in events)
    with pytest.raises(StoreError, match="closed"):
        writer.append(events, NOON)


def test_a_cancelled_append_is_not_written(store: EventStore) -> None:
    with EventWriter(store) as writer:
        with store._lock:  # the writer can't begin, so what follows the first append is still queued
            first = writer.append([run_started()], NOON)
            cancelled = [writer.append([proposed("s-0")], NOON) for _ in range(3)][-1]
            stopped = cancelled.cancel()
        first.result(10)
    assert len(list(store.read())) == (3 if stopped else 4)
