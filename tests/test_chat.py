import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from timewire import client
from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.chat import HELP, HISTORY_LINES, Chat
from timewire.server import Server
from timewire.testing.servers import serving

PATIENCE_S = 20


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path / "data", MemoryStore()) as running:
        yield running


def device(server: Server, user: str, name: str = "test") -> client.Client:
    return client.connect(server.url, mint(server.keys.secret, user), device=name)


class Watched:
    """A chat, and waiting for it to show something."""

    def __init__(self, me: client.Client) -> None:
        self.me = me
        self._changed = asyncio.Event()
        self.chat = Chat(me, self._changed.set)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def shows(self, *lines: str) -> None:
        """Wait until these are the lines of the open room, all of them stored or only shown."""
        with suppress(TimeoutError):
            await self.until(lambda: self.lines == list(lines) and not self.pending)
        assert self.lines == list(lines)
        assert not self.pending

    async def enter(self, *lines: str) -> None:
        for line in lines:
            await self.chat.enter(line)

    @property
    def open(self) -> str:
        return self.chat.rooms.open.label if self.chat.rooms.open else ""

    @property
    def pending(self) -> bool:
        return bool(self.chat.rooms.open and self.chat.rooms.open.pending)

    @property
    def lines(self) -> list[str]:
        assert self.chat.rooms.open is not None
        return [line.text for line in self.chat.rooms.open.lines]


@asynccontextmanager
async def chatting(server: Server, user: str, name: str = "chat") -> AsyncIterator[Watched]:
    async with device(server, user, name) as me:
        watched = Watched(me)
        following = asyncio.create_task(watched.chat.follow())
        await watched.chat.start()
        try:
            yield watched
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following


async def test_someone_new_starts_with_a_note_that_helps(server: Server) -> None:
    async with chatting(server, "alice") as alice:
        assert alice.open == "@alice"
        assert any("/help" in line for line in alice.lines)
        await alice.until(lambda: alice.chat.status == "live")


async def test_two_users_talk(server: Server) -> None:
    async with chatting(server, "alice") as alice, chatting(server, "bob") as bob:
        await alice.enter("/open @bob", "hello bob")
        await alice.shows("started this conversation", "hello bob")
        room = alice.chat.rooms.room("direct:alice:bob")
        assert [line.state for line in room.lines] == ["event", "stored"]

        room = bob.chat.rooms.room("direct:alice:bob")
        await bob.until(lambda: room.unread == 1)
        await bob.enter("/open @alice")
        await bob.shows("started this conversation", "hello bob")
        assert room.unread == 0

        await bob.enter("hello alice")
        await alice.shows("started this conversation", "hello bob", "hello alice")


async def test_a_group_from_its_making_to_its_leaving(server: Server) -> None:
    async with chatting(server, "alice") as alice, chatting(server, "bob") as bob:
        await alice.enter("/create team bob", "/add carol", "/who", "/remove carol", "hi")
        assert alice.open == "team"
        await alice.shows(
            "made this group: alice, bob",
            "added carol",
            "3 here: alice, bob, carol",
            "removed carol",
            "hi",
        )
        await bob.enter("/open team", "/leave")
        await bob.until(lambda: not bob.chat.rooms.room("team").member)
        await bob.enter("still?")
        await bob.until(lambda: bob.lines[-1] != "still?")
        assert bob.lines[-1] == "still?  (you are not a member of this conversation)"


async def test_what_was_there_before_is_listed_and_loaded(server: Server) -> None:
    async with device(server, "bob") as bob:
        await bob.create("team", ["alice"])
        for number in range(HISTORY_LINES + 5):
            bob.post("team", f"m{number}")
        await bob.flush()
    async with chatting(server, "alice") as alice:
        assert alice.open == "team"
        assert alice.lines[-1] == f"m{HISTORY_LINES + 4}"
        assert len(alice.lines) == HISTORY_LINES + 1

        await alice.enter("/history")
        assert alice.lines[:2] == ["made this group: bob, alice", "m0"]
        await alice.enter("/history")
        assert "this is where it begins" in alice.lines


