"""News: never too low, bounded, learned once after a restart."""

import pytest

from timewire import news as module
from timewire.backends.memory import MemoryStore, MemoryTimelines
from timewire.model import Draft, Entry, Receipt
from timewire.news import News


class CountingMessages(MemoryTimelines):
    """A message store that says how often it was asked for the last message."""

    asked = 0

    async def last(self, timeline: str) -> Entry | None:
        self.asked += 1
        return await super().last(timeline)


async def test_what_was_noted_is_news_to_whoever_is_behind() -> None:
    news = News(MemoryTimelines(), 0)
    news.note("team", 5)
    news.note("crew", 7)
    assert news.may_have(["team", "crew", "other"], 4) == ["team", "crew"]
    assert news.may_have(["team", "crew", "other"], 5) == ["crew"]
    assert news.may_have(["team", "crew", "other"], 7) == []
    assert await news.has("team", 4)
    assert not await news.has("team", 5)


async def test_what_was_before_the_start_is_learned_once() -> None:
    messages = CountingMessages()
    await messages.append("old", b"x", seq=3)
    await messages.append("new", b"x", seq=9)
    news = News(messages, 10)
    names = ["old", "new", "none"]
    assert news.may_have(names, 10) == []
    for _ in range(3):
        assert [name for name in news.may_have(names, 5) if await news.has(name, 5)] == ["new"]
    assert messages.asked == 3
    assert news.may_have(names, 5) == ["new"]


async def test_what_is_forgotten_counts_as_news_until_it_is_learned_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_NEWS", 2)
    store = MemoryStore(lambda: 0)
    receipts = await store.log.append([Draft(name, "a", "", b"{}") for name in "abc"])
    news = News(store.messages, 0)
    for name, receipt in zip("abc", receipts, strict=True):
        assert isinstance(receipt, Receipt)
        news.note(name, receipt.seq)
    assert news.may_have("abc", 0) == ["a", "b", "c"]
    assert news.may_have("abc", 1) == ["b", "c"]
    assert await news.has("a", 0)
    assert not await news.has("a", 1)
    # What was noted last is kept longest.
    news.note("b", 4)
    news.note("d", 5)
    assert news.may_have(["b", "d"], 3) == ["b", "d"]
