"""The RocksDB log: what the contract does not ask of every backend."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rocksdict import WriteBatch
from structlog.testing import capture_logs

from timewire.backends.rocksdb import RocksStore, numbers, recent
from timewire.backends.rocksdb.database import MESSAGES
from timewire.backends.rocksdb.directory import MAX_CACHED_MEMBERS
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import pack_seq, prefix
from timewire.backends.rocksdb.lru import Lru
from timewire.errors import Damaged, TimewireError
from timewire.model import Created, Draft, Members, Read, Receipt, Ref, Stored
from timewire.testing.contracts import ManualClock

DAY_MS = 24 * 60 * 60 * 1000


def draft(number: int, conversation: str = "team", origin: object = None) -> Draft:
    return Draft(conversation, "alice", str(number), b"payload %d" % number, None, origin)


async def put(store: RocksStore, *drafts: Draft) -> list[Receipt]:
    results = await store.log.append(drafts)
    receipts = [result for result in results if isinstance(result, Receipt)]
    assert len(receipts) == len(drafts)
    return receipts


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(tmp_path: Path, clock: ManualClock) -> AsyncIterator[RocksStore]:
    store = await RocksStore.open(tmp_path / "data", clock=clock)
    yield store
    await store.aclose()


def families(store: RocksStore, prefix: str) -> list[str]:
    return store._engine.families(prefix)


# Following the log ------------------------------------------------------------------------------


async def test_a_follower_who_is_far_behind_reads_from_disk(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "MAX_RECENT_MESSAGES", 50)
    reads = list[int]()
    read = store.log.read

    async def told(after: int, limit: int = 1000) -> list[Stored]:
        reads.append(after)
        return await read(after, limit)

    monkeypatch.setattr(store.log, "read", told)
    origin = object()
    for call in range(40):
        await put(store, *(draft(call * 5 + i, origin=origin) for i in range(5)))

    found = list[Stored]()
    async for batch in store.log.tail(0):
        found += batch
        if len(found) == 200:
            break
    assert [m.seq for m in found] == list(range(1, 201))
    assert [m.payload for m in found] == [b"payload %d" % i for i in range(200)]
    assert reads == [0]
    # The newest come from memory, with what their sender wants to find again.
    assert found[0].origin is None
    nearby = await anext(store.log.tail(190))
    assert [m.origin for m in nearby] == [origin] * 10
    assert reads == [0]


async def test_a_follower_gets_small_batches_together(store: RocksStore) -> None:
    for number in range(20):
        await put(store, draft(number))
    assert len(await anext(store.log.tail(0))) == 20
    assert [m.seq for m in await anext(store.log.tail(7))] == list(range(8, 21))


def stored(*seqs: int) -> list[Stored]:
    return [Stored(seq, 0, "team", b"12345") for seq in seqs]


def seqs(messages: list[Stored]) -> list[int]:
    return [message.seq for message in messages]


def test_recent_messages_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_RECENT_MESSAGES", 6)
    kept = recent.Recent()
    kept.add(stored(1, 2))
    kept.add(stored(3, 4, 5))
    kept.add(stored(9))  # SeqIds can have holes
    assert (kept.since, seqs(kept.after(0, 10))) == (0, [1, 2, 3, 4, 5, 9])
    assert seqs(kept.after(1, 10)) == [2, 3, 4, 5, 9]
    assert seqs(kept.after(5, 10)) == [9]
    assert seqs(kept.after(7, 10)) == [9]
    assert seqs(kept.after(0, 2)) == [1, 2]
    assert seqs(kept.after(2, 2)) == [3, 4]
    assert seqs(kept.after(0, 4)) == [1, 2]  # whole batches, if one fits

    kept.add(stored(10))
    assert kept.since == 5
    assert seqs(kept.after(5, 10)) == [9, 10]
    kept.clear(20)
    assert (kept.since, seqs(kept.after(20, 10))) == (20, [])


def test_recent_messages_are_kept_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "MAX_RECENT_BYTES", 12)
    kept = recent.Recent()
    kept.add(stored(1, 2))
    assert kept.since == 0
    kept.add(stored(3))
    assert (kept.since, seqs(kept.after(2, 10))) == (2, [3])
    kept.add(stored(4, 5, 6, 7))  # one batch alone is too large
    assert kept.since >= 3
    assert seqs(kept.after(kept.since, 10)) == [s for s in (4, 5, 6, 7) if s > kept.since]


async def test_a_redacted_message_is_gone_from_memory_too(store: RocksStore) -> None:
    [one, two] = await put(store, draft(1), draft(2))
    assert await store.messages.redact("team", one.seq)
    batch = await anext(store.log.tail(0))
    assert [m.payload for m in batch] == [b"", b"payload 2"]
    assert await store.messages.redact("team", two.seq)
    assert [m.payload for m in await anext(store.log.tail(1))] == [b""]


# Ids --------------------------------------------------------------------------------------------


async def test_ids_are_forgotten_a_bucket_at_a_time(store: RocksStore, clock: ManualClock) -> None:
    life_ms = 30 * DAY_MS
    clock.now = 10 * life_ms + 5
    [first] = await put(store, draft(1))
    assert len(families(store, "keys.")) == 1
    clock.now = 11 * life_ms + 4  # a moment before it has lived its life
    [again] = await put(store, draft(1))
    assert (again.seq, again.repeated) == (first.seq, True)
    await put(store, draft(2))
    assert len(families(store, "keys.")) == 2

    clock.now = 12 * life_ms
    await put(store, draft(3))
    assert len(families(store, "keys.")) == 2
    assert [r.repeated for r in await put(store, draft(1), draft(2))] == [False, True]


async def test_another_life_of_ids_forgets_none_too_early(
    tmp_path: Path, clock: ManualClock
) -> None:
    clock.now = 1000 * DAY_MS
    store = await RocksStore.open(tmp_path, clock=clock, keys_days=60)
    [first] = await put(store, draft(1))
    await store.aclose()

    clock.now += 59 * DAY_MS
    store = await RocksStore.open(tmp_path, clock=clock, keys_days=7)
    [other, again] = await put(store, draft(2), draft(1))
    assert (again.seq, again.repeated, other.repeated) == (first.seq, True, False)
    await store.aclose()


async def test_ids_survive_the_trimming_of_their_message(store: RocksStore) -> None:
    [one, two] = await put(store, draft(1), draft(2))
    await store.messages.trim("team", two.seq)
    [again] = await put(store, draft(1))
    assert (again.seq, again.repeated) == (one.seq, True)
    found = await store.log.fetch([Ref(one.seq, "team"), Ref(two.seq, "team")])
    assert [m.seq for m in found] == [two.seq]


# SeqIds -----------------------------------------------------------------------------------------


async def test_seqids_shown_undurable_are_not_given_again(
    tmp_path: Path, clock: ManualClock
) -> None:
    """What a crash of the machine takes back: the log file ends where it was synced last."""
    path = tmp_path / "data"
    store = await RocksStore.open(
        path, clock=clock, durability="interval", sync_interval_ms=3_600_000
    )
    await put(store, draft(1))
    feed = await store.timelines.append("feed", b"1")
    synced = {file: file.stat().st_size for file in path.glob("*.log")}
    shown = await put(store, draft(2), draft(3))
    shown_feed = await store.timelines.append("feed", b"2")
    shutil.copytree(path, tmp_path / "left", ignore=shutil.ignore_patterns("LOCK"))
    for file, size in synced.items():
        with (tmp_path / "left" / file.name).open("r+b") as left:
            left.truncate(size)
    await store.aclose()

    store = await RocksStore.open(tmp_path / "left", clock=clock)
    assert store.log.head == 1
    [after] = await put(store, draft(9))
    assert after.seq > max(receipt.seq for receipt in shown)
    assert after.seq <= shown[-1].seq + 2 * numbers.COVERED_SEQS
    assert await store.timelines.append("feed", b"3") > shown_feed
    assert [e.payload for e in (await store.timelines.scan("feed")).entries] == [b"1", b"3"]
    assert feed < shown_feed
    # Followers pass over the hole.
    assert [m.seq for m in await store.log.read(0)] == [1, after.seq]
    assert [m.seq for m in await store.log.read(1)] == [after.seq]
    assert [m.seq for m in await anext(store.log.tail(shown[-1].seq))] == [after.seq]
    await store.aclose()


async def test_a_mark_reaches_far_and_is_moved_in_time(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numbers, "COVERED_SEQS", 10)
    marks = list[None]()
    write_synced = Engine.write_synced

    def counted(engine: Engine, batch: WriteBatch) -> None:
        marks.append(None)
        write_synced(engine, batch)

    store = await RocksStore.open(tmp_path, clock=clock, durability="interval")
    monkeypatch.setattr(Engine, "write_synced", counted)
    for number in range(1, 36):
        await put(store, draft(number))
    assert store.log.head == 35
    assert len(marks) == 4
    await store.aclose()


# Fetching ---------------------------------------------------------------------------------------


async def test_fetching_is_the_same_whatever_lies_between(store: RocksStore) -> None:
    """One stretch of a conversation is read at once: dense or not, in order or not, with gaps."""
    for start in range(0, 600, 100):
        names = ["dense" if number % 50 else "sparse" for number in range(start, start + 100)]
        drafts = [draft(start + i, name) for i, name in enumerate(names)]
        await put(store, *drafts)
    log = await store.log.read(0)
    dense = [Ref(m.seq, "dense") for m in log if m.conversation == "dense"]
    sparse = [Ref(m.seq, "sparse") for m in log if m.conversation == "sparse"]
    await store.messages.redact("dense", dense[3].seq)
    payloads = {m.seq: m.payload for m in log} | {dense[3].seq: b""}

    for refs in (
        dense[:500],
        dense[:20],
        dense[:500:25],
        dense[:40][::-1],
        [*dense[:30], *sparse, *dense[30:60]],
        [*dense[:10], Ref(sparse[1].seq, "dense"), Ref(10**9, "dense"), *dense[300:310]],
        sparse,
        [dense[5]] * 20,
    ):
        found = await store.log.fetch(refs)
        there = [ref for ref in refs if ref in dense or ref in sparse]
        assert [(m.seq, m.conversation) for m in found] == [
            (ref.seq, ref.conversation) for ref in there
        ]
        assert [m.payload for m in found] == [payloads[ref.seq] for ref in there]


# Damage -----------------------------------------------------------------------------------------


async def test_a_damaged_message_is_reported_once_and_keeps_nobody_from_the_others(
    store: RocksStore,
) -> None:
    await put(store, draft(1), draft(2), draft(3))
    key = prefix("team") + pack_seq(2)
    messages = store._engine.family(MESSAGES)
    value = messages.get(key)
    assert value
    batch = WriteBatch(raw_mode=True)
    batch.put(key, value[:-1] + b"!", messages.handle)
    store._engine.write(batch)

    with pytest.raises(Damaged) as caught:
        await store.messages.get("team", 2)
    assert caught.value.fields == {"timeline": "team", "seq": 2}
    # A page has all the others, and its place.
    for page in (await store.messages.scan("team"), await store.messages.scan_back("team")):
        pieces = {one.seq: (one.payload, one.damaged) for one in page.entries}
        assert pieces[2] == (b"", True)
        assert (pieces[1], pieces[3]) == ((b"payload 1", False), (b"payload 3", False))
    # The log goes on past it: what is left is its place.
    with capture_logs() as logged:
        for _ in range(2):
            whole, bare, last = await store.log.read(0)
            assert (whole.payload, bare.payload, last.payload) == (b"payload 1", b"", b"payload 3")
            assert [one.damaged for one in (whole, bare, last)] == [False, True, False]
            [found] = await store.log.fetch([Ref(2, "team")])
            assert (found.seq, found.time, found.payload) == (2, bare.time, b"")
            assert found.damaged
    assert [(one["conversation"], one["seq"]) for one in logged] == [("team", 2)]
    assert [m.seq for m in await store.log.fetch([Ref(3, "team"), Ref(1, "team")])] == [3, 1]
    # A repeat of it cannot be told from another message: that is its answer, and only its.
    [answer, fine] = await store.log.append([draft(2), draft(3)])
    assert isinstance(answer, TimewireError)
    assert answer.code == "damaged"
    assert isinstance(fine, Receipt)


# The directory ----------------------------------------------------------------------------------


async def test_the_directory_forgets_and_reads_again(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    small: Lru[str, object] = Lru(10)
    monkeypatch.setattr(store.directory, "_conversations", small)
    users = [f"u{i}" for i in (3, 1, 2, 0)]
    for group in ("a", "b", "c"):
        await store.log.append([Draft(group, "u3", "", b"{}", Created("group", users))])
    await store.log.append([Draft("a", "u3", "", b"{}", Members(["new", "u1"], ["u2"]))])
    await store.log.append([Draft("b", "u3", "", b"{}", Members([], ["u3"]))])
    await store.log.append([Draft("a", "u3", "", b"{}", Members(["u2"], ["u3"]))])
    await store.log.append([Draft("self:u1", "u1", "", b"{}", Read("a", 2))])

    for _ in range(2):
        expected = {"a": ["u1", "u2", "u0", "new"], "b": ["u1", "u2", "u0"], "c": users}
        for group, present in expected.items():
            found = await store.directory.conversation(group)
            assert found
            assert found.present() == present
            assert list(found.windows)[:4] == users
        assert small.get("c") is not None
    assert MAX_CACHED_MEMBERS > 10
    assert await store.directory.read_mark("u1", "a") == 2


async def test_directory_reads_do_not_suspend(store: RocksStore) -> None:
    await store.log.append([Draft("team", "alice", "", b"{}", Created("group", ["alice"]))])
    store.directory.forget()
    for coroutine in (
        store.directory.conversation("team"),
        store.directory.members("team"),
        store.directory.memberships("alice"),
        store.directory.read_mark("alice", "team"),
        store.directory.devices("alice"),
    ):
        with pytest.raises(StopIteration):
            coroutine.send(None)


def test_least_recently_used_go_first() -> None:
    kept: Lru[str, int] = Lru(5)
    kept.put("a", 1, 2)
    kept.put("b", 2, 2)
    assert kept.get("a") == 1
    kept.put("c", 3, 3)
    assert [kept.get(key) for key in "abc"] == [1, None, 3]
    kept.put("a", 4, 1)
    kept.put("d", 5, 1)
    assert [kept.get(key) for key in "acd"] == [4, 3, 5]
    kept.put("huge", 6, 100)  # what is in use is kept whatever it weighs
    assert [kept.get(key) for key in ("a", "c", "d", "huge")] == [None, None, None, 6]
    kept.drop("huge")
    kept.drop("huge")
    kept.put("e", 7, 5)
    assert kept.get("e") == 7
    kept.clear()
    assert kept.get("e") is None


async def test_many_at_once_and_one_loop(store: RocksStore) -> None:
    """Appends of many tasks, each in its own order, all found again."""

    async def device(name: str) -> list[int]:
        given = list[int]()
        for number in range(20):
            draft = Draft("team", name, str(number), f"{name} {number}".encode())
            given += [receipt.seq for receipt in await put(store, draft)]
        return given

    given = await asyncio.gather(*(device(f"u{i}") for i in range(10)))
    found = {m.seq: m.payload for m in await store.log.read(0)}
    assert len(found) == 200
    for user, told in enumerate(given):
        assert told == sorted(told)
        assert [found[seq] for seq in told] == [f"u{user} {i}".encode() for i in range(20)]
