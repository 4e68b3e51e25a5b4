"""RocksDB timelines and the message store: what the contract does not ask of every backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rocksdict import WriteBatch

from timewire.backends.rocksdb import RocksStore, entry_store, heads
from timewire.backends.rocksdb.database import ENTRIES, ENTRY_KEYS, TIMELINES
from timewire.backends.rocksdb.entries import pack_seq, prefix
from timewire.backends.rocksdb.lru import Lru
from timewire.errors import Damaged, Invalid
from timewire.model import MAX_SEQ, Draft
from timewire.testing.contracts import ManualClock
from timewire.timeline import Append


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000)


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[RocksStore]:
    store = await RocksStore.open(tmp_path / "data", clock=clock)
    yield store
    await store.aclose()


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_store, "MAX_STEP_ENTRIES", 3)


def keys_in(store: RocksStore, family: str) -> list[bytes]:
    return list(store._engine.family(family).forward_keys(b"", b"\xff" * 600))


async def seqs(store: RocksStore, name: str) -> list[int]:
    return [entry.seq for entry in (await store.timelines.scan(name, limit=1000)).entries]


@pytest.mark.parametrize("entries", [1, 2, 3, 4, 6, 7, 20])
async def test_long_ways_are_gone_in_steps(
    store: RocksStore, clock: ManualClock, small_steps: None, entries: int
) -> None:
    timelines = store.timelines
    numbers = [Append("a", b"", seq) for seq in range(1, entries + 1)]
    await timelines.append_many([*numbers, Append("b", b"", 1)])
    assert await timelines.count("a") == entries
    assert await timelines.count("a", after=1) == entries - 1
    await timelines.trim("a", entries)
    assert await seqs(store, "a") == [entries]
    clock.now = 2000
    await timelines.append("a", b"", seq=entries + 1)
    assert await timelines.expire(2000) == 2
    assert (await timelines.timelines(), await seqs(store, "a")) == (["a"], [entries + 1])
    assert len(keys_in(store, ENTRIES)) == 1


async def test_many_timelines_expire_in_steps(
    store: RocksStore, clock: ManualClock, small_steps: None
) -> None:
    names = [f"t{number:02d}" for number in range(20)]
    await store.timelines.append_many([Append(name, b"old") for name in names])
    clock.now = 2000
    await store.timelines.append_many([Append(name, b"new") for name in names[::2]])
    assert await store.timelines.expire(2000) == 20
    assert await store.timelines.timelines() == names[::2]
    assert await store.timelines.expire(2000) == 0


async def test_others_go_on_while_much_is_removed(store: RocksStore, small_steps: None) -> None:
    await store.timelines.append_many([Append("a", b"", seq) for seq in range(1, 31)])
    trimming = asyncio.ensure_future(store.timelines.trim("a", 31))
    steps = list[list[int]]()
    while not trimming.done():
        await asyncio.sleep(0)
        steps.append(await seqs(store, "a"))
    # Always an end of the timeline, never a piece from its middle.
    assert all(step == list(range(31 - len(step), 31)) for step in steps)
    assert len({len(step) for step in steps}) > 3
    assert await store.timelines.floor("a") == 31


async def test_keys_go_with_their_entries(store: RocksStore) -> None:
    for number in range(1, 4):
        await store.timelines.append("a", b"x", seq=number, key=b"k%d" % number)
    await store.timelines.redact("a", 2)
    assert len(keys_in(store, ENTRY_KEYS)) == 3
    await store.timelines.trim("a", 3)
    assert keys_in(store, ENTRY_KEYS) == [b"a\0k3"]
    # Forgotten with its entry: it may be used again.
    assert await store.timelines.append("a", b"other", seq=9, key=b"k1") == 9
    assert await store.timelines.append("a", b"other", seq=9, key=b"k1") == 9


async def test_a_redacted_payload_is_nowhere(store: RocksStore) -> None:
    seq = await store.timelines.append("a", b"a secret", key=b"k")
    await store.timelines.redact("a", seq)
    value = store._engine.family(ENTRIES).get(prefix("a") + pack_seq(seq))
    assert value
    assert b"secret" not in value
    # A digest, which is of this place only, tells a repeat from another entry.
    assert await store.timelines.append("a", b"a secret", key=b"k") == seq
    with pytest.raises(Invalid):
        await store.timelines.append("a", b"another", key=b"k")
    await store.timelines.redact("a", seq)
    assert await store.timelines.append("a", b"a secret", key=b"k") == seq
    other = await store.timelines.append("a", b"a secret")
    await store.timelines.redact("a", other)
    again = store._engine.family(ENTRIES).get(prefix("a") + pack_seq(other))
    assert again
    assert again[-16:] != value[-16:]


async def test_damage_does_not_keep_the_old_from_going(
    store: RocksStore, clock: ManualClock
) -> None:
    await store.timelines.append("a", b"x", seq=1, key=b"k")
    await store.timelines.append("a", b"y", seq=2)
    entries = store._engine.family(ENTRIES)
    value = entries.get(prefix("a") + pack_seq(1))
    assert value
    batch = WriteBatch(raw_mode=True)
    batch.put(prefix("a") + pack_seq(1), value[:-1] + b"?", entries.handle)
    batch.put(prefix("a") + pack_seq(2), b"", entries.handle)
    store._engine.write(batch)

    page = await store.timelines.scan("a")
    assert [(entry.seq, entry.damaged) for entry in page.entries] == [(1, True), (2, True)]
    with pytest.raises(Damaged):
        await store.timelines.get("a", 2)
    with pytest.raises(Damaged):
        await store.timelines.redact("a", 1)
    clock.now = 2000
    assert await store.timelines.expire(1500) == 2
    assert await store.timelines.timelines() == []
    assert await store.timelines.append("a", b"z", seq=3) == 3


async def test_a_fleeting_entry_waits_for_the_durable_one_before_it(store: RocksStore) -> None:
    durable = asyncio.ensure_future(store.timelines.append("a", b"1"))
    await asyncio.sleep(0)
    fleeting = await store.timelines.append("a", b"2", durable=False)
    other = await store.timelines.append("b", b"3", durable=False)
    assert await seqs(store, "b") == [other]
    if not durable.done():
        assert await seqs(store, "a") == []
        assert await store.timelines.last("a") is None
        assert await store.timelines.timelines() == ["b"]
        assert not await store.timelines.redact("a", fleeting)
    assert await seqs(store, "a") == [] or durable.done()
    assert await durable < fleeting < other
    assert await seqs(store, "a") == [fleeting - 1, fleeting]


async def test_heads_are_read_again_when_forgotten(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    few: Lru[str, heads.Head] = Lru(1)
    monkeypatch.setattr(store.timelines._heads, "_kept", few)
    monkeypatch.setattr(store.timelines, "_ends", Lru[str, object](1))
    for name in ("a", "b", "c"):
        await store.timelines.append(name, b"", seq=5)
        await store.timelines.append(name, b"", seq=7)
    await store.timelines.trim("b", 6)
    for name, floor in (("a", 1), ("b", 6), ("c", 1), ("b", 6)):
        assert await store.timelines.floor(name) == floor
        with pytest.raises(Invalid):
            await store.timelines.append(name, b"")
        with pytest.raises(Invalid):
            await store.timelines.append(name, b"", seq=6)


async def test_most_timelines_have_no_head(store: RocksStore) -> None:
    await store.timelines.append("auto", b"")
    await store.timelines.append("manual", b"", seq=3)
    await store.log.append([Draft("team", "alice", "1", b"{}")])
    assert keys_in(store, TIMELINES) == [b"tmanual"]


async def test_the_message_store_and_the_library_are_apart(store: RocksStore) -> None:
    await store.timelines.append("team", b"in the library", seq=9)
    await store.log.append([Draft("team", "alice", str(i), b"%d" % i) for i in range(3)])
    assert await store.messages.count("team") == 3
    await store.messages.trim("team", 3)
    assert (await store.messages.floor("team"), await store.timelines.floor("team")) == (3, 1)
    assert await seqs(store, "team") == [9]
    assert [m.seq for m in await store.log.fetch([])] == []
    assert await store.messages.timelines() == ["team"]
    await store.timelines.trim("team", MAX_SEQ)
    assert await store.timelines.timelines() == []
    assert await store.messages.count("team") == 1


async def test_messages_are_appended_through_the_log_only(store: RocksStore) -> None:
    for appending in (
        store.messages.append("team", b""),
        store.messages.append("team", b"", seq=1),
        store.messages.append_many([Append("team", b"")]),
    ):
        with pytest.raises(Invalid) as caught:
            await appending
        assert caught.value.code == "seq_mode"


async def test_old_messages_can_expire(store: RocksStore, clock: ManualClock) -> None:
    await store.log.append([Draft("team", "alice", "1", b"1"), Draft("other", "alice", "2", b"2")])
    clock.now = 2000
    await store.log.append([Draft("team", "alice", "3", b"3")])
    assert await store.messages.expire(2000) == 2
    assert [e.payload for e in (await store.messages.scan("team")).entries] == [b"3"]
    assert await store.messages.timelines() == ["team"]
    # The log keeps their places.
    assert [(m.seq, m.payload) for m in await store.log.read(0)] == [(1, b""), (2, b""), (3, b"3")]
