"""Commands that change something: what is refused, what is stored, and what a repeat gets."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from timewire.backends.memory import MemoryStore
from timewire.commands import (
    Add,
    Appoint,
    Ban,
    Block,
    Command,
    Create,
    Edit,
    Hide,
    MarkRead,
    Mute,
    Pin,
    React,
    Recall,
    Remove,
    Send,
    Unban,
    Update,
)
from timewire.conversation import Conversation
from timewire.errors import TimewireError
from timewire.model import (
    Draft,
    Forward,
    Message,
    decode_message,
    encode_stored,
    message_head,
    message_json,
)
from timewire.send import Request, Sender

MINUTE_MS = 60_000
DIRECT = "direct:alice:bob"


class Office:
    """A sender at work on a store in memory, at a time of its own."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.store = MemoryStore(lambda: self.now)
        self.sender = Sender(
            self.store.log,
            self.store.directory,
            lambda: self.now,
            body_bytes=1000,
            max_members=10,
            edit_minutes=10,
        )
        self.running = asyncio.create_task(self.sender.run())
        self.number = 0

    def id(self) -> str:
        self.number += 1
        return str(self.number)

    async def do(self, user: str, kind: Any, /, *arguments: Any, **more: Any) -> int:
        """Have a command done; its SeqId."""
        return (await self.sender.ask(user, kind(self.id(), *arguments, **more))).seq

    async def say(self, user: str = "bob", to: str = "team", **more: Any) -> int:
        return await self.do(user, Send, to, {"text": "hello"}, **more)

    async def refused(self, user: str, kind: Any, /, *arguments: Any, **more: Any) -> str:
        """The code with which a command is refused; nothing comes of it."""
        head, names = self.store.log.head, await self.store.messages.timelines()
        with pytest.raises(TimewireError) as caught:
            await self.sender.ask(user, kind(self.id(), *arguments, **more))
        assert self.store.log.head == head
        assert await self.store.messages.timelines() == names
        return caught.value.code

    async def shown(self, seq: int, name: str = "team") -> Message:
        entry = await self.store.messages.get(name, seq)
        assert entry
        head = message_head(name)
        return decode_message(message_json(head, seq, entry.time, entry.payload, self.now))

    async def team(self) -> Conversation:
        found = await self.store.directory.conversation("team")
        assert found
        return found


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    """With a group of alice, who owns it, and bob and carol."""
    made = Office()
    await made.do("alice", Create, "team", ["bob", "carol"])
    yield made
    made.sender.close()
    await asyncio.wait_for(made.running, 10)


# Groups


async def test_a_group_from_its_making_to_its_end(office: Office) -> None:
    do = office.do
    await do("alice", Update, "team", title="Our team", history="all", invite="admins")
    await do("alice", Appoint, "team", "bob", "admin")
    await do("bob", Add, "team", ["dave"])
    await do("bob", Mute, "team", "carol", office.now + 1000)
    await do("bob", Ban, "team", ["dave", "eve"])
    team = await office.team()
    assert (team.title, team.history, team.invite) == ("Our team", "all", "admins")
    assert team.roles == {"alice": "owner", "bob": "admin"}
    assert team.present() == ["alice", "bob", "carol"]
    assert await office.refused("bob", Add, "team", ["eve"]) == "banned"
    await do("bob", Unban, "team", ["eve"])
    await do("bob", Add, "team", ["eve"])
    assert await office.refused("alice", Remove, "team", ["alice"]) == "last_owner"
    await do("alice", Appoint, "team", "eve", "owner")
    await do("alice", Remove, "team", ["alice"])
    for user in ("bob", "carol"):
        await do(user, Remove, "team", [user])
    await do("eve", Remove, "team", ["eve"])
    assert (await office.team()).present() == []


