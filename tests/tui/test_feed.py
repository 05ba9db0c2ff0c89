"""Feeds hand out the newest view, never hold up who publishes, and end when nobody will add events."""

import asyncio

import pytest

import tui.feed
from lineage.errors import StoreNotFound
from lineage.store import EventStore
from tui.feed import MAX_BACKLOG, SLICE, STORE_NAME, QueueFeed, follow_run


async def first_view(feed):
    async for view in feed:
        return view
    return None


async def test_a_queue_feed_hands_out_the_newest_view_and_ends_when_closed(made_up):
    feed = QueueFeed()
    for event in made_up.recorded(made_up.whole_run()):
        feed.publish(event)
    feed.close()
    views = [view async for view in feed]
    assert [view.status for view in views] == ["finished"]


async def test_a_waiting_consumer_is_woken_by_the_next_event(made_up):
    feed, events = QueueFeed(), made_up.recorded(made_up.running_run())
    feed.publish(events[0])
    views = aiter(feed)
    assert (await anext(views)).last_seq == 1
    waiting = asyncio.ensure_future(anext(views))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    feed.publish(events[1])
    assert (await waiting).last_seq == 2


async def test_a_consumer_that_comes_late_or_again_sees_everything(made_up):
    feed, events = QueueFeed(), made_up.recorded(made_up.whole_run())
    for event in events[:10]:
        feed.publish(event)
    assert (await first_view(feed)).last_seq == 10
    for event in events[10:]:
        feed.publish(event)
    assert (await first_view(feed)).trained == feed.view.trained == 5


async def test_nobody_looking_costs_no_memory_and_loses_nothing(made_up):
    feed = QueueFeed()
    for event in made_up.recorded([made_up.run_started(), *[made_up.proposed("s-0001")] * (2 * MAX_BACKLOG)]):
        feed.publish(event)
    assert len(feed._backlog) == MAX_BACKLOG
    assert feed.view.proposed == 2 * MAX_BACKLOG


async def test_a_burst_leaves_the_event_loop_free_between_slices(made_up):
    feed, turns = QueueFeed(), 0

    async def search():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    for event in made_up.recorded([made_up.run_started(), *[made_up.proposed("s-0001")] * 4999]):
        feed.publish(event)
    other = asyncio.create_task(search())
    view = await first_view(feed)
    other.cancel()
    assert view.proposed == 4999
    assert turns >= 5000 // SLICE


@pytest.fixture
def run(tmp_path, made_up):
    with EventStore.create(tmp_path / STORE_NAME) as store:
        store.append(made_up.running_run(), made_up.at(1))
    return tmp_path


async def test_a_run_that_is_not_live_is_read_once(run):
    views = [view async for view in follow_run(run, lambda: False)]
    assert [(view.status, view.trained) for view in views] == [("running", 2)]


async def test_a_live_run_is_read_on_until_it_ends(run, made_up, monkeypatch):
    monkeypatch.setattr(tui.feed, "POLL_S", 0.01)
    live = True
    views = follow_run(run, lambda: live)
    assert (await anext(views)).status == "running"
    with EventStore.open(run / STORE_NAME) as store:
        store.append(made_up.whole_run()[len(made_up.running_run()) :], made_up.at(30))
    live = False
    rest = [view async for view in views]
    assert (rest[-1].status, rest[-1].trained) == ("finished", 5)


async def test_a_look_that_fails_is_taken_again_while_the_run_is_live(run, made_up, monkeypatch):
    monkeypatch.setattr(tui.feed, "POLL_S", 0.01)
    views = follow_run(run, lambda: True)
    await anext(views)
    with EventStore.open(run / STORE_NAME) as store:  # in this process, a snapshot is refused meanwhile
        store.append(made_up.whole_run()[len(made_up.running_run()) :], made_up.at(30))
        assert (await anext(views)).status == "running"
    assert (await anext(views)).status == "finished"
    await views.aclose()


async def test_a_folder_without_a_store_is_an_error(tmp_path):
    with pytest.raises(StoreNotFound):
        await anext(follow_run(tmp_path, lambda: False))
