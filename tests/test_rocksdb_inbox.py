"""The RocksDB inbox: rows that hold many references, and buckets that come and go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rocksdict import WriteBatch

from timewire.backends.rocksdb import RocksStore
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.inbox import pack_rows, unpack
from timewire.backends.rocksdb.store import BUCKETS_A_LIFE, DAY_MS
from timewire.inbox import Delivery
from timewire.model import MAX_SEQ, Ref, Stored

BUCKET_MS = 1000
LIFE_DAYS = BUCKETS_A_LIFE * BUCKET_MS / DAY_MS


def delivery(seq: int, conversation: str, users: list[str], time: int = 0) -> Delivery:
    return Delivery(Stored(seq, time, conversation, b""), users)


async def inbox_of(store: RocksStore, user: str, after: int = 0) -> list[Ref]:
    found = list[Ref]()
    more = True
    while more:
        refs, more = await store.inbox.scan(user, after, MAX_SEQ, 3)
        found += refs
        after = refs[-1].seq if refs else after
    return found


def buckets(store: RocksStore) -> list[str]:
    return store._engine.families("inbox.")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RocksStore]:
    store = await RocksStore.open(tmp_path / "data", inbox_days=LIFE_DAYS)
    yield store
    await store.aclose()


# Rows -------------------------------------------------------------------------------------------


def test_a_row_for_all_who_get_the_same() -> None:
    users = ["a", "b", "c"]
    rows = pack_rows([delivery(seq, "team", users) for seq in (3, 4, 7)])
    assert list(rows) == users
    assert rows["a"] is rows["b"] is rows["c"]
    assert unpack(rows["a"], 0, MAX_SEQ, 10) == [Ref(3, "team"), Ref(4, "team"), Ref(7, "team")]


def test_a_row_a_user_when_they_differ() -> None:
    team, pair = ["a", "b"], ["a", "c"]
    deliveries = [
        delivery(1, "team", team),
        delivery(2, "a-c", pair),
        delivery(3, "team", team),
        delivery(4, "team", [*team, "d"]),  # somebody has joined
        delivery(5, "a-c", pair),
    ]
    rows = pack_rows(deliveries)
    everything = {user: unpack(row, 0, MAX_SEQ, 10) for user, row in rows.items()}
    t1, p2, t3, t4, p5 = (Ref(d.message.seq, d.message.conversation) for d in deliveries)
    assert everything == {"a": [t1, p2, t3, t4, p5], "b": [t1, t3, t4], "c": [p2, p5], "d": [t4]}


NAMES = st.sampled_from(["team", "t", "群聊", "direct:alice:bob", "x" * 262])


@given(
    data=st.data(),
    conversations=st.lists(NAMES, min_size=1, max_size=12),
    after=st.integers(0, 30),
    upto=st.integers(0, 30),
    room=st.integers(1, 14),
)
def test_a_row_gives_what_is_in_its_range(
    data: st.DataObject, conversations: list[str], after: int, upto: int, room: int
) -> None:
    users = {name: ["u"] for name in conversations}
    numbers = data.draw(
        st.lists(
            st.integers(1, 30),
            min_size=len(conversations),
            max_size=len(conversations),
            unique=True,
        ).map(sorted)
    )
    refs = [Ref(seq, name) for seq, name in zip(numbers, conversations, strict=True)]
    deliveries = [delivery(ref.seq, ref.conversation, users[ref.conversation]) for ref in refs]
    row = pack_rows(deliveries)["u"]
    assert unpack(row, after, upto, room) == [ref for ref in refs if after < ref.seq <= upto][:room]


async def test_large_numbers(store: RocksStore) -> None:
    big = [2**32, 2**62, MAX_SEQ - 1, MAX_SEQ]
    await store.inbox.put([delivery(seq, "team", ["a"]) for seq in big], MAX_SEQ)
    assert [ref.seq for ref in await inbox_of(store, "a")] == big
    assert [ref.seq for ref in await inbox_of(store, "a", MAX_SEQ - 1)] == [MAX_SEQ]
    assert await inbox_of(store, "a", MAX_SEQ) == []


async def test_a_scan_begins_and_ends_within_rows(store: RocksStore) -> None:
    users = ["a"]
    for first in (1, 11, 21):
        some = [delivery(seq, "team", users) for seq in range(first, first + 10)]
        await store.inbox.put(some, first + 9)
    for after in range(0, 31, 4):
        for upto in range(0, 34, 5):
            for limit in (1, 3, 10, 50):
                expected = [seq for seq in range(1, 31) if after < seq <= upto]
                refs, more = await store.inbox.scan("a", after, upto, limit)
                assert [ref.seq for ref in refs] == expected[:limit]
                assert more == (len(expected) > limit)


# Putting again ----------------------------------------------------------------------------------


async def test_a_large_message_is_put_again_from_its_first_piece(store: RocksStore) -> None:
    await store.inbox.put([delivery(1, "x", ["a", "b", "c", "d"])], 1)
    await store.inbox.put([delivery(2, "crowd", ["a", "b"])], 1)  # and then a crash
    for users in (["a", "b"], ["c"], ["d"]):
        await store.inbox.put([delivery(2, "crowd", users)], 2 if users == ["d"] else 1)
    for user in "abcd":
        assert await inbox_of(store, user) == [Ref(1, "x"), Ref(2, "crowd")]


async def test_what_is_there_is_not_packed_otherwise(store: RocksStore) -> None:
    both = [delivery(1, "team", ["a"]), delivery(2, "team", ["a"])]
    await store.inbox.put(both, 2)
    await store.inbox.put(both[1:], 2)
    await store.inbox.put([*both[1:], delivery(3, "team", ["a"])], 3)
    assert await inbox_of(store, "a") == [Ref(1, "team"), Ref(2, "team"), Ref(3, "team")]


# Buckets ----------------------------------------------------------------------------------------


async def test_a_put_over_the_end_of_a_bucket(store: RocksStore) -> None:
    users = ["a", "b"]
    some = [delivery(seq, "team", users, seq * 400) for seq in range(1, 9)]
    await store.inbox.put(some, 8)
    assert len(buckets(store)) == 4
    assert [ref.seq for ref in await inbox_of(store, "b")] == list(range(1, 9))
    await store.inbox.expire(2000)
    assert store.inbox.floor == 5
    assert [ref.seq for ref in await inbox_of(store, "a")] == [5, 6, 7, 8]
    assert len(buckets(store)) == 2


async def test_pieces_of_a_message_that_has_expired_meanwhile(store: RocksStore) -> None:
    await store.inbox.put([delivery(1, "crowd", ["a"], 0)], 0)
    await store.inbox.expire(BUCKET_MS)
    assert (store.inbox.floor, store.inbox.position) == (2, 0)
    await store.inbox.put([delivery(1, "crowd", ["b"], 0)], 1)
    assert store.inbox.position == 1
    assert [await inbox_of(store, user) for user in "ab"] == [[], []]


async def test_expiry_ends_at_a_bucket_of_another_width(tmp_path: Path) -> None:
    store = await RocksStore.open(tmp_path, inbox_days=10 * LIFE_DAYS)
    await store.inbox.put([delivery(1, "team", ["a"], 500)], 1)
    await store.aclose()

    store = await RocksStore.open(tmp_path, inbox_days=LIFE_DAYS)
    await store.inbox.put([delivery(2, "team", ["a"], 600)], 2)
    await store.inbox.expire(BUCKET_MS)  # the newer bucket has ended, the older one not
    assert (store.inbox.floor, await inbox_of(store, "a")) == (1, [Ref(1, "team"), Ref(2, "team")])
    await store.inbox.expire(10 * BUCKET_MS)
    assert (store.inbox.floor, await inbox_of(store, "a")) == (3, [])
    await store.aclose()


async def test_a_crash_between_the_floor_and_the_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await RocksStore.open(tmp_path, inbox_days=LIFE_DAYS)
    some = [delivery(seq, "team", ["a"], seq * BUCKET_MS) for seq in range(1, 5)]
    await store.inbox.put(some, 4)
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "drop", lambda engine, name: None)
        await store.inbox.expire(4 * BUCKET_MS)
    assert (store.inbox.floor, len(buckets(store))) == (4, 4)
    assert await inbox_of(store, "a") == [Ref(4, "team")]
    await store.aclose()

    store = await RocksStore.open(tmp_path, inbox_days=LIFE_DAYS)
    assert (store.inbox.floor, len(buckets(store))) == (4, 1)
    assert await inbox_of(store, "a") == [Ref(4, "team")]
    await store.aclose()


async def test_a_bucket_that_is_lost_counts_as_expired(tmp_path: Path) -> None:
    store = await RocksStore.open(tmp_path, inbox_days=LIFE_DAYS)
    some = [delivery(seq, "team", ["a"], seq * BUCKET_MS) for seq in range(1, 4)]
    await store.inbox.put(some, 3)
    store._engine.drop(buckets(store)[0])
    await store.aclose()

    store = await RocksStore.open(tmp_path, inbox_days=LIFE_DAYS)
    assert (store.inbox.position, store.inbox.floor) == (3, 2)
    assert await inbox_of(store, "a") == [Ref(2, "team"), Ref(3, "team")]
    await store.aclose()


async def test_a_write_that_names_a_dropped_bucket_stops_nothing(store: RocksStore) -> None:
    await store.inbox.put([delivery(1, "team", ["a"], 0)], 1)
    handle = store._engine.family(buckets(store)[0]).handle
    await store.inbox.expire(BUCKET_MS)
    batch = WriteBatch(raw_mode=True)
    batch.put(b"late", b"row", handle)
    store._engine.write(batch)
    await store.inbox.put([delivery(2, "team", ["a"], BUCKET_MS)], 2)
    assert await inbox_of(store, "a") == [Ref(2, "team")]
    del handle, batch
