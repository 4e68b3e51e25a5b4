"""What is past its life goes from the store, and a store that fails is tried again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from timewire import lives
from timewire.backends.memory import MemoryStore
from timewire.errors import error
from timewire.inbox import Delivery
from timewire.log import MAX_SWEEP_MESSAGES
from timewire.model import Created, Draft, StoredBody, encode_body, encode_change

LIFE_MS = 10


class Failing:
    """An inbox or a log that refuses the first call of a method."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.refused = 0

    async def once(self, name: str, *arguments: Any) -> Any:
        if not self.refused:
            self.refused += 1
            raise error("storage_unavailable")
        return await getattr(self.real, name)(*arguments)

    async def expire(self, before: int) -> Any:
        return await self.once("expire", before)

    async def sweep(self, now: int) -> Any:
        return await self.once("sweep", now)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(10_000):
        if await done():
            return
        await asyncio.sleep(0)
    raise AssertionError("it is still there")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lives, "SWEEP_PAUSE_S", 0)
    monkeypatch.setattr(lives, "MAX_EXPIRY_PAUSE_S", 0)


async def filled(store: MemoryStore, count: int, expires: int = 0) -> None:
    """A conversation of alice's with so many messages after the first, in her inbox."""
    made = Created("group", ["alice"])
    await store.log.append([Draft("team", "alice", "", encode_change("alice", "", made), made)])
    payload = encode_body(StoredBody("alice", "", "text", {"text": "hello"}, expires=expires))
    drafts = [Draft("team", "alice", "", payload, expires=expires) for _ in range(count)]
    for start in range(0, count, 500):
        await store.log.append(drafts[start : start + 500])
    for message in await store.log.read(0):
        await store.inbox.put([Delivery(message, ["alice"])], message.seq)


async def test_inbox_entries_go_when_their_life_is_over() -> None:
    now = 1000
    store = MemoryStore(lambda: now, bucket_ms=1)
    await filled(store, 3)
    inbox = Failing(store.inbox)

    async def empty() -> bool:
        refs, _ = await store.inbox.scan("alice", 0, store.log.head, 10)
        return not refs

    async with running(lives.expire(inbox, LIFE_MS, lambda: now)):  # pyright: ignore[reportArgumentType]
        for _ in range(100):
            await asyncio.sleep(0)
        assert (inbox.refused, store.inbox.floor) == (1, 1)
        now += LIFE_MS + 2
        await until(empty)
    assert store.inbox.floor == store.log.head + 1


async def test_messages_are_redacted_in_as_many_sweeps_as_it_takes() -> None:
    now = 1000
    store = MemoryStore(lambda: now)
    count = MAX_SWEEP_MESSAGES + 10
    await filled(store, count, expires=2000)
    log = Failing(store.log)

    async def redacted() -> bool:
        last = await store.log.read(store.log.head - 1)
        return not last[0].payload

    async with running(lives.sweep(log, lambda: now)):  # pyright: ignore[reportArgumentType]
        for _ in range(100):
            await asyncio.sleep(0)
        assert log.refused == 1
        assert not await redacted()
        now = 2000
        await until(redacted)
    assert [one.seq for one in await store.log.read(0) if one.payload] == [1]