async def test_rights_are_those_of_the_moment(office: Office) -> None:
    """All in one turn: each command is checked against the one before it."""
    outcomes: list[Any] = []
    commands: list[tuple[str, Command]] = [
        ("bob", Update("1", "team", title="no")),
        ("alice", Appoint("2", "team", "bob", "admin")),
        ("bob", Update("3", "team", title="yes")),
        ("alice", Appoint("4", "team", "bob", "member")),
        ("bob", Update("5", "team", title="no more")),
    ]
    for user, command in commands:
        request = Request(user, command, lambda _, outcome: outcomes.append(outcome))
        office.sender.submit(request)
    await office.say()
    codes = [getattr(outcome, "code", "acked") for outcome in outcomes]
    assert sorted(codes) == ["acked"] * 3 + ["not_admin"] * 2
    assert (await office.team()).title == "yes"


async def test_the_system_may_do_what_owners_may(office: Office) -> None:
    said = await office.say()

    async def act(command: Command) -> None:
        await office.sender.ask("desk", command, "system")

    await act(Update("1", "team", title="By order"))
    await act(Appoint("2", "team", "bob", "owner"))
    await act(Edit("3", "team", said, {"text": "moderated"}))
    await act(Pin("4", "team", said))
    await act(Recall("5", "team", said))
    assert (await office.team()).title == "By order"
    assert not (await office.shown(said)).kind
    with pytest.raises(TimewireError, match="last_owner"):
        await act(Remove("6", "team", ["alice", "bob"]))


@pytest.mark.parametrize(
    "command",
    [
        (Update, "team", "x" * 513),
        (Ban, "team", ["a b"]),
        (Unban, "team", ["a b"]),
        (Appoint, "team", "a b", "admin"),
        (Mute, "team", "a b", 0),
        (Block, "a b"),
        (React, "team", 1, ""),
        (Ban, "team", ["x"] * 1001),
        (Edit, "team", 2, {"text": "x" * 1001}),
    ],
    ids=repr,
)
async def test_words_that_are_none(office: Office, command: tuple[Any, ...]) -> None:
    code = await office.refused("alice", *command)
    assert code in {"bad_name", "bad_emoji", "body_too_large", "too_many_members"}


async def test_nobody_else_may_do_anything(office: Office) -> None:
    said = await office.say()
    for kind, *arguments in [
        (Update, "team", "x"),
        (Appoint, "team", "eve", "owner"),
        (Ban, "team", ["bob"]),
        (Mute, "team", "bob", 1),
        (Edit, "team", said, {}),
        (Recall, "team", said),
        (React, "team", said, "x"),
        (Pin, "team", said),
        (Hide, "team", said),
    ]:
        assert await office.refused("eve", kind, *arguments) == "not_member"


async def test_what_is_not_there_is_not_made_by_asking(office: Office) -> None:
    for kind, *arguments in [(Edit, 1, {}), (Recall, 1), (React, 1, "x"), (Pin, 1)]:
        for name in (DIRECT, "self:alice"):
            assert await office.refused("alice", kind, name, *arguments) == "unknown_message"
        assert await office.refused("alice", kind, "none", *arguments) == "unknown_conversation"
    assert await office.refused("alice", Update, DIRECT, "x") == "not_a_group"
    assert await office.refused("alice", Hide, DIRECT, 1) == "not_member"
    told = await office.refused("alice", Send, DIRECT, {}, reply=1)
    assert told == "unknown_message"


# Messages that name others


async def test_a_message_may_answer_mention_and_pass_on(office: Office) -> None:
    said = await office.say("alice", DIRECT)
    first = await office.say()
    seq = await office.say(
        "alice",
        reply=first,
        mentions=["bob", "*"],
        expires=office.now + 10,
        forward=Forward(DIRECT, said, "alice"),
    )
    message = await office.shown(seq)
    assert (message.reply, message.mentions, message.expires) == (
        first,
        ["bob", "*"],
        office.now + 10,
    )
    assert message.forward == Forward(DIRECT, said, "alice")


