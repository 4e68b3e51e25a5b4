"""Sending: what is refused, what is answered, and what a repeat gets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from timewire import send as module
from timewire.access import MediaAccess
from timewire.admission import MAX_QUEUE_REQUESTS
from timewire.backends.memory import MemoryLog, MemoryStore
from timewire.commands import Add, Create, Edit, MarkRead, PutSettings, Remove, Send
from timewire.errors import TimewireError, error
from timewire.kinds import MAX_BODY_DEPTH
from timewire.model import (
    MEDIA_LOG,
    Draft,
    Message,
    Receipt,
    Ref,
    Seq,
    Stored,
    Swept,
    Uploaded,
    decode_message,
    encode_change,
)
from timewire.permits import MAX_TITLE_BYTES
from timewire.protocol import Ack
from timewire.send import (
    Command,
    Outcome,
    Request,
    Sender,
)
from timewire.testing.devices import eventually

BODY_BYTES = 1000
MAX_MEMBERS = 5


class Office:
    """A sender at work on a store in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.media = MediaAccess(store.media, store.directory, store.log, lambda: 1000)
        self.sender = Sender(
            store.log,
            store.directory,
            lambda: 1000,
            body_bytes=BODY_BYTES,
            max_members=MAX_MEMBERS,
            media=self.media,
        )
        self.running = asyncio.create_task(self.sender.run())

    async def send(self, user: str, to: str, id: str, text: str = "hello", **more: Any) -> Ack:
        return await self.sender.ask(user, Send(id, to, {"text": text}, **more))

    async def refused(self, user: str, command: Command) -> TimewireError:
        """The error that a command gets; nothing may have come of it."""
        head = self.store.log.head
        with pytest.raises(TimewireError) as caught:
            await self.sender.ask(user, command)
        assert self.store.log.head == head
        return caught.value

    def submit(self, user: str, *commands: Command) -> list[Outcome]:
        """Submit commands in one turn; their outcomes appear in the list, as they come."""
        outcomes: list[Outcome] = []
        for command in commands:
            self.sender.submit(Request(user, command, lambda _, outcome: outcomes.append(outcome)))
        return outcomes

    async def log(self) -> list[Stored]:
        return await self.store.log.read(0)

    async def timeline(self, name: str) -> list[Message]:
        page = await self.store.messages.scan(name)
        heads = [f'{{"conversation":"{name}","seq":{e.seq},"time":{e.time},' for e in page.entries]
        return [
            decode_message(head.encode() + entry.payload[1:])
            for head, entry in zip(heads, page.entries, strict=True)
        ]

    async def is_member(self, user: str, name: str) -> bool:
        conversation = await self.store.directory.conversation(name)
        return conversation is not None and conversation.is_member(user)

    async def aclose(self) -> None:
        self.sender.close()
        await asyncio.wait_for(self.running, 10)


@pytest.fixture
async def office() -> AsyncIterator[Office]:
    made = Office(MemoryStore(lambda: 1000))
    yield made
    await made.aclose()


@pytest.fixture
async def team(office: Office) -> Office:
    """An office with a group of alice and bob, made with SeqId 1."""
    await office.sender.ask("alice", Create("make", "team", ["bob"], "The team"))
    return office


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -- what is stored ------------------------------------------------------------------------------


async def test_an_ack_says_where_the_message_is(team: Office) -> None:
    ack = await team.send("alice", "team", "1", sent=77, kind="note")
    assert ack == Ack("1", 2, 1000)
    assert (await team.timeline("team"))[-1] == Message(
        "team", 2, 1000, "alice", "1", "note", {"text": "hello"}, 77
    )


async def test_what_creates_a_group_is_its_first_message(team: Office) -> None:
    [made] = await team.timeline("team")
    assert (made.seq, made.sender, made.kind) == (1, "alice", "created")
    assert made.body == {"kind": "group", "members": ["alice", "bob"], "title": "The team"}


