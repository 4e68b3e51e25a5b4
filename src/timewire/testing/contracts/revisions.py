"""Contracts of what changes do to conversations and to earlier messages, by log and directory."""

from __future__ import annotations

from timewire.directory import Membership
from timewire.epochs import mode_at
from timewire.log import MAX_SWEEP_MESSAGES
from timewire.model import (
    Appointed,
    Banned,
    Blocked,
    Change,
    Created,
    Draft,
    Edited,
    Hidden,
    Members,
    Message,
    Muted,
    Pinned,
    Reacted,
    Recalled,
    Ref,
    StoredBody,
    Updated,
    Window,
    decode_message,
    encode_body,
    encode_change,
    message_head,
    message_json,
)
from timewire.testing.contracts.directories import change, known
from timewire.testing.contracts.logs import code, draft, put, take, within
from timewire.testing.contracts.places import (
    Contract,
    CrashingStoresPlace,
    ManualClock,
    Stores,
    StoresPlace,
)

TEXT = "what was said"


async def say(store: Stores, text: str = TEXT, *, expires: int = 0, id: str = "") -> int:
    """Put a message of bob's into the team's log; its SeqId."""
    payload = encode_body(StoredBody("bob", id, "text", {"text": text}, expires=expires))
    [receipt] = await put(store.log, Draft("team", "bob", id, payload, expires=expires))
    return receipt.seq


def revision(change: Change, id: str = "", sender: str = "bob") -> Draft:
    """A draft that carries a change of the team's."""
    return Draft("team", sender, id, encode_change(sender, id, change), change)


async def shown(store: Stores, seq: int) -> Message:
    """A message as readers see it; it is the same by every way."""
    entry = await store.messages.get("team", seq)
    [fetched] = await store.log.fetch([Ref(seq, "team")])
    [read] = await store.log.read(seq - 1, 1)
    [tailed, *_] = await within(anext(store.log.tail(seq - 1)))
    peeked = await store.log.peek("team", seq)
    assert entry
    assert peeked
    payloads = [one.payload for one in (entry, fetched, read, peeked)]
    assert payloads == [entry.payload] * 4
    assert bool(tailed.payload) == bool(entry.payload)
    assert entry.redacted == (not entry.payload)
    head = message_head("team")
    return decode_message(message_json(head, seq, entry.time, entry.payload, 0))