async def test_reading_on_one_device_is_seen_on_another(server: Server) -> None:
    async with device(server, "bob") as bob:
        await bob.create("team", ["alice"])
        await bob.create("zoo", ["alice"])
        await bob.send("team", "one")
        await bob.send("zoo", "two")
        async with chatting(server, "alice", "phone") as phone:
            team = phone.chat.rooms.room("team")
            assert (phone.open, team.unread) == ("zoo", 1)
            async with chatting(server, "alice", "laptop") as laptop:
                assert laptop.chat.rooms.room("zoo").unread == 0
                await laptop.enter("/open team")
                await phone.until(lambda: team.unread == 0)


async def test_new_messages_of_the_open_room_are_read_with_the_next_thing_typed(
    server: Server,
) -> None:
    async with device(server, "bob") as bob, chatting(server, "alice") as alice:
        await bob.create("team", ["alice"])
        await alice.enter("/open team")
        sent = await bob.send("team", "one")
        room = alice.chat.rooms.room("team")
        await alice.until(lambda: room.unread == 1)
        await alice.enter("/read")
        assert (room.unread, alice.me.read_mark("team")) == (0, sent.seq)


async def test_help_names_every_command(server: Server) -> None:
    async with chatting(server, "alice") as alice:
        await alice.enter("/help")
        for usage in HELP:
            assert any(usage in line for line in alice.lines)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/what", "no such command; /help lists them"),
        ("/open", "/open NAME, or /open @user"),
        ("/open @", "a name is 1 to 128 bytes"),
        ("/create", "/create NAME USER…"),
        ("/create a:b", "a name is 1 to 128 bytes"),
        ("/leave", "only groups have members"),
    ],
)
async def test_what_cannot_be_done_is_told(server: Server, line: str, told: str) -> None:
    async with chatting(server, "alice") as alice:
        await alice.enter("a note to myself", line)
        assert any(told in line for line in alice.lines)


async def test_a_conversation_of_others_is_not_shown(server: Server) -> None:
    async with device(server, "bob") as bob, chatting(server, "alice") as alice:
        await bob.create("secret")
        await alice.enter("/open secret", "/who")
        await alice.shows(*["you are not a member of this conversation"] * 2)


async def test_quit_ends_it(server: Server) -> None:
    async with chatting(server, "alice") as alice:
        assert not alice.chat.ended
        await alice.enter("/quit")
        assert alice.chat.ended


async def test_who_is_typing_is_shown_until_the_message_is_there(server: Server) -> None:
    async with chatting(server, "alice") as alice, chatting(server, "bob") as bob:
        await alice.enter("/create team bob", "hello")
        await bob.until(lambda: "team" in [room.label for room in bob.chat.rooms.listed()])
        await bob.enter("/open team")
        await alice.until(lambda: alice.chat.status == "live")
        alice.chat.typing()
        await bob.until(lambda: bob.chat.bar == "alice typing …")
        await alice.enter("there")
        await bob.until(lambda: "there" in bob.lines)
        assert bob.chat.bar == "live"


async def test_messages_are_edited_recalled_and_reacted_to(server: Server) -> None:
    async with chatting(server, "alice") as alice, chatting(server, "bob") as bob:
        await alice.enter("/create team bob", "hello", "oops")
        await alice.until(lambda: not alice.pending)
        await bob.until(lambda: any(one.name == "team" for one in bob.chat.rooms.listed()))
        await bob.enter("/open team")
        made = "made this group: alice, bob"
        await bob.shows(made, "hello", "oops")
        await alice.enter("/recall", "/edit hello, bob", "/edit")
        await bob.shows(made, "hello, bob (edited)", "(removed)")
        await bob.enter("/react 👍", "/react")
        await alice.shows(made, "hello, bob (edited) 👍1", "(removed)")
        await bob.enter("/react 👍")
        await alice.shows(made, "hello, bob (edited)", "(removed)")
        await bob.enter("/recall")
        assert bob.lines[-1].endswith("there is no such message here")