async def test_what_a_message_names_has_to_be_there(office: Office) -> None:
    early = await office.say()
    await office.do("alice", Add, "team", ["dave"])
    elsewhere = await office.say("alice", DIRECT)
    gone = await office.say()
    await office.do("bob", Recall, "team", gone)

    async def refused(user: str = "dave", **more: Any) -> str:
        return await office.refused(user, Send, "team", {}, **more)

    for seq in (early, elsewhere, 10_000, -1):
        assert await refused(reply=seq) == "unknown_message"
    assert await refused(mentions=["bob", "eve"]) == "unknown_member"
    for expires in (1, office.now):
        assert await refused(expires=expires) == "bad_expiry"
    for forward, code in [
        (Forward(DIRECT, elsewhere, "alice"), "unknown_message"),
        (Forward("nowhere", 1, "alice"), "unknown_message"),
        (Forward("team", early, "bob"), "unknown_message"),
        (Forward("team", gone, "bob"), "recalled"),
    ]:
        assert await refused(forward=forward) == code
    assert await refused("alice", forward=Forward("team", early, "carol")) == "unknown_message"
    await office.say("dave", reply=gone)


async def test_with_all_history_old_messages_can_be_answered(office: Office) -> None:
    early = await office.say()
    await office.do("alice", Update, "team", history="all")
    await office.do("alice", Add, "team", ["dave"])
    await office.say("dave", reply=early)


# Messages that change others


async def test_ones_own_message_can_be_edited_for_a_time(office: Office) -> None:
    seq = await office.say()
    assert await office.refused("alice", Edit, "team", seq, {"text": "x"}) == "not_author"
    assert await office.refused("bob", Edit, "team", seq, {"text": 1}) == "bad_body"
    assert await office.refused("bob", Edit, "team", seq + 1, {}) == "unknown_message"
    office.now += 10 * MINUTE_MS
    edit = await office.do("bob", Edit, "team", seq, {"text": "better"})
    message = await office.shown(seq)
    assert (message.body, message.edits, message.edited) == ({"text": "better"}, [edit], office.now)
    office.now += 1
    assert await office.refused("bob", Edit, "team", seq, {"text": "x"}) == "too_late"
    assert await office.refused("bob", Recall, "team", seq) == "too_late"


async def test_what_is_recalled_stays_so(office: Office) -> None:
    seq = await office.say()
    await office.do("alice", Pin, "team", seq)
    await office.do("alice", Recall, "team", seq)
    assert (await office.team()).pins == []
    for kind, *arguments in [(Edit, {}), (Recall,), (React, "x"), (Pin,)]:
        assert await office.refused(
            "bob" if kind is not Pin else "alice", kind, "team", seq, *arguments
        ) == ("recalled")


async def test_changes_cannot_be_changed(office: Office) -> None:
    seq = await office.say()
    edit = await office.do("bob", Edit, "team", seq, {"text": "better"})
    for target in (1, edit):
        for user, kind, *arguments in [
            ("bob", Edit, {}),
            ("alice", Recall),
            ("bob", React, "x"),
            ("alice", Pin),
            ("bob", Hide),
        ]:
            told = await office.refused(user, kind, "team", target, *arguments)
            assert told == "bad_target"


async def test_what_one_may_not_read_one_may_not_change(office: Office) -> None:
    seq = await office.say()
    await office.do("alice", Add, "team", ["dave"])
    for kind, *arguments in [(React, "x"), (Hide,), (Edit, {}), (Recall,)]:
        assert await office.refused("dave", kind, "team", seq, *arguments) == "unknown_message"


async def test_what_has_expired_cannot_be_changed(office: Office) -> None:
    seq = await office.say(expires=office.now + 10)
    await office.do("bob", Edit, "team", seq, {"text": "x"})
    office.now += 10
    for kind, *arguments in [(Edit, {}), (React, "x"), (Recall,)]:
        assert await office.refused("bob", kind, "team", seq, *arguments) == "recalled"