class RevisionContract(Contract[StoresPlace]):
    """What every log promises of changes to earlier messages."""

    async def test_an_edit_changes_the_message_itself(self, store: Stores) -> None:
        seq = await say(store, id="1")
        before = await shown(store, seq)
        self.clock.now += 5
        edit = await change(store, "team", Edited(seq, {"text": "better"}), sender="bob")

        after = await shown(store, seq)
        assert after.body == {"text": "better"}
        assert (after.edits, after.version, after.edited) == ([edit], edit, self.clock.now)
        assert (after.time, after.id, after.sender) == (before.time, "1", "bob")
        assert (await shown(store, edit)).body == {"seq": seq, "body": {"text": "better"}}

    async def test_of_several_edits_the_last_holds(self, store: Stores) -> None:
        seq = await say(store)
        edits = [
            await change(store, "team", Edited(seq, {"text": text}), sender="bob")
            for text in ("one", "two", "three")
        ]
        after = await shown(store, seq)
        assert (after.body, after.edits) == ({"text": "three"}, edits)

    async def test_reactions_come_and_go(self, store: Stores) -> None:
        seq = await say(store)
        for user, emoji, on in [
            ("bob", "👍", True),
            ("alice", "👍", True),
            ("alice", "👍", True),
            ("alice", "🎉", True),
            ("bob", "👍", False),
            ("carol", "👍", False),
            ("alice", "🎉", False),
        ]:
            last = await change(store, "team", Reacted(seq, emoji, on), sender=user)
        after = await shown(store, seq)
        assert after.reactions == {"👍": ["alice"]}
        assert (after.version, after.edits, after.body) == (last, [], {"text": TEXT})

    async def test_a_recall_takes_the_message_and_its_edits(self, store: Stores) -> None:
        seq = await say(store)
        edits = [
            await change(store, "team", Edited(seq, {"text": text}), sender="bob")
            for text in ("one", "two")
        ]
        reaction = await change(store, "team", Reacted(seq, "👍"))
        recall = await change(store, "team", Recalled(seq))

        for gone in (seq, *edits):
            assert await shown(store, gone) == Message("team", gone, self.clock.now)
        assert (await shown(store, reaction)).kind == "reaction"
        assert (await shown(store, recall)).body == {"seq": seq}
        assert await store.messages.count("team") == 5

    async def test_what_is_recalled_never_comes_back(self, store: Stores) -> None:
        seq = await say(store)
        await change(store, "team", Recalled(seq))
        for late in (Edited(seq, {"text": "back"}), Reacted(seq, "👍"), Recalled(seq)):
            await change(store, "team", late, sender="bob")
            assert await shown(store, seq) == Message("team", seq, self.clock.now)

    async def test_only_messages_of_the_same_conversation_change(self, store: Stores) -> None:
        seq = await say(store)
        await change(store, "other", Recalled(seq))
        await change(store, "team", Edited(seq + 100, {"text": "nothing"}))
        assert (await shown(store, seq)).body == {"text": TEXT}

    async def test_repeats_are_known_whatever_has_become_of_the_message(
        self, store: Stores
    ) -> None:
        [first] = await put(store.log, draft("team", "1", "first", sender="bob"))
        changes: list[Change] = [
            Reacted(first.seq, "👍"),
            Edited(first.seq, {"text": "better"}),
            Recalled(first.seq),
        ]
        head = first.seq
        for one in changes:
            [receipt] = await put(store.log, revision(one, one.__class__.__name__))
            head = receipt.seq
            [again] = await put(store.log, draft("team", "1", "first", sender="bob"))
            assert (again.seq, again.repeated) == (first.seq, True)
            [reused] = await within(store.log.append([draft("team", "1", "better", sender="bob")]))
            assert code(reused) == "id_reused"
            [repeat] = await put(store.log, revision(one, one.__class__.__name__))
            assert (repeat.seq, repeat.repeated) == (receipt.seq, True)
        assert store.log.head == head

    async def test_what_is_staged_can_be_changed_and_looked_at(self, store: Stores) -> None:
        head = store.log.head
        said = store.log.append([draft("team", "1", "first", sender="bob")])
        peeked = await store.log.peek("team", head + 1)
        assert peeked
        assert peeked.payload == draft("team", "1", "first", sender="bob").payload
        edited = store.log.append([revision(Edited(head + 1, {"text": "second"}))])
        peeked = await store.log.peek("team", head + 1)
        assert peeked
        assert b"second" in peeked.payload
        recalled = store.log.append([revision(Recalled(head + 1))])
        peeked = await store.log.peek("team", head + 1)
        assert peeked
        assert peeked.payload == b""
        for answer in (said, edited, recalled):
            await within(answer)
        messages = await take(store.log.tail(head), 3)
        assert [bool(one.payload) for one in messages] == [False, False, True]

    async def test_peek_finds_nothing_where_nothing_is(self, store: Stores) -> None:
        seq = await say(store)
        assert await store.log.peek("other", seq) is None
        for nowhere in (0, -1, seq + 1, 2**63, 2**70):
            assert await store.log.peek("team", nowhere) is None

    # The end of a message's life

    async def test_a_sweep_redacts_what_has_expired(self, store: Stores) -> None:
        now = self.clock.now
        early, late, never = [await say(store, expires=at) for at in (now + 10, now + 20, 0)]
        assert await store.log.sweep(now + 9) == 0
        assert await store.log.sweep(now + 10) == 1
        assert await shown(store, early) == Message("team", early, now)
        assert (await shown(store, late)).body == {"text": TEXT}
        assert await store.log.sweep(now + 1000) == 1
        assert await store.log.sweep(now + 1000) == 0
        assert not (await shown(store, late)).kind
        assert (await shown(store, never)).body == {"text": TEXT}

    async def test_an_edit_lives_no_longer_than_what_it_edits(self, store: Stores) -> None:
        expires = self.clock.now + 10
        seq = await say(store, expires=expires)
        edit = await change(store, "team", Edited(seq, {"text": "better"}), sender="bob")
        assert [(await shown(store, one)).expires for one in (seq, edit)] == [expires] * 2
        assert await store.log.sweep(expires) == 2
        assert [(await shown(store, one)).body for one in (seq, edit)] == [{}, {}]

    async def test_a_recalled_message_expires_quietly(self, store: Stores) -> None:
        seq = await say(store, expires=self.clock.now + 10)
        await change(store, "team", Recalled(seq))
        await store.log.sweep(self.clock.now + 10)
        assert not (await shown(store, seq)).kind

    async def test_a_sweep_is_bounded(self, store: Stores) -> None:
        expires = self.clock.now + 1
        payload = encode_body(StoredBody("bob", "", "text", {}, expires=expires))
        many = [Draft("team", "bob", "", payload, expires=expires)] * (MAX_SWEEP_MESSAGES + 5)
        await put(store.log, *many)
        swept = [await store.log.sweep(expires) for _ in range(3)]
        assert swept == [MAX_SWEEP_MESSAGES, 5, 0]
        assert not any(one.payload for one in await store.log.read(0))