async def test_a_direct_conversation_comes_into_being_by_what_is_sent_to_it(
    office: Office,
) -> None:
    ack = await office.send("bob", "direct:alice:bob", "1")
    first, second = await office.timeline("direct:alice:bob")
    assert (first.kind, first.sender, first.id) == ("created", "bob", "")
    assert first.body["members"] == ["alice", "bob"]
    assert (second.seq, second.id) == (ack.seq, "1")
    assert (await office.send("alice", "direct:alice:bob", "1")).seq == ack.seq + 1


async def test_ones_own_conversation_comes_into_being_too(office: Office) -> None:
    await office.send("alice", "self:alice", "1")
    assert [m.kind for m in await office.timeline("self:alice")] == ["created", "text"]


async def test_the_origin_is_found_again_at_delivery(team: Office) -> None:
    origin = object()
    answered = asyncio.Event()
    team.sender.submit(
        Request("alice", Send("1", "team", {}), lambda *_: answered.set(), origin=origin)
    )
    await answered.wait()
    assert (await team.log())[-1].origin is origin


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["", "x" * 129, "é" * 65, "a\nb", "a\x00", "\x85", "\u2028"])
async def test_an_id_that_is_none(team: Office, id: str) -> None:
    commands = [
        Send(id, "team", {}),
        Create(id, "other"),
        Add(id, "team", ["carol"]),
        Remove(id, "team", ["bob"]),
        MarkRead(id, "team", 1),
    ]
    assert [(await team.refused("alice", command)).code for command in commands] == ["bad_id"] * 5


@pytest.mark.parametrize("id", ["x", "x" * 128, "é" * 64, "with space", "emoji \U0001f600"])
async def test_an_id_may_be_any_text(team: Office, id: str) -> None:
    assert (await team.send("alice", "team", id)).id == id


@pytest.mark.parametrize(
    "name",
    [
        "nowhere",
        "",
        "team\x00",
        "x" * 5000,
        "direct:",
        "direct:alice",
        "direct:alice:",
        "direct:bob:alice",
        "direct:alice:alice",
        "direct:alice:bob:carol",
        "direct:alice:b b",
        "direct:alice:" + "x" * 129,
        "self:",
        "self:a b",
    ],
)
async def test_a_conversation_that_is_not_there(team: Office, name: str) -> None:
    assert (await team.refused("alice", Send("1", name, {}))).code == "unknown_conversation"


@pytest.mark.parametrize("name", ["team", "direct:alice:bob", "self:alice"])
async def test_strangers_may_not_send(team: Office, name: str) -> None:
    fault = await team.refused("eve", Send("1", name, {}))
    assert (fault.code, fault.fields) == ("not_member", {"conversation": name})
    assert await team.timeline("direct:alice:bob") == []


