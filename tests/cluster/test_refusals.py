"""Refusals on a store: they take the id, are told when they are kept, and outlive their leader."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from timewire.backends.rocksdb import RocksStore
from timewire.cluster import refusals as module
from timewire.cluster.refusals import REFUSALS, Refusals
from timewire.errors import TimewireError, error
from timewire.model import Draft, Receipt, encode_stored


def draft(id: str) -> Draft:
    return Draft("team", "bob", id, encode_stored("bob", id, "text", {"text": id}))


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncGenerator[RocksStore]:
    store = await RocksStore.open(tmp_path / "data")
    yield store
    await store.aclose()


async def test_what_was_refused_is_not_stored_later(store: RocksStore) -> None:
    refusals = Refusals(store.log)
    refusal = error("not_member", conversation="team")
    assert await refusals.keep("bob", "1", refusal) is refusal

    [late] = await store.log.append([draft("1")])
    assert isinstance(late, TimewireError)
    assert late.code == "id_reused"
    [other] = await store.log.append([draft("2")])
    assert isinstance(other, Receipt)
    assert await store.directory.conversation(REFUSALS) is None


async def test_a_repeat_is_told_the_same(store: RocksStore) -> None:
    refusals = Refusals(store.log)
    first = refusals.keep("bob", "1", error("not_member"))
    assert refusals.of("bob", "1") is first
    assert refusals.keep("bob", "1", error("id_reused")) is first
    assert refusals.keep("bob", "1", error("muted")) is first
    assert refusals.of("alice", "1") is None
    told = await first
    assert isinstance(told, TimewireError)
    assert told.code == "not_member"
    assert store.log.head == 1


async def test_the_next_leader_knows_them(store: RocksStore) -> None:
    kept = error("muted", "you may not", until=5)
    await Refusals(store.log).keep("bob", "1", kept)
    later = Refusals(store.log)
    await later.load(store.messages)
    known = later.of("bob", "1")
    assert known is not None
    told = await known
    assert isinstance(told, TimewireError)
    assert (type(told), told.code, told.message) == (type(kept), "muted", "you may not")
    assert told.fields == {"until": 5}


async def test_only_the_newest_are_told_again(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED_REFUSALS", 2)
    refusals = Refusals(store.log)
    for id in "123":
        await refusals.keep("bob", id, error("not_member"))
    later = Refusals(store.log)
    await later.load(store.messages)
    for one in (refusals, later):
        assert [one.of("bob", id) is not None for id in "123"] == [False, True, True]
    [old] = await store.log.append([draft("1")])
    assert isinstance(old, TimewireError)


@pytest.mark.parametrize(
    "refusal", [error("too_busy"), error("outcome_unknown"), error("damaged"), error("id_reused")]
)
async def test_what_says_nothing_of_later_takes_no_id(
    store: RocksStore, refusal: TimewireError
) -> None:
    refusals = Refusals(store.log)
    assert await refusals.keep("bob", "1", refusal) is refusal
    assert refusals.of("bob", "1") is None
    assert store.log.head == 0


async def test_an_id_that_is_none_cannot_be_taken(store: RocksStore) -> None:
    refusal = error("bad_id")
    assert await Refusals(store.log).keep("bob", "", refusal) is refusal
    assert store.log.head == 0


async def test_a_message_that_was_faster_has_the_id(store: RocksStore) -> None:
    refusals = Refusals(store.log)
    stored = store.log.append([draft("1")])
    told = await refusals.keep("bob", "1", error("not_member"))
    assert isinstance(told, TimewireError)
    assert told.code == "outcome_unknown"
    assert refusals.of("bob", "1") is None
    [receipt] = await stored
    [again] = await store.log.append([draft("1")])
    assert isinstance(again, Receipt)
    assert isinstance(receipt, Receipt)
    assert (again.seq, again.repeated) == (receipt.seq, True)


async def test_a_refusal_that_cannot_be_kept_is_not_told(tmp_path: Path) -> None:
    store = await RocksStore.open(tmp_path / "data")
    await store.aclose()
    told = await Refusals(store.log).keep("bob", "1", error("not_member"))
    assert isinstance(told, TimewireError)
    assert told.code == "outcome_unknown"
