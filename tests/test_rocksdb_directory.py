"""The RocksDB directory: what a change of members costs, whoever is there already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from timewire.backends.rocksdb import RocksStore
from timewire.commands import Add, Create, Remove
from timewire.conversation import Conversation
from timewire.model import Stored, Window
from timewire.plan import plan
from timewire.search.scopes import Scopes
from timewire.send import Sender

MEMBERS = 3_000
A_REQUEST = 1_000


class Book(dict[str, list[Window]]):
    """Windows that are looked up by name: who goes through all of them is found out."""

    def refuse(self, *_: object) -> NoReturn:
        raise AssertionError("somebody goes through all members")

    def __iter__(self) -> Iterator[str]:
        self.refuse()

    items: Any = refuse
    keys: Any = refuse
    values: Any = refuse


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[RocksStore]:
    store = await RocksStore.open(tmp_path / "data")
    yield store
    await store.aclose()


@pytest.fixture
async def sender(store: RocksStore) -> AsyncIterator[Sender]:
    sender = Sender(store.log, store.directory, body_bytes=1000, max_members=100_000)
    running = asyncio.create_task(sender.run())
    yield sender
    sender.close()
    await running


async def known(store: RocksStore, name: str) -> Conversation:
    found = await store.directory.conversation(name)
    assert found is not None
    return found


@pytest.fixture
async def room(store: RocksStore, sender: Sender) -> Conversation:
    """A room with many members, of which nobody can be gone through any more."""
    await sender.ask("owner", Create("1", "live", kind="room"))
    names = [f"m{n}" for n in range(MEMBERS)]
    for at in range(0, MEMBERS, A_REQUEST):
        await sender.ask("owner", Add(f"a{at}", "live", names[at : at + A_REQUEST]))
    found = await known(store, "live")
    found.roll().among(found.changed, frozenset(names))
    found.windows = Book(found.windows)
    return found


async def test_nobody_is_gone_through_when_one_comes_or_goes(
    store: RocksStore, sender: Sender, room: Conversation
) -> None:
    online = {"m7", "alice", "somebody"}
    joined = await sender.ask("alice", Add("1", "live", ["alice"]))
    left = await sender.ask("m7", Remove("1", "live", ["m7"]))
    back = await sender.ask("m7", Add("2", "live", ["m7"]))
    for seq, there in (
        (joined.seq - 1, {"m7"}),
        (joined.seq, {"m7", "alice"}),
        (left.seq, {"m7", "alice"}),
        (left.seq + 1, {"m7", "alice"} if back.seq == left.seq + 1 else {"alice"}),
        (back.seq + 1, {"m7", "alice"}),
    ):
        delivery = plan(room, Stored(seq, 0, "live", b""))
        assert isinstance(delivery.users, room.audience(seq).__class__)
        assert delivery.users & online == there
    assert room.size() == MEMBERS + 2
    scopes = Scopes(store.directory)
    assert await scopes.audience("live", back.seq) == back.seq
    assert (await scopes.named("alice", "live")).audiences == frozenset(
        ("live", seq) for seq in (joined.seq, left.seq, back.seq)
    )


async def test_what_one_change_leaves_is_what_is_read_again(
    store: RocksStore, sender: Sender, room: Conversation
) -> None:
    await sender.ask("m1", Remove("1", "live", ["m1"]))
    await sender.ask("alice", Add("1", "live", ["alice"]))
    await sender.ask("m1", Add("2", "live", ["m1"]))
    windows = list(dict.items(room.windows))
    store.directory.forget()
    again = await known(store, "live")
    assert again is not room
    assert list(again.windows.items()) == windows
    assert again.size() == room.size() == MEMBERS + 2