@pytest.mark.parametrize(
    "kind", ["", "Text", "a b", "x" * 33, ".a", "created", "members", "read", "a\n"]
)
async def test_a_kind_that_is_none_or_the_servers(team: Office, kind: str) -> None:
    assert (await team.refused("alice", Send("1", "team", {}, kind))).code == "bad_kind"


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(team: Office) -> None:
    frame = len('{"text":""}')
    await team.send("alice", "team", "1", "x" * (BODY_BYTES - frame))
    large = Send("2", "team", {"text": "x" * (BODY_BYTES - frame + 1)})
    assert (await team.refused("alice", large)).code == "body_too_large"
    # In bytes, not in characters.
    large = Send("2", "team", {"text": "é" * (BODY_BYTES // 2)})
    assert (await team.refused("alice", large)).code == "body_too_large"


def nested(depth: int) -> dict[str, Any]:
    """A body of this depth; the body itself is 1."""
    value: Any = {}
    for _ in range(depth - 2):
        value = [value]
    return {"x": value}


async def test_a_body_may_be_nested_as_deep_as_the_limit_and_no_deeper(team: Office) -> None:
    await team.sender.ask("alice", Send("1", "team", nested(MAX_BODY_DEPTH)))
    for depth in (MAX_BODY_DEPTH + 1, 400):
        fault = await team.refused("alice", Send("2", "team", nested(depth)))
        assert fault.code == "bad_body"


async def test_many_brackets_are_not_depth(team: Office) -> None:
    body = {"x": [{} for _ in range(100)], "y": "[[[[{{{{" * 20}
    await team.sender.ask("alice", Send("1", "team", body))


async def test_a_request_that_breaks_something_ends_nothing(team: Office) -> None:
    outcomes = team.submit("alice", Send("1", "team", {"x": object()}), Send("2", "team", {}))
    await turns()
    broken, ack = outcomes
    assert isinstance(broken, TimewireError)
    assert ack == Ack("2", 2, 1000)


# -- groups --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a b", "direct:alice:bob", "self:alice", "a/b", "x" * 129])
async def test_a_name_that_no_group_may_have(office: Office, name: str) -> None:
    assert (await office.refused("alice", Create("1", name))).code == "bad_name"


async def test_members_have_names(team: Office) -> None:
    for command in [
        Create("1", "new", ["a b"]),
        Add("1", "team", [""]),
        Remove("1", "team", ["bob", "x\n"]),
    ]:
        assert (await team.refused("alice", command)).code == "bad_name"


async def test_a_title_has_a_limit(office: Office) -> None:
    await office.sender.ask("alice", Create("1", "a", title="x" * MAX_TITLE_BYTES))
    fault = await office.refused("alice", Create("2", "b", title="x" * (MAX_TITLE_BYTES + 1)))
    assert fault.code == "body_too_large"


async def test_a_group_is_made_once(team: Office) -> None:
    assert (await team.refused("eve", Create("1", "team"))).code == "conversation_exists"
    assert not await team.is_member("eve", "team")


async def test_a_group_has_so_many_members_and_no_more(team: Office) -> None:
    too_many = [f"u{n}" for n in range(MAX_MEMBERS)]
    fault = await team.refused("alice", Create("1", "new", too_many))
    assert (fault.code, fault.fields) == ("too_many_members", {"limit": MAX_MEMBERS})
    await team.sender.ask("alice", Create("1", "new", too_many[1:]))
    assert (await team.refused("alice", Add("2", "new", ["zoe"]))).code == "too_many_members"
    # Who is a member already takes no place.
    await team.sender.ask("alice", Add("2", "new", ["u1", "u2"]))
    await team.sender.ask("alice", Remove("3", "new", ["u1"]))
    await team.sender.ask("alice", Add("4", "new", ["zoe", "zoe", "u2"]))
    assert await team.is_member("zoe", "new")


async def test_one_request_names_so_many_members_and_no_more(team: Office) -> None:
    many = [f"u{n}" for n in range(1001)]
    for command in (Create("1", "new", many), Add("1", "team", many), Remove("1", "team", many)):
        assert (await team.refused("alice", command)).code == "too_many_members"


async def test_members_come_and_go_with_the_message_that_says_so(team: Office) -> None:
    joined = await team.sender.ask("bob", Add("1", "team", ["carol"]))
    await team.send("carol", "team", "1")
    left = await team.sender.ask("carol", Remove("2", "team", ["carol"]))
    assert (await team.refused("carol", Send("3", "team", {}))).code == "not_member"
    conversation = await team.store.directory.conversation("team")
    assert conversation is not None
    assert [(w.joined, w.left) for w in conversation.windows["carol"]] == [(joined.seq, left.seq)]


async def test_only_members_change_a_group(team: Office) -> None:
    for command in (Add("1", "team", ["eve"]), Remove("1", "team", ["alice"])):
        assert (await team.refused("eve", command)).code == "not_member"


async def test_a_direct_conversation_has_no_comings_and_goings(office: Office) -> None:
    commands = [Add("1", "direct:alice:bob", ["eve"]), Remove("1", "self:alice", ["alice"])]
    for command in commands:
        assert (await office.refused("alice", command)).code == "not_a_group"
    # And is not made by asking.
    assert await office.store.directory.conversation("direct:alice:bob") is None
    await office.send("alice", "direct:alice:bob", "2")
    assert (await office.refused("alice", commands[0])).code == "not_a_group"


async def test_what_follows_a_change_is_checked_against_it(office: Office) -> None:
    outcomes = office.submit(
        "alice",
        Create("1", "team"),
        Send("2", "team", {}),
        Remove("3", "team", ["alice"]),
        Send("4", "team", {}),
    )
    await turns()
    seqs = [o.seq if isinstance(o, Ack) else o.code for o in outcomes]
    assert sorted(map(str, seqs)) == ["1", "2", "3", "not_member"]
    assert [m.id for m in await office.timeline("team")] == ["1", "2", "3"]


# -- reading -------------------------------------------------------------------------------------


async def mark(office: Office, user: str) -> Seq:
    return await office.store.directory.read_mark(user, "team")


async def test_a_read_mark_only_grows(team: Office) -> None:
    last = await team.send("bob", "team", "1")
    await team.sender.ask("alice", MarkRead("r1", "team", last.seq))
    await team.sender.ask("alice", MarkRead("r2", "team", 1))
    assert (await mark(team, "alice"), await mark(team, "bob")) == (last.seq, 0)
    read = [m for m in await team.timeline("self:alice") if m.kind == "read"]
    assert [m.body for m in read] == [
        {"conversation": "team", "seq": last.seq},
        {"conversation": "team", "seq": 1},
    ]


@pytest.mark.parametrize(
    ("user", "name", "seq", "code"),
    [
        ("eve", "team", 1, "not_member"),
        ("alice", "nowhere", 1, "not_member"),
        ("alice", "team", 0, "bad_seq"),
        ("alice", "team", -1, "bad_seq"),
        ("alice", "team", 2, "bad_seq"),
        ("alice", "team", 2**70, "bad_seq"),
    ],
)
async def test_a_mark_that_cannot_be(
    team: Office, user: str, name: str, seq: int, code: str
) -> None:
    assert (await team.refused(user, MarkRead("r", name, seq))).code == code
    assert await team.store.directory.conversation(f"self:{user}") is None


async def test_one_who_has_left_may_still_mark_what_was(team: Office) -> None:
    await team.sender.ask("bob", Remove("1", "team", ["bob"]))
    await team.sender.ask("bob", MarkRead("2", "team", 2))
    assert await mark(team, "bob") == 2


# -- repeats -------------------------------------------------------------------------------------


async def test_a_repeat_gets_the_first_answer_and_leaves_nothing(team: Office) -> None:
    first = await team.send("alice", "team", "1")
    await team.send("bob", "team", "1")
    head = team.store.log.head
    assert await team.send("alice", "team", "1") == first
    assert team.store.log.head == head


async def test_a_repeat_in_the_same_turn_is_one_message(team: Office) -> None:
    outcomes = team.submit("alice", *[Send("1", "team", {})] * 3)
    await turns()
    assert outcomes == [Ack("1", 2, 1000)] * 3
    assert len(await team.log()) == 2


async def test_an_id_names_one_message(team: Office) -> None:
    await team.send("alice", "team", "1", "this")
    for other in [
        Send("1", "team", {"text": "that"}),
        Send("1", "team", {"text": "this"}, kind="note"),
        Send("1", "team", {"text": "this"}, sent=5),
        Send("1", "direct:alice:bob", {"text": "this"}),
        Send("1", "nowhere", {"text": "this"}),
        Add("1", "team", ["carol"]),
        Create("1", "new"),
        MarkRead("1", "team", 1),
    ]:
        assert (await team.refused("alice", other)).code == "id_reused", other
    assert await team.store.directory.conversation("direct:alice:bob") is None
    assert not await team.is_member("carol", "team")


async def test_an_id_used_in_the_same_turn_makes_no_other_conversation(team: Office) -> None:
    outcomes = team.submit("alice", Send("1", "team", {}), Send("1", "direct:alice:bob", {}))
    await turns()
    assert [o.code for o in outcomes if isinstance(o, TimewireError)] == ["id_reused"]
    assert await team.store.directory.conversation("direct:alice:bob") is None


async def test_a_refused_send_does_not_use_its_id_up(office: Office) -> None:
    await office.refused("alice", Send("1", "team", {}))
    await office.sender.ask("alice", Create("2", "team"))
    await office.send("alice", "team", "1", "another")


async def test_a_repeat_after_a_restart_gets_the_first_answer(team: Office) -> None:
    sent = await team.send("alice", "team", "1")
    added = await team.sender.ask("alice", Add("2", "team", ["carol"]))
    again = Office(team.store.reopened())
    assert await again.send("alice", "team", "1") == sent
    assert await again.sender.ask("alice", Add("2", "team", ["carol"])) == added
    assert again.store.log.head == added.seq
    await again.aclose()


async def test_repeats_are_answered_whatever_has_changed_since(team: Office) -> None:
    sent = await team.send("bob", "team", "1")
    changes = [
        Add("2", "team", ["carol"]),
        MarkRead("4", "team", 2),
        Create("5", "new"),
        Remove("6", "team", ["bob"]),
    ]
    acks = [await team.sender.ask("bob", change) for change in changes]
    await team.sender.ask("alice", Add("x", "team", ["dave", "erin", "frank"]))
    head = team.store.log.head

    assert await team.send("bob", "team", "1") == sent
    assert [await team.sender.ask("bob", change) for change in changes] == acks
    assert team.store.log.head == head
    assert not await team.is_member("bob", "team")
    assert (await team.refused("bob", Send("7", "team", {}))).code == "not_member"


# -- order and acks ------------------------------------------------------------------------------


async def test_sends_keep_their_order(team: Office) -> None:
    sends = [Send(str(n), "team", {}, ack="stored") for n in range(3000)]
    outcomes = team.submit("alice", *sends)
    await turns(20)
    assert [o.id for o in outcomes if isinstance(o, Ack)] == [send.id for send in sends]
    seqs = [o.seq for o in outcomes if isinstance(o, Ack)]
    assert seqs == list(range(2, 3002))


class CountingLog(MemoryLog):
    """Remembers how many drafts each append had."""

    def __init__(self) -> None:
        super().__init__(lambda: 1000)
        self.appends: list[int] = []

    def append(self, drafts: Sequence[Draft]) -> asyncio.Future[list[Receipt | TimewireError]]:
        self.appends.append(len(drafts))
        return super().append(drafts)


@pytest.mark.parametrize(("pause_turns", "appends"), [(1, [6]), (10, [1] * 6)])
async def test_what_comes_in_quick_succession_is_one_append(
    pause_turns: int, appends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER_MS", 60_000)
    store, log = MemoryStore(lambda: 1000), CountingLog()
    store.log, store.messages, store.directory = log, log.messages, log.directory
    office = Office(store)
    await office.sender.ask("alice", Create("make", "team"))
    log.appends.clear()
    for number in range(6):
        office.submit("alice", Send(str(number), "team", {}))
        await turns(pause_turns)
    await turns()
    await office.aclose()
    assert log.appends == appends


async def test_what_keeps_coming_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "GATHER_MS", 0)
    store, log = MemoryStore(lambda: 1000), CountingLog()
    store.log, store.messages, store.directory = log, log.messages, log.directory
    office = Office(store)
    await office.sender.ask("alice", Create("make", "team"))
    log.appends.clear()
    for number in range(20):
        office.submit("alice", Send(str(number), "team", {}))
        await turns(1)
    await turns()
    await office.aclose()
    assert sum(log.appends) == 20
    assert len(log.appends) > 3


async def test_synced_waits_for_fan_out_and_stored_does_not(team: Office) -> None:
    outcomes = team.submit(
        "alice",
        Send("1", "team", {}, ack="synced"),
        Send("2", "team", {}),
        Send("3", "team", {}, ack="synced"),
    )
    await turns()
    assert outcomes == [Ack("2", 3, 1000)]
    team.sender.synced(2)
    assert outcomes[1:] == [Ack("1", 2, 1000, synced=True)]
    team.sender.synced(4)
    assert outcomes[2:] == [Ack("3", 4, 1000, synced=True)]
    # A repeat of what fan-out has passed need not wait.
    assert await team.send("alice", "team", "4") == Ack("4", 5, 1000)
    again = await team.sender.ask("alice", Send("1", "team", {}, ack="synced"))
    assert again == Ack("1", 2, 1000, synced=True)


# -- trouble -------------------------------------------------------------------------------------


async def test_a_store_that_cannot_write_refuses_and_recovers_by_itself(team: Office) -> None:
    team.store.log.writable = False
    for command in [
        Send("1", "team", {}),
        Send("1", "direct:alice:bob", {}),
        Create("1", "new"),
        Add("1", "team", ["carol"]),
        MarkRead("1", "team", 1),
    ]:
        fault = await team.refused("alice", command)
        assert (fault.code, fault.retry) == ("storage_unavailable", True)
    team.store.log.writable = True
    assert (await team.send("alice", "team", "1")).seq == 2
    assert (await team.send("alice", "direct:alice:bob", "2")).seq == 4
    assert not await team.is_member("carol", "team")


class LateLog(MemoryLog):
    """A log that finds out late, when it is told, that it could not write while ``failing``.

    What was staged behind a batch that fails, fails with it.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        super().__init__(now)
        self.failing = False
        self._doomed: list[asyncio.Future[list[Receipt | TimewireError]]] = []

    def append(self, drafts: Sequence[Draft]) -> asyncio.Future[list[Receipt | TimewireError]]:
        if not self.failing and not self._doomed:
            return super().append(drafts)
        self._doomed.append(asyncio.get_running_loop().create_future())
        return self._doomed[-1]

    def find_out(self) -> None:
        for answer in self._doomed:
            answer.set_exception(error("outcome_unknown"))
        self._doomed.clear()


@pytest.mark.parametrize("turns_later", [0, 1, 2, 5])
async def test_what_waits_behind_a_failed_batch_does_not_overtake_its_repeat(
    turns_later: int,
) -> None:
    store = MemoryStore(lambda: 1000)
    log = LateLog(lambda: 1000)
    store.log, store.messages, store.directory = log, log.messages, log.directory
    office = Office(store)
    await office.sender.ask("alice", Create("make", "team"))
    log.failing = True
    outcomes = office.submit("alice", Send("1", "team", {}))
    await turns()
    log.failing = False
    behind = [
        Send("2", "team", {}),
        Add("3", "team", ["bob"]),
        Send("4", "self:alice", {}),
        Send("5", "team", {}),
    ]
    waiting: list[Outcome] = []
    for command in behind:
        office.sender.submit(Request("alice", command, lambda _, outcome: waiting.append(outcome)))
        await turns(turns_later)
    log.find_out()
    await eventually(lambda: len(waiting) == len(behind))
    assert [o.code for o in outcomes if isinstance(o, TimewireError)] == ["outcome_unknown"]
    assert {o.retry for o in waiting if isinstance(o, TimewireError)} == {True}
    later = office.submit("alice", Send("1", "team", {}), *behind)
    await turns(20)
    await office.aclose()
    assert [o.seq for o in later if isinstance(o, Ack)] == [2, 3, 4, 6, 7]


async def test_a_queue_that_is_full_refuses_at_once(team: Office) -> None:
    sends = [Send(str(n), "team", {}) for n in range(MAX_QUEUE_REQUESTS + 1)]
    outcomes = team.submit("alice", *sends)
    assert [o.code for o in outcomes if isinstance(o, TimewireError)] == ["too_busy"]
    await turns(100)
    assert sum(isinstance(o, Ack) for o in outcomes) == MAX_QUEUE_REQUESTS


async def test_closing_finishes_what_is_queued_and_refuses_the_rest(team: Office) -> None:
    outcomes = team.submit("alice", *[Send(str(n), "team", {}) for n in range(10)])
    team.sender.close()
    assert (await team.refused("alice", Send("late", "team", {}))).code == "shutting_down"
    await team.running
    assert [type(outcome) for outcome in outcomes] == [Ack] * 10
    assert len(await team.log()) == 11


# -- the system ----------------------------------------------------------------------------------


async def test_the_system_need_not_be_a_member(office: Office) -> None:
    async def system(command: Command) -> Ack:
        return await office.sender.ask("shop", command, "system")

    made = await system(Create("1", "order", ["alice"]))
    await system(Send("2", "order", {}))
    await system(Add("3", "order", ["bob"]))
    await system(Send("4", "direct:alice:bob", {}))
    assert not await office.is_member("shop", "order")
    assert await office.is_member("bob", "order")
    assert await system(Create("1", "order", ["alice"])) == made
    with pytest.raises(TimewireError, match="unknown_conversation"):
        await system(Send("5", "nowhere", {}))
    assert (await office.refused("shop", Send("6", "order", {}))).code == "not_member"


# -- settings and media -------------------------------------------------------------------------


async def test_settings_stand_in_ones_own_conversation(office: Office) -> None:
    await office.sender.ask("alice", PutSettings("1", "nobody"))
    assert (await office.store.directory.settings("alice")).presence == "nobody"
    assert (await office.timeline("self:alice"))[-1] == Message(
        "self:alice", 2, 1000, "alice", "1", "settings", {"presence": "nobody"}
    )


async def test_a_message_refers_only_to_media_that_its_sender_sees(team: Office) -> None:
    name = "a" * 64
    change = Uploaded(name, 5, "text/plain")
    draft = Draft(MEDIA_LOG, "alice", "", encode_change("alice", "", change), change)
    await team.store.log.append([draft])
    sent = Send("1", "team", {"media": name})
    assert (await team.refused("bob", sent)).code == "unknown_media"
    assert (await team.refused("bob", Send("2", "direct:bob:eve", {"media": [name]}))).code == (
        "unknown_media"
    )
    assert (await team.refused("bob", Send("3", "team", {"media": 7}))).code == "bad_body"
    ack = await team.sender.ask("alice", sent)
    assert await team.store.media.carriers(name, limit=10) == [Ref(ack.seq, "team")]
    assert await team.sender.ask("alice", sent) == ack
    await team.sender.ask("bob", Send("4", "direct:bob:eve", {"media": name}))
    system = await team.sender.ask("bot", Send("5", "team", {"media": name}), "system")
    assert (await team.store.media.carriers(name, limit=1)) == [Ref(system.seq, "team")]


async def test_a_repeat_is_answered_though_its_media_are_gone(team: Office) -> None:
    name = "a" * 64
    for change in (Uploaded(name, 5, "text/plain"), None, Swept(name)):
        if change is None:
            ack = await team.sender.ask("alice", Send("1", "team", {"media": name}))
            continue
        payload = encode_change("alice", "", change)
        await team.store.log.append([Draft(MEDIA_LOG, "alice", "", payload, change)])
    assert await team.sender.ask("alice", Send("1", "team", {"media": name})) == ack
    assert (await team.refused("alice", Send("2", "team", {"media": name}))).code == "unknown_media"


async def test_a_sender_that_knows_no_media_takes_none() -> None:
    store = MemoryStore()
    sender = Sender(store.log, store.directory, body_bytes=BODY_BYTES, max_members=MAX_MEMBERS)
    running = asyncio.create_task(sender.run())
    with pytest.raises(TimewireError) as refused:
        await sender.ask("alice", Send("1", "self:alice", {"media": "a" * 64}))
    assert refused.value.code == "unknown_media"
    sender.close()
    await running


async def test_an_edit_may_refer_to_media_too(team: Office) -> None:
    mine, theirs = "a" * 64, "b" * 64
    for user, name in (("alice", mine), ("bob", theirs)):
        change = Uploaded(name, 5, "text/plain")
        payload = encode_change(user, "", change)
        await team.store.log.append([Draft(MEDIA_LOG, user, "", payload, change)])
    sent = await team.send("alice", "team", "1")
    edit = Edit("2", "team", sent.seq, {"media": theirs})
    assert (await team.refused("alice", edit)).code == "unknown_media"
    await team.sender.ask("alice", Edit("3", "team", sent.seq, {"media": mine, "text": "x"}))
    assert await team.store.media.carriers(mine, limit=9) == [Ref(sent.seq, "team")]
    await team.media.find("bob", mine)
    await team.sender.ask("alice", Edit("4", "team", sent.seq, {"text": "x"}))
    with pytest.raises(TimewireError):
        await team.media.find("bob", mine)
