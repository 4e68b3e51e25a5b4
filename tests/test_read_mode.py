"""A device that was away ends like one that never was, whatever the mode its messages came in.

A whole server and real devices.  While one device is away, messages are recalled, edited, hidden,
get reactions or come to their end, and members come and go; the mode changes meanwhile, or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from timewire.auth import mint
from timewire.backends.memory import MemoryStore as ServerMemory
from timewire.backends.rocksdb import RocksStore
from timewire.client import Client, MemoryStore, Received, connect
from timewire.client.store import Change, Owner
from timewire.epochs import ModeName, newest_mode
from timewire.model import Message
from timewire.parts import Store
from timewire.policy import Load
from timewire.protocol import Cursor
from timewire.server import Server
from timewire.testing.devices import eventually, raw_device
from timewire.testing.servers import serving

TEAM: Final = "team"
LIFE_MS: Final = 1500
MODES: Final[list[tuple[ModeName, ModeName, ModeName]]] = [
    ("write", "write", "write"),
    ("read", "read", "read"),
    ("write", "read", "write"),
    ("read", "write", "read"),
]


class Told:
    """A policy that does what the test says, to all conversations."""

    watch_members = 1
    pause_s = 0.01

    def __init__(self) -> None:
        self.mode: ModeName = "write"

    def choose(self, load: Load) -> ModeName:
        return self.mode


class Device:
    """A device, and all that it was ever shown."""

    def __init__(self, client: Client, store: MemoryStore) -> None:
        self.client = client
        self.store = store
        self.shown: list[Message] = []

    async def watch(self) -> None:
        async for event in self.client.events():
            if isinstance(event, Received):
                self.shown.append(event.message)

    async def reach(self, seq: int, conversation: str = TEAM) -> None:
        """Wait until it has a message, and so all before it."""
        await self.client.caught_up()
        await eventually(lambda: self.store.last(conversation) >= seq)

    def kept(self, conversation: str = TEAM) -> list[Message]:
        return self.client.kept(conversation, limit=1000)

    async def history(self) -> list[Message]:
        return [message async for message in self.client.scroll(TEAM)]

    async def found(self, word: str, upto: int) -> list[str]:
        """The texts that a search finds, oldest first."""
        page = await self.client.search(word, order="oldest", limit=100, wait_for=upto)
        return [hit.message.body["text"] for hit in page.hits]


class World:
    """A server, its devices, and the words of the system about them."""

    def __init__(self, server: Server, store: Store, policy: Told, stack: AsyncExitStack) -> None:
        self.server = server
        self._store = store
        self._policy = policy
        self._stack = stack

    async def device(self, user: str, name: str, store: MemoryStore | None = None) -> Device:
        """Another device, which stays until the end."""
        visit = self.visit(user, name, store or MemoryStore())
        return await self._stack.enter_async_context(visit)

    async def newcomers(self, user: str) -> list[Device]:
        """Devices with nothing: one reads all pages from the log's beginning, one is rebuilt."""
        base = await self._base(user)
        cursors = {"replayed": Cursor(base, "0"), "rebuilt": Cursor("garbage", "0")}
        devices: list[Device] = []
        for name, cursor in cursors.items():
            store = MemoryStore()
            store.apply(Change(owner=Owner(user, name), cursor=cursor))
            devices.append(await self.device(user, name, store))
        return devices

    @asynccontextmanager
    async def visit(self, user: str, name: str, store: MemoryStore) -> AsyncGenerator[Device]:
        """A device that goes again, and comes back with its store."""
        token = mint(self.server.keys.secret, user)
        async with connect(self.server.url, token, device=name, store=store) as client:
            device = Device(client, store)
            watching = asyncio.create_task(device.watch())
            try:
                yield device
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)

    async def turn(self, mode: ModeName) -> None:
        """Return when the team has this mode."""
        self._policy.mode = mode
        await eventually(lambda: self._mode() == mode)

    def _mode(self) -> ModeName | None:
        conversation = self._store.directory.known(TEAM)
        return conversation and newest_mode(conversation.epochs)

    async def raw_pages(self, user: str, after: int) -> str:
        """All that the server says to a device that comes with a cursor, as text.

        No message is in it twice.
        """
        cursor = {"base": await self._base(user), "pos": str(after)}
        async with raw_device(self.server.url) as raw:
            await raw.hello(mint(self.server.keys.secret, user), "bare", cursor=cursor)
            frames = await raw.until("live")
        seqs = [message["seq"] for frame in frames for message in frame.get("messages", ())]
        assert seqs
        assert seqs == sorted(set(seqs))
        return msgspec.json.encode(frames).decode()

    async def _base(self, user: str) -> str:
        async with raw_device(self.server.url) as raw:
            return (await raw.hello(mint(self.server.keys.secret, user), "bare"))["base"]


