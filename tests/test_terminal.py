import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.formatted_text import fragment_list_to_text
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from timewire import client
from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.errors import Forbidden
from timewire.model import Message
from timewire.rooms import Rooms
from timewire.server import Server
from timewire.terminal import MAX_LINES_DRAWN, SIDEBAR_COLUMNS, Screen, messages, sidebar, title
from timewire.testing.servers import serving

PATIENCE_S = 20
PAGE_UP, PAGE_DOWN = "\x1b[5~", "\x1b[6~"
CTRL_D, CTRL_N, CTRL_P = "\x04", "\x0e", "\x10"


def filled(*names: str) -> Rooms:
    rooms = Rooms("alice")
    for seq, name in enumerate(names, 1):
        body = {"text": f"m{seq}"}
        rooms.receive(Message(name, seq, 1_800_000_000_000 + seq, "bob", "", "text", body))
    return rooms


# What is drawn -----------------------------------------------------------------------------------


def test_the_list_shows_what_is_unread_and_which_is_open() -> None:
    rooms = filled("team", "direct:alice:bob", "team", "x" * 100)
    rooms.open = rooms.room("team")
    shown = sidebar(rooms)
    text = fragment_list_to_text(shown).splitlines()

    assert [line.split() for line in text] == [["x" * 20, "1"], ["team", "2"], ["@bob", "1"]]
    assert {len(line) for line in text} == {SIDEBAR_COLUMNS}
    assert [part[0] for part in shown] == ["class:unread", "class:open", "class:unread"]


def test_messages_come_with_their_time_and_their_state() -> None:
    rooms = filled("team")
    rooms.open = rooms.room("team")
    rooms.receive(
        Message("team", 2, 1_800_000_000_002, "bob", "", "members", {"joined": ["carol"]})
    )
    rooms.sending("team", "a", "on its way", 1_800_000_000_003)
    rooms.sending("team", "b", "stored", 1_800_000_000_003)
    rooms.acked("team", "b", 3, 1_800_000_000_003)
    rooms.sending("team", "c", "no", 1_800_000_000_003)
    rooms.refused("team", "c", "why")
    rooms.note("only here", 1_800_000_000_004)
    day, *lines = fragment_list_to_text(messages(rooms)).splitlines()
    time = f"{datetime.fromtimestamp(1_800_000_000).astimezone():%H:%M}"

    assert "2027" in day
    assert lines == [
        f"{time} bob m1",
        f"{time} bob added carol",
        f"{time} alice stored ✓",
        f"{time} alice no  (why) ✗",
        "only here",
        f"{time} alice on its way …",
    ]


def test_scrolled_back_the_newest_are_left_out() -> None:
    rooms = filled(*["team"] * (MAX_LINES_DRAWN + 10))
    assert messages(rooms) == []
    rooms.open = rooms.room("team")
    newest = fragment_list_to_text(messages(rooms)).splitlines()
    back = fragment_list_to_text(messages(rooms, 3)).splitlines()

    assert len(newest) == len(back) == MAX_LINES_DRAWN + 1
    assert newest[-1].endswith(f"m{MAX_LINES_DRAWN + 10}")
    assert back[-1].endswith(f"m{MAX_LINES_DRAWN + 7}")


def test_the_bar_says_who_where_and_how() -> None:
    room = filled("team").room("team")
    room.title, room.member = "The team", False
    assert title(None, "connecting", "alice") == " alice · connecting      /help"
    assert title(room, "live", "alice") == " alice · live   team · The team · you have left   /help"


# What is typed -----------------------------------------------------------------------------------


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path / "data", MemoryStore()) as running:
        yield running


class Typist:
    """A screen of which one sees the state, and its keyboard."""

    def __init__(self, screen: Screen, keys: PipeInput, running: asyncio.Task[None]) -> None:
        self.rooms = screen.chat.rooms
        self.screen = screen
        self.running = running
        self.type = keys.send_text

    async def until(self, condition: Callable[[], bool], press: str = "") -> None:
        """Wait for a condition; ``press`` is a key to press again and again meanwhile."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.type(press)
                await asyncio.sleep(0.01)

    def text(self) -> str:
        return fragment_list_to_text(messages(self.rooms, self.screen.skipped))


@asynccontextmanager
async def screen_of(server: Server, user: str) -> AsyncIterator[Typist]:
    with create_pipe_input() as keys, create_app_session(keys, DummyOutput()):
        async with client.connect(
            server.url, mint(server.keys.secret, user), device="screen"
        ) as me:
            screen = Screen(me)
            running = asyncio.create_task(screen.run())
            typist = Typist(screen, keys, running)
            await typist.until(lambda: screen.chat.status == "live")
            try:
                yield typist
            finally:
                running.cancel()
                await asyncio.wait([running])


async def test_what_is_typed_is_sent_and_commands_are_done(server: Server) -> None:
    async with screen_of(server, "alice") as alice:
        alice.type("/create team bob\rhello all\r")
        await alice.until(lambda: "alice hello all ✓" in alice.text())
        alice.type("/quit\r")
        await asyncio.wait_for(alice.running, PATIENCE_S)


async def test_ctrl_d_ends_it(server: Server) -> None:
    async with screen_of(server, "alice") as alice:
        alice.type(CTRL_D)
        await asyncio.wait_for(alice.running, PATIENCE_S)


async def test_keys_go_through_the_conversations(server: Server) -> None:
    async with (
        client.connect(server.url, mint(server.keys.secret, "bob"), device="d") as bob,
        screen_of(server, "alice") as alice,
    ):
        await bob.create("one", ["alice"])
        await bob.create("two", ["alice"])
        await alice.until(lambda: {"one", "two"} <= {r.name for r in alice.rooms.listed()})
        names = [room.name for room in alice.rooms.listed()]
        here = names.index(alice.rooms.open.name if alice.rooms.open else "")

        def is_open(name: str) -> bool:
            return alice.rooms.open is not None and alice.rooms.open.name == name

        alice.type(CTRL_N)
        await alice.until(lambda: is_open(names[(here + 1) % 3]))
        alice.type(CTRL_P)
        await alice.until(lambda: is_open(names[here]))


async def test_page_up_goes_back_and_loads_more(server: Server) -> None:
    async with client.connect(server.url, mint(server.keys.secret, "bob"), device="d") as bob:
        await bob.create("team", ["alice"])
        for number in range(120):
            bob.post("team", f"m{number}")
        await bob.flush()
    async with screen_of(server, "alice") as alice:
        await alice.until(lambda: "m119" in alice.text())
        alice.type(PAGE_UP)
        await alice.until(lambda: "m119" not in alice.text())
        await alice.until(lambda: not alice.rooms.room("team").older, PAGE_UP)
        await alice.until(lambda: "m119" in alice.text(), PAGE_DOWN)
        assert "bob m0\n" in alice.text()


async def test_tab_completes_commands_and_names(server: Server) -> None:
    async with screen_of(server, "alice") as alice:
        alice.type("/cre\t")
        await alice.until(lambda: alice.screen.input.text == "/create")
        alice.type(" team\r")
        await alice.until(lambda: "made this group: alice" in alice.text())


async def test_what_ends_the_device_ends_the_screen_and_is_told(server: Server) -> None:
    async with screen_of(server, "alice") as alice:
        replaced = client.connect(server.url, mint(server.keys.secret, "alice"), device="screen")
        async with replaced:
            with pytest.raises(Forbidden) as caught:
                await asyncio.wait_for(alice.running, PATIENCE_S)
            assert caught.value.code == "replaced"