class ConversationChangeContract(Contract[StoresPlace]):
    """What every directory promises of changes to conversations."""

    async def test_who_makes_a_group_owns_it(self, store: Stores) -> None:
        await change(store, "team", Created("group", ["alice", "bob"]))
        await change(store, "other", Created("group", ["bob"]))
        await change(store, "self:alice", Created("self", ["alice"]))
        assert (await known(store, "team")).roles == {"alice": "owner"}
        assert (await known(store, "other")).roles == {}
        assert (await known(store, "self:alice")).roles == {}

    async def test_settings(self, store: Stores) -> None:
        made = Created("group", ["alice"], "The team", "all", "admins", "admins")
        await change(store, "team", made)
        team = await known(store, "team")
        assert (team.title, team.history, team.invite) == ("The team", "all", "admins")
        assert team.mention_all == "admins"
        await change(store, "team", Updated(title="", history="joined"))
        team = await known(store, "team")
        assert (team.title, team.history, team.invite) == ("", "joined", "admins")
        assert team.mention_all == "admins"
        await change(store, "team", Updated(mention_all="members"))
        assert (await known(store, "team")).mention_all == "members"

    async def test_rooms_and_channels_have_owners_and_modes(self, store: Stores) -> None:
        made = await change(store, "party", Created("room", ["alice"]))
        await change(store, "news", Created("channel", ["alice"]))
        party, news = await known(store, "party"), await known(store, "news")
        assert party.roles == news.roles == {"alice": "owner"}
        assert (party.kind, news.kind) == ("room", "channel")
        assert (mode_at(party.epochs, made), news.epochs) == ("push", [])

    async def test_roles_end_with_membership(self, store: Stores) -> None:
        await change(store, "team", Created("group", ["alice", "bob", "carol"]))
        await change(store, "team", Appointed("bob", "admin"))
        await change(store, "team", Appointed("carol", "owner"))
        await change(store, "team", Appointed("alice", "member"))
        assert (await known(store, "team")).roles == {"bob": "admin", "carol": "owner"}
        await change(store, "team", Appointed("eve", "owner"))
        await change(store, "team", Members(left=["carol"]))
        await change(store, "team", Banned(["bob"]))
        await change(store, "team", Members(joined=["carol"]))
        assert (await known(store, "team")).roles == {}

    async def test_a_ban_is_the_last_message_of_its_members(self, store: Stores) -> None:
        made = await change(store, "team", Created("group", ["alice", "bob"]))
        banned = await change(store, "team", Banned(["bob", "eve"]))
        team = await known(store, "team")
        assert team.windows == {"alice": [Window(made)], "bob": [Window(made, banned)]}
        assert team.banned == {"bob", "eve"}
        assert team.members_at(banned) == ["alice", "bob"]
        assert await store.directory.members("team") == ["alice"]
        await change(store, "team", Banned(["bob"], on=False))
        assert (await known(store, "team")).banned == {"eve"}
        assert await store.directory.members("team") == ["alice"]

    async def test_mutes_end_and_are_forgotten(self, store: Stores) -> None:
        now = self.clock.now
        await change(store, "team", Created("group", ["alice", "bob", "carol"]))
        await change(store, "team", Muted("bob", now + 10))
        await change(store, "team", Muted("carol", now + 100))
        assert (await known(store, "team")).muted == {"bob": now + 10, "carol": now + 100}
        self.clock.now += 10
        await change(store, "team", Muted("alice", now + 50))
        assert (await known(store, "team")).muted == {"carol": now + 100, "alice": now + 50}
        await change(store, "team", Muted("carol", 0))
        assert (await known(store, "team")).muted == {"alice": now + 50}

    async def test_pins_stand_in_their_order_until_their_message_is_recalled(
        self, store: Stores
    ) -> None:
        await change(store, "team", Created("group", ["alice", "bob"]))
        one, two, three = [await say(store) for _ in range(3)]
        for seq in (two, one, three, two):
            await change(store, "team", Pinned(seq))
        assert (await known(store, "team")).pins == [one, three, two]
        await change(store, "team", Recalled(three))
        await change(store, "team", Pinned(one, on=False))
        await change(store, "team", Pinned(one, on=False))
        assert (await known(store, "team")).pins == [two]

    async def test_what_a_user_hides(self, store: Stores) -> None:
        made = await change(store, "team", Created("group", ["alice", "bob"]))
        seqs = [await say(store) for _ in range(4)]
        for seq in (seqs[0], seqs[2], seqs[0]):
            await change(store, "self:alice", Hidden("team", seq))
        asked = [*seqs, 99]
        hidden = store.directory.hidden
        assert await hidden("alice", "team", asked) == {seqs[0], seqs[2]}
        assert await hidden("alice", "team", [seqs[1]]) == set()
        assert await hidden("bob", "team", asked) == set()
        assert await hidden("alice", "tea", asked) == set()
        memberships = await store.directory.memberships("alice")
        assert memberships == [Membership("team", [Window(made)], 0, 2)]

    async def test_who_blocks_whom(self, store: Stores) -> None:
        await change(store, "direct:alice:bob", Created("direct", ["alice", "bob"]))
        await change(store, "self:alice", Blocked("bob"))
        await change(store, "self:alice", Blocked("carol"))
        await change(store, "direct:alice:carol", Created("direct", ["alice", "carol"]))
        assert await store.directory.blocks("alice", "bob")
        assert not await store.directory.blocks("bob", "alice")
        assert (await known(store, "direct:alice:bob")).banned == {"bob"}
        assert (await known(store, "direct:alice:carol")).banned == {"carol"}
        assert await store.directory.blocked("alice") == ["bob", "carol"]
        assert await store.directory.blocked("alice", limit=1) == ["bob"]
        assert await store.directory.blocked("alice", after="bob") == ["carol"]
        assert await store.directory.blocked("bob") == []
        assert await store.directory.blocked("al") == []
        await change(store, "self:alice", Blocked("bob", on=False))
        assert await store.directory.blocked("alice") == ["carol"]
        assert not await store.directory.blocks("alice", "bob")
        assert (await known(store, "direct:alice:bob")).banned == set()

    async def test_a_change_of_what_is_not_there_does_nothing(self, store: Stores) -> None:
        for one in (Updated("title"), Banned(["bob"]), Pinned(1), Recalled(1)):
            await change(store, "team", one)
        assert await store.directory.conversation("team") is None


