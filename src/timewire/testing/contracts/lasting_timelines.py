"""Contracts of timeline stores that outlive their process, a crash, or their disk's mistakes."""

from __future__ import annotations

import asyncio

import pytest

from timewire.errors import Damaged
from timewire.model import MAX_SEQ, Entry
from timewire.testing.contracts.places import (
    Contract,
    CrashingTimelinesPlace,
    DamagingTimelinesPlace,
    TimelinesPlace,
)
from timewire.testing.contracts.timelines import (
    ODD_NAMES,
    everything,
    payloads,
    refuses,
    seqs,
)
from timewire.timeline import Append, TimelineStore


class TimelineReopenContract(Contract[TimelinesPlace]):
    """What a timeline store promises that keeps its entries when it is closed."""

    async def reopen(self) -> TimelineStore:
        """The store, closed and opened again."""
        await self.at.close()
        return await self.at.open()

    async def test_everything_is_there_again(self, store: TimelineStore) -> None:
        for name in ODD_NAMES:
            await store.append(name, name.encode(), seq=7)
        await store.append("auto", b"1")
        await store.append("auto", b"2", durable=False)
        await store.append("manual", b"", seq=MAX_SEQ)
        names = await store.timelines()
        before = {name: await everything(store, name) for name in names}

        store = await self.reopen()
        assert await store.timelines() == names
        assert {name: await everything(store, name) for name in names} == before

    async def test_numbering_goes_on_above_all_that_was(self, store: TimelineStore) -> None:
        await store.append("a", b"")
        await store.append("m", b"x", seq=10)
        last = await store.append("b", b"")

        store = await self.reopen()
        assert await store.append("a", b"") > last
        await refuses("seq_mode", store.append("a", b"", seq=last + 100))
        await refuses("seq_mode", store.append("m", b""))
        await refuses("seq_regressed", store.append("m", b"", seq=9))
        await refuses("seq_taken", store.append("m", b"y", seq=10))
        assert await store.append("m", b"x", seq=10) == 10
        assert seqs(await everything(store, "m")) == [10]

    async def test_numbering_goes_on_above_what_was_removed(self, store: TimelineStore) -> None:
        last = await store.append("a", b"")
        await store.append("m", b"x", seq=10)
        await store.trim("a", MAX_SEQ)
        await store.trim("m", 11)

        store = await self.reopen()
        assert await store.timelines() == []
        assert await store.floor("a") == last + 1
        assert await store.append("a", b"") > last
        await refuses("seq_regressed", store.append("m", b"x", seq=10))
        await refuses("seq_mode", store.append("m", b"x"))
        assert await store.append("m", b"x", seq=11) == 11

    async def test_keys_are_known_again(self, store: TimelineStore) -> None:
        first = await store.append("a", b"x", key=b"k")
        redacted = await store.append("a", b"y", key=b"k2")
        await store.redact("a", redacted)
        before = await everything(store, "a")

        store = await self.reopen()
        assert await store.append("a", b"x", key=b"k") == first
        assert await store.append("a", b"y", key=b"k2") == redacted
        await refuses("key_reused", store.append("a", b"y", key=b"k"))
        assert await everything(store, "a") == before

    async def test_redaction_and_floors_stay(self, store: TimelineStore) -> None:
        self.clock.now = 100
        for seq in (1, 2, 3):
            await store.append("a", b"x", seq=seq)
            await store.append("b", b"x", seq=seq)
        self.clock.now = 200
        await store.append("c", b"x", seq=4)
        await store.trim("a", 3)
        await store.redact("c", 4)

        store = await self.reopen()
        assert seqs(await everything(store, "a")) == [3]
        assert await store.floor("a") == 3
        assert await everything(store, "c") == [Entry("c", 4, 200, b"", redacted=True)]
        assert await store.expire(150) == 4

        store = await self.reopen()
        assert await store.timelines() == ["c"]
        assert (await store.floor("a"), await store.floor("b")) == (4, 4)


