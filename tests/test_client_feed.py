"""The queue of events towards the app."""

import asyncio

import pytest

from timewire.client import feed as feed_module
from timewire.client.events import Connected, Disconnected, Event, Received, Refused, Reset
from timewire.client.feed import Feed
from timewire.errors import Forbidden, error
from timewire.model import Message


def received(seq: int) -> Received:
    return Received(Message("team", seq, 1000 + seq))


def quiet() -> None:
    """Progress is of no interest."""


async def rest(feed: Feed) -> list[Event]:
    return [event async for event in feed]


async def test_events_come_in_order_and_end() -> None:
    feed = Feed(quiet)
    events = [Connected(), received(1), Reset("expired"), received(2)]
    for event in events:
        feed.put(event, 5)
    feed.finish()
    assert await rest(feed) == events
    assert await rest(feed) == []


async def test_a_fault_comes_after_what_waits_and_the_first_end_holds() -> None:
    feed = Feed(quiet)
    feed.put(received(1), 1)
    feed.finish(error("replaced"))
    feed.finish()
    assert await anext(feed) == received(1)
    for _ in range(2):
        with pytest.raises(Forbidden):
            await anext(feed)


async def test_an_event_is_dealt_with_when_the_next_one_is_asked_for() -> None:
    feed = Feed(quiet)
    for number in (7, 9):
        feed.put(received(number), number)
    assert (feed.unread, feed.idle, feed.taken) == (2, False, 0)
    await anext(feed)
    assert (feed.unread, feed.taken) == (1, 0)
    await anext(feed)
    assert (feed.unread, feed.idle, feed.taken) == (0, True, 7)
    feed.hand_back()
    assert feed.taken == 9


async def test_a_message_is_dealt_with_before_a_later_event_is() -> None:
    feed = Feed(quiet)
    feed.put(received(7), 7)
    feed.put(Connected())
    await anext(feed)
    await anext(feed)
    assert feed.taken == 7


async def test_progress_is_told_for_each_event_and_before_waiting() -> None:
    seen: list[tuple[int, int]] = []
    feed = Feed(lambda: seen.append((feed.unread, feed.taken)))
    feed.put(received(3), 3)
    await anext(feed)
    waiting = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    assert seen == [(0, 0), (0, 3)]
    feed.put(received(4), 4)
    assert await waiting == received(4)


async def test_who_stops_waiting_takes_nothing_away() -> None:
    feed = Feed(quiet)
    waiting = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    waiting.cancel()
    feed.put(received(1), 1)
    assert await anext(feed) == received(1)


async def test_stale_news_are_dropped_and_nothing_else_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MAX_NEWS_EVENTS", 3)
    feed = Feed(quiet)
    refused = Refused("a", "team", error("not_member"))
    for _ in range(5):
        feed.put(Connected())
        feed.put(Disconnected("broke"))
    for event in (received(1), refused, Reset("expired")):
        feed.put(event)
    feed.finish()
    assert await rest(feed) == [
        Connected(),
        Disconnected("broke"),
        Connected(),
        received(1),
        refused,
        Reset("expired"),
    ]
