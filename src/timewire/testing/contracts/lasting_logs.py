"""Contracts of logs that outlive their process, a crash, or a full disk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from timewire.errors import Retryable
from timewire.log import MessageLog
from timewire.model import Created, Draft, Members, Receipt, Ref
from timewire.testing.contracts.logs import code, draft, plain, put, take, within
from timewire.testing.contracts.places import (
    Contract,
    CrashingStoresPlace,
    FailingStoresPlace,
    Stores,
    StoresPlace,
)


class LogFailureContract(Contract[FailingStoresPlace]):
    """What a log promises of a store that cannot write for a while."""

    async def test_a_refused_append_did_not_happen(self, store: Stores) -> None:
        await put(store.log, draft("team", "1", change=Created("group", ["alice"])))
        assert store.log.writable
        self.at.block_writes()
        call = [draft("team", "2"), draft("team", "3", change=Members(joined=["bob"]))]
        with pytest.raises(Retryable) as caught:
            await within(store.log.append(call))

        assert caught.value.code == "storage_unavailable"
        assert not store.log.writable
        assert [m.payload for m in await store.log.read(0)] == [draft("team", "1").payload]
        assert await store.directory.members("team") == ["alice"]
        assert await store.log.find(draft("team", "2")) is None

        self.at.allow_writes()
        receipts = await self.once_writable(store.log, call)
        assert store.log.writable
        assert [r.repeated for r in receipts] == [False, False]
        assert receipts[-1].seq == store.log.head
        assert await store.directory.members("team") == ["alice", "bob"]

    async def once_writable(self, log: MessageLog, call: Sequence[Draft]) -> list[Receipt]:
        """Append as a patient client does, until the log has found that it can write again."""
        async with asyncio.timeout(60):
            while True:
                try:
                    return await put(log, *call)
                except Retryable:
                    await asyncio.sleep(0.01)


class LogReopenContract(Contract[StoresPlace]):
    """What a log promises that keeps its messages when it is closed."""

    async def test_everything_is_there_again(self, store: Stores) -> None:
        self.clock.now = 5000
        created = draft("team", "1", change=Created("group", ["alice", "bob"], "The team"))
        joined = draft("team", "2", change=Members(joined=["carol"], left=["bob"]))
        given = await put(store.log, created)
        given += await put(store.log, joined)
        given += await put(store.log, draft("a", "3", origin=object()), draft("a", ""))
        before, epoch, head = plain(await store.log.read(0)), store.log.epoch, store.log.head

        await self.at.close()
        store = await self.at.open()
        assert (store.log.epoch, store.log.head) == (epoch, head)
        assert plain(await store.log.read(0)) == before
        assert plain(await store.log.fetch([Ref(given[2].seq, "a")])) == before[2:3]
        assert [m.origin for m in await take(store.log.tail(0), 4)] == [None] * 4
        assert await store.messages.count("a") == 2
        again = await put(store.log, created)
        again += await put(store.log, joined)
        again += await put(store.log, draft("a", "3"))
        assert again == [Receipt(r.seq, r.time, repeated=True) for r in given[:3]]
        [reused] = await within(store.log.append([draft("a", "3", "another text")]))
        assert code(reused) == "id_reused"

    async def test_order_and_time_go_on(self, store: Stores) -> None:
        self.clock.now = 5000
        await put(store.log, draft("team", "1"), draft("team", "2"))
        head = store.log.head

        await self.at.close()
        self.clock.now = 4000
        store = await self.at.open()
        [receipt] = await put(store.log, draft("team", "3"))
        assert receipt.seq > head
        assert receipt.time == 5000
        assert [m.seq for m in await take(store.log.tail(head), 1)] == [receipt.seq]

    async def test_another_place_has_another_epoch(self, store: Stores) -> None:
        other = self.place(self.at.path / "another", self.clock)
        try:
            assert (await other.open()).log.epoch != store.log.epoch
        finally:
            await other.close()


class LogCrashContract(Contract[CrashingStoresPlace]):
    """What such a log promises of a crash."""

    async def test_what_was_answered_is_there(self, store: Stores) -> None:
        team = draft("team", "0", change=Created("group", ["alice"]))
        await put(store.log, team)
        given = await put(store.log, *(draft("team", str(i)) for i in range(1, 6)))
        before = plain(await store.log.read(0))

        await self.at.crash()
        store = await self.at.open()
        assert plain(await store.log.read(0))[: len(before)] == before
        assert store.log.head >= given[-1].seq
        assert await store.directory.members("team") == ["alice"]
        again = await put(store.log, *(draft("team", str(i)) for i in range(1, 6)))
        assert again == [Receipt(r.seq, r.time, repeated=True) for r in given]

    async def test_a_call_is_there_wholly_or_not_at_all(self, store: Stores) -> None:
        await put(store.log, draft("team", "0", change=Created("group", ["alice"])))
        call = [
            draft("team", "1"),
            draft("other", "2"),
            draft("team", "3", change=Members(joined=["bob"])),
        ]
        answer = store.log.append(call)
        assert await store.directory.members("team") == ["alice", "bob"]  # as staged
        await self.at.crash()
        answer.cancel()

        store = await self.at.open()
        stored = await store.log.read(0)
        there = len(stored) > 1
        assert len(stored) == (4 if there else 1)
        assert await store.messages.count("other") == there
        assert await store.directory.members("team") == (["alice", "bob"] if there else ["alice"])
        receipts = await put(store.log, *call)
        assert [r.repeated for r in receipts] == [there] * 3
        assert len(await store.log.read(0)) == 4
        assert await store.directory.members("team") == ["alice", "bob"]