class TimelineCrashContract(Contract[CrashingTimelinesPlace]):
    """What such a store promises of a crash."""

    async def crash(self) -> TimelineStore:
        """The store, lost and opened again."""
        await self.at.crash()
        return await self.at.open()

    async def test_what_was_durable_is_there(self, store: TimelineStore) -> None:
        given = [await store.append("a", b"%d" % i, key=b"%d" % i) for i in range(5)]
        await store.append_many([Append("m", b"", seq=3), Append("m", b"", seq=9)])
        await store.redact("a", given[1])
        await store.trim("m", 4)

        store = await self.crash()
        assert seqs(await everything(store, "a")) == given
        assert payloads(await everything(store, "a")) == [b"0", b"", b"2", b"3", b"4"]
        assert seqs(await everything(store, "m")) == [9]
        assert await store.append("a", b"0", key=b"0") == given[0]
        assert await store.append("a", b"") > given[-1]

    async def test_what_was_not_durable_is_lost_from_the_end(self, store: TimelineStore) -> None:
        durable = [await store.append("a", b"%d" % i) for i in range(3)]
        fleeting = [
            (await store.append_many([Append("a", b"x"), Append("b", b"y")], durable=False))[0]
            for _ in range(4)
        ]

        store = await self.crash()
        kept = seqs(await everything(store, "a"))
        assert kept == (durable + fleeting)[: max(len(kept), len(durable))]
        # All or nothing: both parts of a batch are there, or neither.
        assert await store.count("b") == len(kept) - len(durable)
        assert await store.append("a", b"") > (kept or [0])[-1]

    async def test_a_durable_append_holds_what_was_before_it(self, store: TimelineStore) -> None:
        fleeting = await store.append("a", b"", durable=False)
        durable = await store.append("b", b"")

        store = await self.crash()
        assert seqs(await everything(store, "a")) == [fleeting]
        assert seqs(await everything(store, "b")) == [durable]

    async def test_nothing_readable_is_lost_of_durable_appends(self, store: TimelineStore) -> None:
        writing = [asyncio.ensure_future(store.append("a", b"%d" % i)) for i in range(20)]
        await asyncio.sleep(0)
        seen = await everything(store, "a")

        await self.at.crash()
        for append in writing:
            append.cancel()
        await asyncio.gather(*writing, return_exceptions=True)
        store = await self.at.open()
        found = await everything(store, "a")
        assert found[: len(seen)] == seen
        assert payloads(found) == [b"%d" % i for i in range(len(found))]


class TimelineDamageContract(Contract[DamagingTimelinesPlace]):
    """What a timeline store promises that finds changed bytes."""

    async def test_damage_is_told_and_never_read(self, store: TimelineStore) -> None:
        for seq in (1, 2, 3):
            await store.append("a", b"payload %d" % seq, seq=seq)
        await self.at.damage("a", 2)
        await self.at.close()
        store = await self.at.open()

        for action in [store.get("a", 2), store.get_many("a", [1, 2])]:
            with pytest.raises(Damaged) as caught:
                await action
            assert caught.value.code == "damaged"
        for page in (await store.scan("a"), await store.scan_back("a")):
            found = {entry.seq: (entry.payload, entry.damaged) for entry in page.entries}
            assert found == {
                1: (b"payload 1", False),
                2: (b"", True),
                3: (b"payload 3", False),
            }

    async def test_what_is_beside_the_damage_can_be_read(self, store: TimelineStore) -> None:
        for seq in (1, 2, 3):
            await store.append("a", b"payload %d" % seq, seq=seq)
            await store.append("b", b"payload %d" % seq, seq=seq)
        await self.at.damage("a", 2)
        await self.at.close()
        store = await self.at.open()

        assert payloads((await store.scan("a", after=2)).entries) == [b"payload 3"]
        assert payloads((await store.scan("a", upto=1)).entries) == [b"payload 1"]
        assert len(await everything(store, "b")) == 3