async def test_what_is_only_staged_can_be_changed(office: Office) -> None:
    payload = encode_stored("bob", "x", "text", {"text": "hello"})
    staged = office.store.log.append([Draft("team", "bob", "x", payload)])
    seq = office.store.log.head + 1
    commands = [Edit("1", "team", seq, {"text": "quick"}), React("2", "team", seq, "x")]
    asked = [office.sender.ask("bob", command) for command in commands]
    assert [ack.seq for ack in await asyncio.gather(*asked)] == [seq + 1, seq + 2]
    assert staged.done()
    message = await office.shown(seq)
    assert (message.body, message.reactions) == ({"text": "quick"}, {"x": ["bob"]})


async def test_reactions_are_bounded(office: Office) -> None:
    seq = await office.say()
    for number in range(20):
        await office.do("carol", React, "team", seq, f"e{number}")
    assert await office.refused("carol", React, "team", seq, "one more") == "reaction_limit"
    await office.do("carol", React, "team", seq, "e0", False)
    await office.do("carol", React, "team", seq, "one more")
    assert len((await office.shown(seq)).reactions) == 20


async def test_the_muted_are_silent_for_their_time(office: Office) -> None:
    seq = await office.say()
    await office.do("alice", Mute, "team", "bob", office.now + 10)
    assert await office.refused("bob", Send, "team", {}) == "muted"
    assert await office.refused("bob", Send, "team", {}, mentions=["*"]) == "muted"
    assert await office.refused("bob", Edit, "team", seq, {}) == "muted"
    assert await office.refused("bob", React, "team", seq, "x") == "muted"
    await office.do("bob", Recall, "team", seq)
    await office.say("carol")
    office.now += 10
    await office.say("bob")
    await office.do("alice", Mute, "team", "bob", office.now + 10)
    await office.do("alice", Mute, "team", "bob", 0)
    await office.say("bob")


async def test_the_blocked_are_kept_out_of_the_direct_conversation(office: Office) -> None:
    await office.do("alice", Block, "bob")
    assert await office.refused("bob", Send, DIRECT, {}) == "blocked"
    await office.say("alice", DIRECT)
    assert await office.refused("bob", Send, DIRECT, {}) == "blocked"
    await office.say("bob")
    await office.do("alice", Block, "bob", False)
    seq = await office.say("bob", DIRECT)
    await office.do("alice", Block, "bob")
    for kind, *arguments in [(Edit, {}), (React, "x"), (Pin,)]:
        assert await office.refused("bob", kind, DIRECT, seq, *arguments) == "blocked"
    await office.do("bob", Recall, DIRECT, seq)
    await office.do("bob", MarkRead, DIRECT, seq)


async def test_what_one_hides_is_ones_own_business(office: Office) -> None:
    seq = await office.say()
    hidden = await office.do("carol", Hide, "team", seq)
    assert (await office.shown(hidden, "self:carol")).body == {"conversation": "team", "seq": seq}
    assert await office.store.directory.hidden("carol", "team", [seq]) == {seq}
    await office.do("bob", Recall, "team", seq)
    await office.do("alice", Hide, "team", seq)
    assert await office.refused("carol", Hide, "team", 10_000) == "unknown_message"