@pytest.fixture(params=["memory", "rocksdb"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[World]:
    data = tmp_path / "data"
    data.mkdir()
    store = ServerMemory() if request.param == "memory" else await RocksStore.open(data)
    policy = Told()
    async with serving(data, store, policy=policy) as server, AsyncExitStack() as stack:
        yield World(server, store, policy, stack)


def texts(messages: Iterable[Message]) -> list[str]:
    """What messages say, oldest first, without what the server says."""
    said = sorted((one for one in messages if one.kind == "text"), key=lambda one: one.seq)
    return [one.body["text"] for one in said]


def all_of(messages: Iterable[Message]) -> str:
    return msgspec.json.encode(list(messages)).decode()


@pytest.mark.parametrize("modes", MODES, ids="-".join)
async def test_who_was_away_ends_like_who_was_not(
    modes: tuple[ModeName, ModeName, ModeName], world: World
) -> None:
    alice, tablet = await world.device("alice", "laptop"), await world.device("bob", "tablet")
    carol, dave = await world.device("carol", "phone"), await world.device("dave", "phone")
    for device in (alice, tablet, carol, dave):
        await device.client.caught_up()
    me, kept_by_phone = alice.client, MemoryStore()
    async with world.visit("bob", "phone", kept_by_phone) as phone:
        await phone.client.caught_up()
        await me.create(TEAM, ["bob", "carol", "dave"])
        await world.turn(modes[0])
        draft = await me.send(TEAM, "word draft")
        old_secret = await carol.client.send(TEAM, "word secret of old")
        liked = await dave.client.send(TEAM, "word liked")
        disliked = await me.send(TEAM, "word hidden of old")
        await phone.reach(disliked.seq)
        assert phone.kept() == await tablet.history()
    await tablet.client.mark_read(TEAM, disliked.seq)

    await world.turn(modes[1])
    new_secret = await me.send(TEAM, "word secret of new", mentions=["bob"])
    await me.recall(TEAM, new_secret.seq)
    await carol.client.recall(TEAM, old_secret.seq)
    await me.edit(TEAM, draft.seq, "word final")
    await carol.client.react(TEAM, liked.seq, "👍")
    await tablet.client.react(TEAM, liked.seq, "👎")
    await tablet.client.send(TEAM, "word of bob himself")
    hello = await me.send(TEAM, "word hello", mentions=["bob"])
    dies = int(time.time() * 1000) + LIFE_MS
    brief = await dave.client.send(TEAM, "word brief", mentions=["*"], expires=dies)
    await me.edit(TEAM, hello.seq, "word hello again")
    long_lived = await dave.client.send(TEAM, "word long", expires=dies + 3_600_000)
    also_hidden = await dave.client.send(TEAM, "word hidden of new", mentions=["bob"])
    await tablet.client.hide(TEAM, disliked.seq)
    await tablet.client.hide(TEAM, also_hidden.seq)
    left = await carol.client.leave(TEAM)

    await world.turn(modes[2])
    await me.edit(TEAM, hello.seq, "word hello for the last time")
    await dave.client.react(TEAM, long_lived.seq, "👍")
    taken_back = await dave.client.send(TEAM, "word plan", mentions=["bob"])
    await dave.client.edit(TEAM, taken_back.seq, "word secret plan")
    await dave.client.recall(TEAM, taken_back.seq)
    joined = await me.add(TEAM, ["eve"])
    await me.send(TEAM, "word everyone", mentions=["*"])
    await me.react(TEAM, liked.seq, "👍")
    await me.pin(TEAM, hello.seq)
    last_hidden = await tablet.client.hide(TEAM, old_secret.seq)
    last = await dave.client.send(TEAM, "word last")
    await eventually(lambda: time.time() * 1000 > dies)

    for device in (tablet, alice, dave):
        await device.reach(last.seq)
    await tablet.reach(last_hidden.seq, "self:bob")
    pages = await world.raw_pages("bob", disliked.seq)
    newcomers = await world.newcomers("bob")
    async with world.visit("bob", "phone", kept_by_phone) as phone:
        for device in (phone, *newcomers):
            await device.reach(last.seq)
            await device.reach(last_hidden.seq, "self:bob")
            assert device.kept() == tablet.kept()
            assert device.kept("self:bob") == tablet.kept("self:bob")
        assert tablet.kept() == await tablet.history()
        said = [
            "word final",
            "word liked",
            "word of bob himself",
            "word hello for the last time",
            "word long",
            "word everyone",
            "word last",
        ]
        assert texts(phone.kept()) == said
        [now_liked] = [one for one in phone.kept() if one.seq == liked.seq]
        assert now_liked.reactions == {"👍": ["alice", "carol"], "👎": ["bob"]}
        bare = {one.seq for one in phone.kept() if not one.kind}
        assert {new_secret.seq, brief.seq, taken_back.seq} <= bare

        # What was taken back is nowhere.
        for device in (alice, dave, tablet, phone, *newcomers):
            assert "secret" not in all_of(await device.history())
            assert "secret" not in all_of(device.kept())
            assert await device.found("secret", last.seq) == []
        shown = pages + all_of(one for device in (phone, *newcomers) for one in device.shown)
        assert "secret" not in shown
        assert "brief" not in shown

        # Counts, and what is found.
        for device in (phone, tablet, *newcomers):
            [team] = [one for one in await device.client.conversations() if one.name == TEAM]
            assert (team.unread, team.mentioned, team.pins) == (4, 2, [hello.seq])
            assert team.read == device.client.read_mark(TEAM) == disliked.seq
            assert await device.found("word", last.seq) == said

    await _check_who_left(world, carol, left.seq, last.seq)
    await _check_who_joined(world, joined.seq, last.seq)


async def _check_who_left(world: World, carol: Device, left: int, last: int) -> None:
    """Nothing from after leaving, on no device and in no way."""
    newcomers = await world.newcomers("carol")
    pages = await world.raw_pages("carol", 0)
    for device in (carol, *newcomers):
        await device.reach(left)
        assert max(one.seq for one in device.kept()) == left
        assert all(one.seq <= left for one in await device.history())
        assert "for the last time" not in all_of(device.shown) + all_of(await device.history())
        assert "last" not in all_of(device.kept())
        assert await device.found("last", last) == []
        assert await device.found("everyone", last) == []
        assert "word liked" in await device.found("word", last)
        if device is not carol:
            assert "secret" not in all_of(device.shown) + all_of(await device.history())
    assert "word everyone" not in pages
    assert "last" not in pages
    assert "secret" not in pages
    [team] = [one for one in await carol.client.conversations() if one.name == TEAM]
    assert not team.member
    assert team.last is not None
    assert team.last.seq == left


async def _check_who_joined(world: World, joined: int, last: int) -> None:
    """Nothing from before joining, and all from then on."""
    pages = await world.raw_pages("eve", 0)
    for eve in await world.newcomers("eve"):
        await eve.reach(last)
        assert min(one.seq for one in eve.kept()) == joined
        assert eve.kept() == await eve.history()
        assert texts(eve.kept()) == ["word everyone", "word last"]
        assert await eve.found("word", last) == ["word everyone", "word last"]
        for word in ("secret", "brief", "hidden", "hello", "liked", "final"):
            assert word not in pages + all_of(eve.shown)
        [team] = [one for one in await eve.client.conversations() if one.name == TEAM]
        assert (team.unread, team.mentioned) == (2, 1)
