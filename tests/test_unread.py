"""Counts of what is unread: exact after recalls, at the end of lives, whatever was remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire import unread as module
from timewire.backends.memory import MemoryStore
from timewire.directory import Membership
from timewire.model import (
    Change,
    Created,
    Draft,
    Edited,
    Hidden,
    Members,
    Reacted,
    Read,
    Recalled,
    Receipt,
    Seq,
    StoredBody,
    decode_stored,
    encode_body,
    encode_change,
)
from timewire.unread import Count, Unread


class Shelf:
    """A group of alice and bob, and the count of what bob has not read."""

    def __init__(self) -> None:
        self.now = 1000
        self.store = MemoryStore(lambda: self.now)
        self.unread = self.fresh()

    def fresh(self) -> Unread:
        return Unread(self.store.messages, self.store.directory, lambda: self.now)

    async def put(self, change: Change, name: str = "team", sender: str = "alice") -> Seq:
        payload = encode_change(sender, "", change)
        return await self.append(Draft(name, sender, "", payload, change))

    async def say(
        self, *mentions: str, sender: str = "alice", expires: int = 0, kind: str = "text"
    ) -> Seq:
        body = StoredBody(sender, "", kind, {}, mentions=list(mentions), expires=expires)
        return await self.append(Draft("team", sender, "", encode_body(body), expires=expires))

    async def append(self, draft: Draft) -> Seq:
        [receipt] = await self.store.log.append([draft])
        assert isinstance(receipt, Receipt)
        return receipt.seq

    async def mine(self) -> Membership:
        found = await self.store.directory.memberships("bob")
        return next(one for one in found if one.conversation == "team")

    async def count(self) -> Count:
        """What is remembered and what is counted anew agree."""
        mine = await self.mine()
        counted = await self.unread.count("bob", mine)
        assert counted == await self.fresh().count("bob", mine)
        return counted


@pytest.fixture
async def shelf() -> Shelf:
    made = Shelf()
    await made.put(Created("group", ["alice", "bob"]))
    return made


async def test_what_mentions_one_is_counted_apart(shelf: Shelf) -> None:
    await shelf.say()
    await shelf.say("bob")
    await shelf.say("carol", "*")
    await shelf.say("bob", "*")
    await shelf.say("alice")
    await shelf.say("bob", sender="bob")
    assert await shelf.count() == Count(5, 3)
    assert await shelf.unread.count("alice", await shelf.mine()) == Count(1, 0)


async def test_what_is_recalled_is_taken_off_the_count(shelf: Shelf) -> None:
    one, two = await shelf.say("bob"), await shelf.say()
    assert await shelf.count() == Count(2, 1)
    await shelf.put(Recalled(one))
    assert await shelf.count() == Count(1, 0)
    three = await shelf.say()
    await shelf.put(Recalled(three))
    await shelf.put(Recalled(two))
    assert await shelf.count() == Count(0, 0)


async def test_what_is_done_to_messages_is_not_unread(shelf: Shelf) -> None:
    seq = await shelf.say()
    await shelf.put(Edited(seq, {"text": "x"}))
    await shelf.put(Reacted(seq, "x"))
    await shelf.put(Members(joined=["carol"]))
    assert await shelf.count() == Count(1, 0)


async def test_bodies_may_look_like_anything(shelf: Shelf) -> None:
    body = StoredBody("alice", "", "recall", {"seq": "x", "expires": 1, "mentions": ["bob"]})
    await shelf.append(Draft("team", "alice", "", encode_body(body)))
    assert await shelf.count() == Count(1, 0)


async def test_what_expires_is_taken_off_the_count(shelf: Shelf) -> None:
    await shelf.say("bob", expires=1010)
    await shelf.say(expires=1020)
    await shelf.say()
    counts = []
    for shelf.now in (1009, 1010, 1019, 1020):
        counts.append(await shelf.count())
    assert counts == [Count(3, 1), Count(2, 0), Count(2, 0), Count(1, 0)]


async def test_what_one_hides_is_not_unread(shelf: Shelf) -> None:
    seqs = [await shelf.say("bob") for _ in range(3)]
    assert await shelf.count() == Count(3, 3)
    await shelf.put(Hidden("team", seqs[1]), "self:bob", "bob")
    assert await shelf.count() == Count(2, 2)
    await shelf.put(Read("team", seqs[0]), "self:bob", "bob")
    assert await shelf.count() == Count(1, 1)


async def test_only_while_one_is_a_member(shelf: Shelf) -> None:
    await shelf.say()
    await shelf.put(Members(left=["bob"]))
    await shelf.say()
    assert await shelf.count() == Count(1, 0)
    await shelf.put(Members(joined=["bob"]))
    await shelf.say()
    assert await shelf.count() == Count(2, 0)


@given(
    st.lists(
        st.sampled_from(
            ["say", "mention", "own", "brief", "recall", "hide", "read", "tick", "leave", "join"]
        ),
        max_size=40,
    )
)
async def test_the_remembered_count_is_that_of_a_fresh_one(acts: list[str]) -> None:
    shelf = Shelf()
    await shelf.put(Created("group", ["alice", "bob"]))
    said: list[Seq] = []
    for number, act in enumerate(acts):
        seq = said[number % len(said)] if said else 1
        match act:
            case "say" | "mention" | "own" | "brief":
                mentions = ["bob"] if act == "mention" else []
                expires = shelf.now + 30 if act == "brief" else 0
                sender = "bob" if act == "own" else "alice"
                said.append(await shelf.say(*mentions, sender=sender, expires=expires))
            case "recall":
                await shelf.put(Recalled(seq))
            case "hide":
                await shelf.put(Hidden("team", seq), "self:bob", "bob")
            case "read":
                await shelf.put(Read("team", seq), "self:bob", "bob")
            case "tick":
                shelf.now += 20
            case _:
                leaves = act == "leave"
                await shelf.put(Members([] if leaves else ["bob"], ["bob"] if leaves else []))
        counted = await shelf.count()
        mine = await shelf.mine()
        hidden = await shelf.store.directory.hidden("bob", "team", said)
        entries = (await shelf.store.messages.scan("team", limit=100)).entries
        left = [
            decode_stored(entry.payload)
            for entry in entries
            if entry.payload and entry.seq > mine.read and entry.seq not in hidden
            if any(window.holds(entry.seq) for window in mine.windows)
        ]
        unread = [
            one
            for one in left
            if one.kind == "text" and one.sender != "bob" and not 0 < one.expires <= shelf.now
        ]
        assert counted == Count(len(unread), sum("bob" in one.mentions for one in unread))


async def test_large_counts_give_way_to_others(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PAGE_ENTRIES", 7)
    for _ in range(30):
        await shelf.say("*")
    assert await shelf.count() == Count(30, 30)