async def test_repeats_are_answered_as_the_first_time(office: Office) -> None:
    seq = await office.say(expires=office.now + 10 * MINUTE_MS + 5)
    commands: list[tuple[str, Command]] = [
        ("bob", Edit("a", "team", seq, {"text": "better"})),
        ("bob", React("b", "team", seq, "x")),
        ("alice", Pin("c", "team", seq)),
        ("carol", Hide("d", "team", seq)),
        ("alice", Mute("e", "team", "bob", office.now + 99 * MINUTE_MS)),
        ("alice", Recall("f", "team", seq)),
        ("carol", Block("g", "bob")),
        ("alice", Appoint("h", "team", "carol", "owner")),
        ("alice", Update("i", "team", title="x")),
        ("alice", Ban("j", "team", ["bob"])),
        ("alice", Remove("k", "team", ["alice"])),
    ]
    acks = [await office.sender.ask(user, command) for user, command in commands]
    head = office.store.log.head
    for _ in range(2):
        assert [await office.sender.ask(user, command) for user, command in commands] == acks
        office.now += 11 * MINUTE_MS
        await office.store.log.sweep(office.now)
    assert office.store.log.head == head
    for user, command in commands:
        with pytest.raises(TimewireError) as caught:
            await office.sender.ask(user, Send(command.id, "team", {"text": "other"}))
        assert caught.value.code in {"id_reused", "not_member"}


# -- rooms and channels --------------------------------------------------------------------------


async def test_a_room_is_joined_spoken_in_and_left_by_anybody(office: Office) -> None:
    await office.do("alice", Create, "party", kind="room")
    assert await office.refused("bob", Send, "party", {"text": "hi"}) == "not_member"
    await office.do("bob", Add, "party", ["bob"])
    await office.say("bob", "party")
    assert await office.refused("bob", Add, "party", ["carol"]) == "not_admin"
    await office.do("alice", Ban, "party", ["bob"])
    assert await office.refused("bob", Add, "party", ["bob"]) == "banned"
    await office.do("carol", Add, "party", ["carol"])
    await office.do("carol", Remove, "party", ["carol"])
    assert await office.refused("carol", Send, "party", {"text": "hi"}) == "not_member"


async def test_rooms_have_room_for_so_many(office: Office) -> None:
    await office.do("alice", Create, "party", kind="room")
    for n in range(9):
        await office.do(f"u{n}", Add, "party", [f"u{n}"])
    assert await office.refused("late", Add, "party", ["late"]) == "too_many_members"
    await office.do("u1", Add, "party", ["u1"])


async def test_followers_of_a_channel_read_and_react(office: Office) -> None:
    await office.do("alice", Create, "news", kind="channel")
    post = await office.say("alice", "news")
    await office.do("bob", Add, "news", ["bob"])
    second = await office.say("alice", "news")
    # What is at hand is not enough to let a follower post.
    assert await office.refused("bob", Send, "news", {"text": "hi"}) == "not_admin"
    await office.do("bob", React, "news", second, "🎉")
    assert await office.refused("bob", React, "news", post, "🎉") == "unknown_message"
    await office.do("alice", Appoint, "news", "bob", "admin")
    await office.say("bob", "news")


async def test_a_closed_channel_is_joined_by_nobody(office: Office) -> None:
    await office.do("alice", Create, "board", kind="channel", invite="admins")
    assert await office.refused("bob", Add, "board", ["bob"]) == "not_member"
    await office.do("alice", Update, "board", invite="members")
    await office.do("bob", Add, "board", ["bob"])


async def test_who_may_mention_everybody_is_a_setting(office: Office) -> None:
    await office.do("alice", Create, "crew", ["bob"], mention_all="admins")
    hello = {"text": "hello"}
    assert await office.refused("bob", Send, "crew", hello, mentions=["*"]) == "not_admin"
    await office.say("alice", "crew", mentions=["*"])
    await office.do("alice", Update, "crew", mention_all="members")
    await office.say("bob", "crew", mentions=["*"])


async def test_nobody_is_added_by_whom_he_has_blocked(office: Office) -> None:
    await office.do("bob", Block, "eve")
    assert await office.refused("eve", Create, "trap", ["bob", "carol"]) == "blocked"
    await office.do("eve", Create, "trap", ["carol"])
    assert await office.refused("eve", Add, "trap", ["bob"]) == "blocked"
    await office.do("carol", Add, "trap", ["bob"])
    await office.do("bob", Block, "eve", on=False)
    await office.do("eve", Create, "club", ["bob"])
