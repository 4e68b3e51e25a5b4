"""Devices end to end: the SDK against the real server, over real sockets and kills."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from timewire.auth import mint
from timewire.backends.memory import MemoryStore as ServerMemory
from timewire.client import (
    Acked,
    Backoff,
    Client,
    Connected,
    Disconnected,
    Event,
    Live,
    Member,
    Presence,
    Received,
    Refused,
    Reset,
    SqliteStore,
    State,
    Typing,
    connect,
)
from timewire.client import session as session_module
from timewire.client.store import Change
from timewire.commands import Send
from timewire.errors import Forbidden, Invalid, NotFound, Retryable, TimewireError, Unusable
from timewire.model import Forward, Message
from timewire.protocol import Cursor
from timewire.server import Server
from timewire.testing.devices import eventually
from timewire.testing.servers import ServerProcess, running_server, serving

QUICK = Backoff(0.01, 0.1)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path / "data") as running:
        yield running


def device(server: Server | ServerProcess, user: str, name: str = "laptop", **more: Any) -> Client:
    """A device of a user of the server, not connected yet."""
    if isinstance(server, Server):
        token = mint(server.keys.secret, user)
    else:
        token = server.token(user)
    options: dict[str, Any] = {"backoff": QUICK, **more}
    return connect(server.url, options.pop("token", token), device=name, **options)


async def next_events(me: Client, wanted: Callable[[Event], bool], count: int) -> list[Any]:
    """The next events of a sort; others are passed over."""
    found: list[Event] = []
    async for event in me.events():
        if wanted(event):
            found.append(event)
        if len(found) == count:
            break
    return found


def is_presence(event: Event) -> bool:
    return isinstance(event, Presence)


def carries_text(event: Event) -> bool:
    return isinstance(event, Received | Acked) and event.message.kind == "text"


async def texts(me: Client, count: int) -> list[str]:
    """The next texts that come, received or sent."""
    events = await next_events(me, carries_text, count)
    return [event.message.body["text"] for event in events]


async def received(me: Client, count: int) -> list[Message]:
    events = await next_events(me, lambda event: isinstance(event, Received), count)
    return [event.message for event in events]


async def nothing_waits(me: Client) -> list[Event]:
    """What the feed still holds, apart from news about the connection."""
    left: list[Event] = []
    while True:
        try:
            event = await asyncio.wait_for(anext(aiter(me.events())), 0.05)
        except TimeoutError:
            return left
        if not isinstance(event, Connected | Disconnected | Live):
            left.append(event)


# Signals -----------------------------------------------------------------------------------------


async def test_who_types_is_told(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob", codec="msgpack") as bob:
        await alice.create("team", ["bob"])
        await bob.caught_up()
        alice.typing("team")
        [event] = await next_events(bob, lambda event: isinstance(event, Typing), 1)
        assert event == Typing("team", "alice")


async def test_who_comes_and_goes_is_told_over_broken_connections(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server, device(server, "alice") as alice:
        await alice.create("team", ["bob"])
        alice.watch(["bob"])
        seen = await next_events(alice, is_presence, 1)
        async with device(server, "bob"):
            seen += await next_events(alice, is_presence, 1)
            await server.restart()
            # Nobody is online for a server that has just started, until they come back.
            while (event := (await next_events(alice, is_presence, 1))[0]) != Presence("bob", True):
                seen.append(event)
        assert seen[:2] == [Presence("bob", False), Presence("bob", True)]


async def test_who_hides_is_not_seen(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        await alice.create("team", ["bob"])
        await bob.show_presence("nobody")
        [hidden] = await received(bob, 1)
        alice.watch(["bob", "nobody"])
        seen = await next_events(alice, is_presence, 2)
        assert seen == [Presence("bob", False), Presence("nobody", False)]
        assert hidden.kind == "created"
        await bob.show_presence("all")
        assert await next_events(alice, is_presence, 1) == [Presence("bob", True)]


async def test_what_cannot_be_watched(server: Server) -> None:
    async with device(server, "alice") as alice:
        for users, code in ((["a b"], "bad_name"), (map(str, range(501)), "too_many_watched")):
            with pytest.raises(TimewireError) as refused:
                alice.watch(users)
            assert refused.value.code == code


# Talking -----------------------------------------------------------------------------------------


async def test_a_message_goes_to_the_other_one_and_comes_back_as_acked(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        assert (alice.user, bob.user) == ("alice", "bob")
        name = alice.direct("bob")
        assert name == bob.direct("alice") == "direct:alice:bob"
        sent = await alice.send(name, "你好, bob")
        created, text = await received(bob, 2)
        assert created.kind == "created"
        assert text.body == {"text": "你好, bob"}
        assert (text.id, text.seq, text.time) == (sent.id, sent.seq, sent.time)
        assert (text.sender, text.kind, text.conversation) == ("alice", "text", name)
        assert text.sent > 0
        [acked] = await next_events(alice, lambda event: isinstance(event, Acked), 1)
        assert acked == Acked(text)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_any_json_object_is_a_body(server: Server, codec: Any) -> None:
    body = {"url": "https://example.com/a.png", "size": [640, 480], "深": {"x": None, "y": 1.5}}
    async with device(server, "alice", codec=codec) as alice, device(server, "bob") as bob:
        await alice.send("direct:alice:bob", body, kind="picture", ack="synced")
        assert (await received(bob, 2))[1].body == body
        [kept] = alice.kept("direct:alice:bob", limit=1)
        assert (kept.body, kept.kind) == (body, "picture")


async def test_every_command_looks_the_same_to_its_device_and_to_all_others(
    server: Server,
) -> None:
    async with (
        device(server, "alice") as alice,
        device(server, "alice", "phone") as phone,
    ):
        await alice.create("team", ["bob", "bob", "carol"], title="The team")
        await alice.add("team", ["dave", "dave"])
        sent = await alice.send("team", "hello")
        await alice.mark_read("team", sent.seq)
        await alice.edit("team", sent.seq, "hello!")
        await alice.react("team", sent.seq, "👍")
        await alice.pin("team", sent.seq)
        await alice.update("team", title="Our team")
        await alice.mute("team", "bob", 2_000_000_000_000)
        await alice.ban("team", ["carol"])
        await alice.ban("team", ["carol"], on=False)
        await alice.block("eve")
        await alice.hide("team", sent.seq)
        await alice.recall("team", sent.seq)
        await alice.remove("team", ["dave"])
        await alice.role("team", "bob", "owner")
        await alice.leave("team")
        kinds = ["created", "members", "text", "read", "edited", "reaction", "pinned", "updated"]
        kinds += ["muted", "banned", "banned", "blocked", "hidden", "recalled", "members", "role"]
        kinds += ["members"]
        own = await next_events(alice, lambda event: isinstance(event, Acked), len(kinds))
        there = [one for one in await received(phone, len(kinds) + 1) if one.id]
        assert [event.message for event in own] == there
        assert [one.kind for one in there] == kinds
        assert phone.read_mark("team") == alice.read_mark("team") == sent.seq


async def test_messages_name_others_and_tell_who_has_read_them(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        await alice.create("team", ["bob", "carol"], history="all", invite="admins")
        first = await alice.send("team", "look")
        await bob.mark_read("team", first.seq)
        await alice.role("team", "bob", "admin")
        await alice.mute("team", "carol", 2_000_000_000_000)
        [said] = [one for one in alice.kept("team") if one.seq == first.seq]
        second = await alice.send(
            "team", "again", reply=first.seq, mentions=["bob"], forward=said, ack="synced"
        )
        assert await alice.read_by("team", first.seq) == ["bob"]
        assert await bob.roster("team") == [
            Member("alice", "owner"),
            Member("bob", "admin"),
            Member("carol", "member", 2_000_000_000_000),
        ]
        assert await bob.members("team") == ["alice", "bob", "carol"]
        states = {one.name: one for one in await bob.conversations()}
        assert (states["team"].unread, states["team"].mentioned) == (1, 1)
        assert (states["team"].role, states["team"].history) == ("admin", "all")
        last = states["team"].last
        assert last
        assert (last.seq, last.reply, last.mentions) == (second.seq, first.seq, ["bob"])
        assert last.forward == Forward("team", first.seq, "alice")
        assert last in alice.kept("team")


async def test_what_has_expired_is_gone_from_devices(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        soon = time.time_ns() // 1_000_000 + 300
        sent = await alice.send("direct:alice:bob", "psst", expires=soon)
        await received(bob, 2)
        for _ in range(600):
            if not any(me.kept("direct:alice:bob", limit=1)[0].kind for me in (alice, bob)):
                break
            await asyncio.sleep(0.05)
        [left] = (await bob.history("direct:alice:bob", limit=1)).messages
        assert (left.seq, left.kind, left.body) == (sent.seq, "", {})


async def test_all_devices_of_a_user_end_equal(server: Server, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        alice = await enter(device(server, "alice", store=tmp_path / "laptop.db"))
        phone = await enter(device(server, "alice", "phone", store=tmp_path / "phone.db"))
        bob = await enter(device(server, "bob"))
        await alice.create("team", ["bob"])
        speakers = [alice, phone, bob] * 10
        await asyncio.gather(*[me.send("team", f"no. {n}") for n, me in enumerate(speakers)])
        for me in (alice, phone, bob):
            assert len(await texts(me, 30)) == 30
        assert alice.kept("team") == phone.kept("team") == bob.kept("team")
        assert (await alice.history("team")).messages == alice.kept("team")


async def test_a_refused_send_raises_and_is_told(server: Server) -> None:
    async with device(server, "alice") as alice:
        posted = alice.post("nowhere", "hello?")
        with pytest.raises(NotFound) as refusal:
            await posted
        assert refusal.value.code == "unknown_conversation"
        [event] = await next_events(alice, lambda event: isinstance(event, Refused), 1)
        assert (event.id, event.conversation) == (posted.id, "nowhere")
        assert event.error.code == "unknown_conversation"
        await alice.create("team")
        with pytest.raises(Invalid) as refusal:
            await alice.create("team")
        assert refusal.value.code == "conversation_exists"
        with pytest.raises(Invalid):
            alice.post("team", "x", kind="created")
        with pytest.raises(Invalid):
            alice.post("team", "x", id="")


async def test_an_id_of_one_s_own_makes_one_message_for_ever(server: Server) -> None:
    async with device(server, "alice") as alice:
        await alice.create("team")
        first, same = await asyncio.gather(
            alice.send("team", "order 7", id="order-7"), alice.send("team", "order 7", id="order-7")
        )
        assert first == same
    async with device(server, "alice") as alice:
        assert await alice.send("team", "order 7", id="order-7") == first
        assert (await alice.history("team", limit=1)).messages[0].seq == first.seq


async def test_a_busy_server_gets_everything_once(tmp_path: Path) -> None:
    async with (
        serving(tmp_path / "data", sends_per_second=50, sends_in_flight=20) as server,
        device(server, "alice") as alice,
        device(server, "bob") as bob,
    ):
        await alice.create("team", ["bob"])
        for number in range(120):
            alice.post("team", f"{number}")
        await alice.flush()
        assert sorted(map(int, await texts(bob, 120))) == list(range(120))


async def test_what_goes_beyond_a_limit_goes_again_after_the_time_told_in_its_order(
    tmp_path: Path,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(seconds)

    backoff = Backoff(0.001, 0.001, sleep=sleep)
    async with (
        serving(tmp_path / "data", conversation_sends_per_second=10) as server,
        device(server, "alice", backoff=backoff) as alice,
    ):
        for number in range(13):
            alice.post("self:alice", f"{number}")
        await alice.flush()
        assert await texts(alice, 13) == [f"{number}" for number in range(13)]
        assert max(slept) > 0.02, "as long as a tenth of a second, less what has passed already"


# Reading -----------------------------------------------------------------------------------------


async def test_history_is_read_both_ways_page_by_page(server: Server) -> None:
    async with device(server, "alice") as alice:
        await alice.create("team")
        for number in range(250):
            alice.post("team", f"{number}")
        await alice.flush()
        newest = await alice.history("team", limit=3)
        assert [one.body["text"] for one in newest.messages] == ["249", "248", "247"]
        assert newest.has_more
        older = await alice.history("team", before=newest.messages[-1].seq, limit=1000)
        assert [one.body.get("text") for one in older.messages][:2] == ["246", "245"]
        assert not older.has_more
        backward = [one async for one in alice.scroll("team")]
        forward = [one async for one in alice.scroll("team", after=0)]
        assert len(forward) == 251
        assert forward == backward[::-1]
        middle = forward[100].seq
        assert [one async for one in alice.scroll("team", after=middle)] == forward[101:]
        assert [one async for one in alice.scroll("team", before=middle)] == forward[:100][::-1]


async def test_the_list_of_conversations_is_whole(server: Server) -> None:
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        for number in range(105):
            await alice.create(f"group{number:03}", ["bob"], title=f"Group {number}")
        sent = [await alice.send("group007", f"{number}") for number in range(3)]
        await bob.mark_read("group007", sent[0].seq)
        await bob.leave("group008")
        listed = {one.name: one for one in await bob.conversations()}
        assert [name for name in listed if name.startswith("group")] == [
            f"group{number:03}" for number in range(105)
        ]
        seven = listed["group007"]
        assert (seven.kind, seven.title, seven.member) == ("group", "Group 7", True)
        assert (seven.read, seven.unread) == (sent[0].seq, 2)
        assert seven.last is not None
        assert seven.last.body == {"text": "2"}
        assert not listed["group008"].member
        with pytest.raises(Forbidden) as refusal:
            await bob.members("group008")
        assert refusal.value.code == "not_member"


async def test_members_are_listed_by_name(server: Server) -> None:
    async with device(server, "alice") as alice:
        users = [f"user{number:03}" for number in range(150)]
        await alice.create("team", users)
        assert await alice.members("team") == ["alice", *users]


async def test_more_questions_than_the_server_takes_at_once_wait_their_turn(
    server: Server,
) -> None:
    async with device(server, "alice") as alice:
        await alice.create("team")
        slices = await asyncio.gather(*[alice.history("team") for _ in range(100)])
        assert all(len(one.messages) == 1 for one in slices)


# Away and back -----------------------------------------------------------------------------------


async def test_what_was_missed_comes_first_and_then_what_is_new(
    server: Server, tmp_path: Path
) -> None:
    async with device(server, "bob") as bob:
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            await alice.create("team", ["bob"])
        for number in range(1200):
            bob.post("team", f"{number}")
        await bob.flush()
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            await alice.caught_up()
            await bob.send("team", "1200")
            assert await texts(alice, 1201) == [f"{number}" for number in range(1201)]


async def test_without_a_store_a_device_starts_at_the_head(server: Server) -> None:
    async with device(server, "bob") as bob:
        await bob.send("direct:alice:bob", "early", ack="synced")
        async with device(server, "alice") as alice:
            await alice.caught_up()
            await bob.send("direct:alice:bob", "late")
            assert await texts(alice, 1) == ["late"]
            assert [one.body.get("text") async for one in alice.scroll("direct:alice:bob")] == [
                "late",
                "early",
                None,
            ]


async def test_what_is_written_offline_goes_out_in_order_after_a_restart(tmp_path: Path) -> None:
    store = tmp_path / "alice.db"
    async with running_server(tmp_path / "data") as server:
        async with device(server, "alice", store=store) as alice:
            await alice.create("team", ["bob"])
        await server.stop()
        async with device(server, "alice", store=store) as alice:
            assert alice.user == "alice"
            assert alice.state is State.CONNECTING
            for number in range(50):
                alice.post("team", f"{number}")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(alice.send("team", "50"), 0.05)
            assert [one.kind for one in alice.kept("team")] == ["created"]
        await server.start()
        async with device(server, "alice", store=store) as alice:
            await alice.flush()
            assert await texts(alice, 51) == [f"{number}" for number in range(51)]
            stored = [one async for one in alice.scroll("team", after=0)]
            assert stored == alice.kept("team")[::-1]
            assert [one.body.get("text") for one in stored[1:]] == [f"{n}" for n in range(51)]


async def test_kills_of_the_server_lose_and_double_nothing(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server, AsyncExitStack() as stack:
        enter = stack.enter_async_context
        alice = await enter(device(server, "alice"))
        phone = await enter(device(server, "alice", "phone", store=tmp_path / "phone.db"))
        bob = await enter(device(server, "bob"))
        await alice.create("team", ["bob"])
        readers = [asyncio.create_task(texts(me, 600)) for me in (alice, phone, bob)]
        for number in range(300):
            alice.post("team", f"a{number}")
            bob.post("team", f"b{number}")
            if number % 100 == 50:
                await asyncio.sleep(0.05)
                await server.restart()
        await alice.flush()
        await bob.flush()
        seen = await asyncio.gather(*readers)
        order = [one.body["text"] for one in alice.kept("team", limit=1000)[-2::-1]]
        assert len(order) == 600
        for own in "ab":
            sent = [f"{own}{number}" for number in range(300)]
            assert [text for text in order if text[0] == own] == sent
        # The phone only receives: it sees the order itself; others their own when it is acked.
        assert seen[1] == order
        assert [sorted(texts_seen) for texts_seen in seen] == [sorted(order)] * 3
        for me in (alice, phone, bob):
            assert await nothing_waits(me) == []
            assert me.kept("team", limit=1000) == alice.kept("team", limit=1000)


async def test_questions_wait_for_the_next_connection(tmp_path: Path) -> None:
    async with (
        running_server(tmp_path / "data") as server,
        device(server, "alice") as alice,
    ):
        await alice.create("team")
        await server.kill()
        await next_events(alice, lambda event: isinstance(event, Disconnected), 1)
        assert alice.state is State.CONNECTING
        asking = asyncio.gather(
            alice.history("team"), alice.conversations(), alice.add("team", "b")
        )
        await server.start()
        page, conversations, _ = await asking
        assert [one.kind for one in page.messages][-1] == "created"
        assert "team" in [one.name for one in conversations]
        assert await alice.members("team") == ["alice", "b"]


async def test_news_about_the_connection(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server, device(server, "alice") as alice:
        news = await next_events(alice, lambda event: True, 2)
        await server.restart()
        news += await next_events(alice, lambda event: True, 3)
        kinds = [type(event) for event in news]
        assert kinds == [Connected, Live, Disconnected, Connected, Live]


# The app and its events --------------------------------------------------------------------------


async def break_off_after(device: Client, wanted: list[str]) -> None:
    """An app that fails in the middle of the last of these texts."""
    async with device as me:
        assert await texts(me, len(wanted)) == wanted
        raise ZeroDivisionError


async def test_events_that_the_app_did_not_read_wait_for_it(server: Server, tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    async with device(server, "bob") as bob:
        async with device(server, "alice", store=store) as alice:
            for number in range(5):
                await bob.send("direct:alice:bob", f"{number}", ack="synced")
            assert await texts(alice, 2) == ["0", "1"]
            # An own message's ack comes after the pushes before it.
            await alice.send("direct:alice:bob", "5", ack="synced")
        with pytest.raises(ZeroDivisionError):
            await break_off_after(device(server, "alice", store=store), ["2", "3"])
        # The app broke off in the middle of "3".
        async with device(server, "alice", store=store) as alice:
            assert await texts(alice, 3) == ["3", "4", "5"]
        async with device(server, "alice", store=store) as alice:
            await alice.caught_up()
            assert await nothing_waits(alice) == []


async def test_an_app_that_reads_no_events_can_send_and_ask_and_misses_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MAX_UNREAD_EVENTS", 20)
    monkeypatch.setattr(session_module, "LOW_UNREAD_EVENTS", 10)
    async with device(server, "alice") as alice, device(server, "bob") as bob:
        await bob.create("team", ["alice"])
        for number in range(100):
            bob.post("team", f"{number}")
        await bob.flush()
        await alice.send("direct:alice:bob", "I am busy")
        assert len((await alice.history("team", limit=1000)).messages) == 101
        assert len(alice.kept("team", limit=1000)) < 60
        others = [one for one in await received(alice, 102) if one.kind == "text"]
        assert [one.body["text"] for one in others] == [f"{n}" for n in range(100)]
        assert await nothing_waits(alice) == []


async def test_one_handler_may_send_while_many_events_wait(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "MAX_UNREAD_EVENTS", 20)
    monkeypatch.setattr(session_module, "LOW_UNREAD_EVENTS", 10)
    async with device(server, "bob") as bob:
        async with device(server, "echo", store=tmp_path / "echo.db"):
            pass
        for number in range(60):
            bob.post("direct:bob:echo", f"{number}")
        await bob.flush()
        async with device(server, "echo", store=tmp_path / "echo.db") as echo:
            answered = 0
            async for event in echo.events():
                if isinstance(event, Received) and event.message.kind == "text":
                    await echo.send(event.message.conversation, f"echo {answered}")
                    answered += 1
                if answered == 60:
                    break
        heard = await next_events(
            bob, lambda event: isinstance(event, Received) and carries_text(event), 60
        )
        assert [event.message.body["text"] for event in heard] == [f"echo {n}" for n in range(60)]


# Resets ------------------------------------------------------------------------------------------


async def test_a_device_that_was_away_for_too_long_is_rebuilt(tmp_path: Path) -> None:
    inboxes = ServerMemory()
    async with (
        serving(tmp_path / "data", inboxes) as server,
        device(server, "bob") as bob,
    ):
        await bob.create("team", ["alice"])
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            await alice.caught_up()
            await bob.send("team", "known")
            assert await texts(alice, 1) == ["known"]
        for number in range(150):
            bob.post("team", f"{number}")
        await bob.send("direct:alice:bob", "psst")
        await bob.flush()
        await inboxes.inbox.expire(2**62)
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            [reset] = await next_events(alice, lambda event: isinstance(event, Reset), 1)
            assert reset == Reset("expired")
            await alice.caught_up()
            await bob.send("team", "new")
            events = await next_events(alice, carries_text, 102)
            team = [e.message for e in events if e.message.conversation == "team"]
            assert [one.body["text"] for one in team] == [*[f"{n}" for n in range(50, 150)], "new"]
            assert await nothing_waits(alice) == []
            kept = [one.body["text"] for one in alice.kept("team", limit=1000)]
            assert kept[-1] == "50"  # what stood before may have been changed meanwhile
            assert len(kept) == 101
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            await alice.caught_up()
            assert await nothing_waits(alice) == []


async def test_what_was_written_while_away_does_not_hide_what_was_missed(tmp_path: Path) -> None:
    inboxes = ServerMemory()
    async with (
        serving(tmp_path / "data", inboxes) as server,
        device(server, "bob") as bob,
    ):
        await bob.create("team", ["alice"])
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            await alice.caught_up()
            await bob.send("team", "known")
            assert await texts(alice, 1) == ["known"]
        for number in range(20):
            bob.post("team", f"{number}")
        await bob.flush()
        await inboxes.inbox.expire(2**62)
        store = SqliteStore(tmp_path / "a.db")
        # The newest message of the team will be alice's own, and she knows it by its ack.
        store.apply(Change(queued=[Send("mine", "team", {"text": "mine"})]))
        store.close()
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            await alice.caught_up()
            await alice.flush()
            kept = [one.body["text"] for one in alice.kept("team") if one.kind == "text"]
            assert kept == ["mine", *[f"{n}" for n in reversed(range(20))], "known"]
            assert sorted(await texts(alice, 21)) == sorted(kept[:-1])
            assert alice.kept("team") == [one async for one in alice.scroll("team")]
            assert await nothing_waits(alice) == []


async def test_a_device_that_knows_another_log_forgets_it(server: Server, tmp_path: Path) -> None:
    async with device(server, "bob") as bob:
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            await alice.caught_up()
            await bob.send("direct:alice:bob", "hello")
            assert await texts(alice, 1) == ["hello"]
        store = SqliteStore(tmp_path / "a.db")
        cursor = store.load().cursor
        assert cursor is not None
        version, _, whose = cursor.base.split(".")
        ghost = Message("direct:alice:bob", 9999, 1, "bob", "ghost", "text", {"text": "boo"})
        restored = Cursor(f"{version}.another.{whose}", cursor.pos)
        store.apply(Change(cursor=restored, arrivals=[Received(ghost)]))
        store.close()
        async with device(server, "alice", store=tmp_path / "a.db") as alice:
            [reset] = await next_events(alice, lambda event: isinstance(event, Reset), 1)
            assert reset == Reset("other_log")
            assert await texts(alice, 1) == ["hello"]
            await alice.caught_up()
            listed = [one async for one in alice.scroll("direct:alice:bob")]
            assert alice.kept("direct:alice:bob") == listed


# Who one is --------------------------------------------------------------------------------------


async def test_a_wrong_token_is_an_error_at_the_door(server: Server) -> None:
    with pytest.raises(Forbidden) as refusal:
        await device(server, "alice", token="nonsense").__aenter__()
    assert refusal.value.code == "bad_token"


async def test_a_token_function_is_asked_again_when_the_token_is_refused(server: Server) -> None:
    life_s = [-10, -10, 3600]
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        return mint(server.keys.secret, "alice", life_s=life_s.pop(0))

    async with device(server, "alice", token=token) as alice:
        assert alice.user == "alice"
    assert asked == 3


async def test_a_token_function_that_gets_no_good_token_is_not_asked_for_ever(
    server: Server,
) -> None:
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        return "nonsense"

    with pytest.raises(Forbidden):
        await device(server, "alice", token=token).__aenter__()
    assert asked == 4


async def test_a_token_function_may_fail_for_a_while(server: Server) -> None:
    failures = [OSError("no network"), ValueError("no JSON")]

    async def token() -> str:
        if failures:
            raise failures.pop()
        return mint(server.keys.secret, "alice")

    async with device(server, "alice", token=token) as alice:
        assert alice.user == "alice"


async def test_a_token_function_gives_newer_tokens_before_the_old_ones_expire(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timewire.client.session.RENEW_AFTER", 0)
    monkeypatch.setattr("timewire.client.driver.RENEW_AGAIN_S", 0.01)
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise OSError("no network")
        return mint(server.keys.secret, "nobody" if asked == 3 else "alice")

    monkeypatch.setattr("timewire.client.session.RENEW_AGAIN_MS", 10)
    async with device(server, "alice", token=token) as alice:
        await eventually(lambda: asked > 4)
        await alice.create("team", [])
        events = await next_events(alice, lambda event: not isinstance(event, Live), 2)
        assert [type(event) for event in events] == [Connected, Acked]


async def test_a_token_of_ones_own_is_not_renewed(server: Server) -> None:
    short = mint(server.keys.secret, "alice", life_s=1)
    async with device(server, "alice", token=short) as alice:
        with pytest.raises(Forbidden) as ended:
            async for _ in alice.events():
                pass
    assert ended.value.code == "token_expired"


async def test_a_device_whose_name_is_taken_ends_and_says_why(server: Server) -> None:
    async with device(server, "alice") as alice:
        await alice.caught_up()
        async with device(server, "alice") as other:
            with pytest.raises(Forbidden) as end:
                await next_events(alice, lambda event: False, 1)
            assert end.value.code == "replaced"
            with pytest.raises(Forbidden):
                await alice.send("direct:alice:bob", "still here?")
            with pytest.raises(Forbidden):
                await alice.history("direct:alice:bob")
            await other.send("direct:alice:bob", "I am")


async def test_a_store_is_for_one_user_and_one_device(server: Server, tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    async with device(server, "alice", store=store):
        with pytest.raises(Unusable) as refusal:
            await device(server, "alice", "phone", store=store).__aenter__()
        assert refusal.value.code == "directory_in_use"
    with pytest.raises(Unusable) as refusal:
        await device(server, "alice", "phone", store=store).__aenter__()
    assert refusal.value.code == "wrong_store"
    async with device(server, "bob", store=store) as bob:
        with pytest.raises(Unusable) as refusal:
            await next_events(bob, lambda event: False, 1)
        assert refusal.value.code == "wrong_store"


async def test_no_server_is_an_error_for_a_new_device() -> None:
    with pytest.raises(Retryable) as failure:
        await connect(
            "http://127.0.0.1:1", "token", device="laptop", timeout_s=0.1, backoff=QUICK
        ).__aenter__()
    assert failure.value.code == "not_connected"
    assert failure.value.fields["reason"] != "no answer yet"


@pytest.mark.parametrize(
    ("url", "name", "code"),
    [("localhost", "laptop", "bad_config"), ("http://localhost", "my laptop", "bad_name")],
)
def test_what_is_wrong_from_the_start(url: str, name: str, code: str) -> None:
    with pytest.raises(TimewireError) as refusal:
        connect(url, "token", device=name)
    assert refusal.value.code == code


# The end -----------------------------------------------------------------------------------------


async def test_who_waits_when_the_device_is_closed_is_told(tmp_path: Path) -> None:
    async with running_server(tmp_path / "data") as server:
        async with device(server, "alice") as alice:
            await server.kill()
            await next_events(alice, lambda event: isinstance(event, Disconnected), 1)
            waiting = [
                asyncio.create_task(alice.send("team", "x")),
                asyncio.create_task(alice.history("team")),
                asyncio.create_task(alice.caught_up()),
                asyncio.create_task(alice.flush()),
            ]
            reading = asyncio.create_task(next_events(alice, lambda event: False, 1))
            await asyncio.sleep(0.01)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [getattr(one, "code", one) for one in outcomes] == ["closed"] * 4
        assert await reading == []


async def test_a_store_that_fails_ends_the_device(server: Server, tmp_path: Path) -> None:
    class Failing(SqliteStore):
        full = False

        def _write(self, change: Change) -> list[int | None]:
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            return super()._write(change)

    store = Failing(tmp_path / "a.db")
    async with device(server, "alice", store=store) as alice:
        await alice.caught_up()
        assert len(await next_events(alice, lambda event: True, 2)) == 2
        cursor = store.load().cursor
        store.full = True
        with pytest.raises(Retryable) as failure:
            await alice.send("direct:alice:bob", "x")
        assert failure.value.code == "storage_unavailable"
        with pytest.raises(Retryable):
            await next_events(alice, lambda event: False, 1)
        with pytest.raises(Retryable):
            await alice.conversations()
        assert store.load().cursor == cursor
        assert store.load().outbox == []