async def fill(store: Stores, clock: ManualClock) -> list[int]:
    """Have every change happen; SeqIds of messages that are edited, recalled and expiring."""
    made = Created("group", ["alice", "bob", "carol"], "The team", "all", "admins")
    await change(store, "team", made)
    edited, recalled = await say(store, id="1"), await say(store, id="2")
    expiring = await say(store, expires=clock.now + 50)
    for one in (
        Edited(edited, {"text": "better"}),
        Reacted(edited, "👍"),
        Recalled(recalled),
        Updated(title="Our team"),
        Appointed("bob", "admin"),
        Muted("carol", clock.now + 1000),
        Banned(["eve"]),
        Pinned(edited),
    ):
        await change(store, "team", one)
    await change(store, "self:alice", Hidden("team", edited))
    await change(store, "self:alice", Blocked("bob"))
    return [edited, recalled, expiring]


async def check_filled(store: Stores, seqs: list[int], clock: ManualClock) -> None:
    """Everything that ``fill`` has done is there."""
    edited, recalled, expiring = seqs
    message = await shown(store, edited)
    assert (message.body, message.reactions) == ({"text": "better"}, {"👍": ["alice"]})
    assert not (await shown(store, recalled)).kind
    team = await known(store, "team")
    assert (team.title, team.history, team.invite) == ("Our team", "all", "admins")
    assert team.roles == {"alice": "owner", "bob": "admin"}
    assert (team.muted, team.banned) == ({"carol": clock.now + 1000}, {"eve"})
    assert team.pins == [edited]
    assert await store.directory.hidden("alice", "team", seqs) == {edited}
    [mine] = await store.directory.memberships("alice")
    assert mine.hidden == 1
    assert await store.directory.blocks("alice", "bob")
    for seq, id in ((edited, "1"), (recalled, "2")):
        payload = encode_body(StoredBody("bob", id, "text", {"text": TEXT}))
        [again] = await put(store.log, Draft("team", "bob", id, payload))
        assert (again.seq, again.repeated) == (seq, True)
    assert (await shown(store, expiring)).body == {"text": TEXT}
    assert await store.log.sweep(clock.now + 50) == 1
    assert not (await shown(store, expiring)).kind


class ChangeReopenContract(Contract[StoresPlace]):
    """What is promised of changes by stores that outlive their process."""

    async def test_changes_are_there_again(self, store: Stores) -> None:
        seqs = await fill(store, self.clock)
        await self.at.close()
        await check_filled(await self.at.open(), seqs, self.clock)


class ChangeCrashContract(Contract[CrashingStoresPlace]):
    """What is promised of changes by stores that outlive a crash."""

    async def test_changes_that_were_answered_are_there(self, store: Stores) -> None:
        seqs = await fill(store, self.clock)
        await self.at.crash()
        await check_filled(await self.at.open(), seqs, self.clock)

    async def test_a_change_is_there_with_its_message_or_not_at_all(self, store: Stores) -> None:
        seq = await say(store)
        answer = store.log.append([revision(Recalled(seq))])
        await self.at.crash()
        answer.cancel()
        store = await self.at.open()
        there = store.log.head > seq
        assert bool((await shown(store, seq)).kind) == (not there)
