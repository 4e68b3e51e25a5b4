"""A log with something of everything in it, and what each user sees of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

from rocksdict import Cache

from timewire.backends.rocksdb.database import DIRECTORY, EXPIRING, LOG, MESSAGES, open_readonly
from timewire.client import Client, connect
from timewire.clock import wall_clock
from timewire.errors import TimewireError

USERS = ("alice", "bob", "carol", "dave")
PICTURE = b"\x00 a picture, or so " * 40_000
SOON_MS = 300


class Place(Protocol):
    @property
    def url(self) -> str: ...


Token = Callable[[str], str]


def device(place: Place, token: Token, user: str, name: str = "phone", **more: Any) -> Client:
    return connect(place.url, token(user), device=name, **more)


async def live(place: Place, token: Token) -> dict[str, int]:
    """Do a little of everything; the SeqIds of some messages."""
    async with AsyncExitStack() as stack:
        alice, bob, carol, dave = [
            await stack.enter_async_context(device(place, token, user)) for user in USERS
        ]
        await alice.create("team", ["bob", "carol"], title="Team", mention_all="admins")
        said = [(await alice.send("team", f"line {n}", id=f"a{n}")).seq for n in range(12)]
        edited = await bob.send("team", "frist", id="edited")
        await bob.edit("team", edited.seq, "first")
        await bob.edit("team", edited.seq, "first!")
        recalled = await carol.send("team", "a secret", id="recalled")
        await carol.edit("team", recalled.seq, "a secret, still")
        await carol.recall("team", recalled.seq)
        for me, emoji in ((bob, "👍"), (carol, "👍"), (carol, "🎉")):
            await me.react("team", said[0], emoji)
        await bob.react("team", said[0], "👍", on=False)
        await alice.pin("team", said[1])
        await alice.role("team", "bob", "admin")
        await carol.hide("team", said[2])
        await bob.mark_read("team", said[5])
        await carol.mark_read("team", said[9])
        await bob.send("team", "look", mentions=["alice"], reply=said[3])
        photo = await alice.upload(PICTURE)
        empty = await alice.upload(b"")
        await alice.send("team", {"media": photo.media, "name": "p"}, kind="file")
        await alice.send("team", {"media": empty.media, "name": "e"}, kind="file")
        await dave.send("direct:alice:dave", "hello")
        await alice.block("dave")
        await alice.show_presence("nobody")
        await alice.create("club", ["dave", "bob"], history="all")
        await dave.send("club", "I was here")
        await dave.leave("club")
        await alice.send("club", "he is gone")
        await alice.add("club", ["carol"])
        await alice.ban("club", ["dave"])
        await alice.mute("club", "bob", wall_clock() + 10**9)
        await alice.create("hall", [], kind="room")
        await bob.join("hall")
        await bob.send("hall", "live!")
        expires = wall_clock() + SOON_MS
        gone = await alice.send("team", "soon gone", expires=expires, id="expiring")
        await asyncio.sleep(SOON_MS / 1000 + 1.5)  # it is swept by then
        await alice.send("team", "the end", ack="synced")
    return {"edited": edited.seq, "recalled": recalled.seq, "gone": gone.seq, "first": said[0]}


async def seen(place: Place, token: Token) -> dict[Any, Any]:
    """Everything that every user can find out."""
    found: dict[Any, Any] = {}
    for user in USERS:
        async with device(place, token, user, "looking") as me:
            mine = await me.conversations()
            found[user] = mine
            for one in mine:
                messages = [message async for message in me.scroll(one.name)]
                found[user, one.name] = messages
                found[user, one.name, "media"] = [
                    await me.download(message.body["media"])
                    for message in messages
                    if message.kind == "file"
                ]
                if one.member:
                    found[user, one.name, "members"] = await me.roster(one.name)
                for message in messages[-3:]:
                    try:
                        readers = await me.read_by(one.name, message.seq)
                    except TimewireError as refusal:
                        readers = [refusal.code]
                    found[user, one.name, message.seq] = readers
    return found


def stored(path: Path) -> dict[str, Any]:
    """What a data directory holds of messages, members and ids, byte by byte."""
    database = open_readonly(path, Cache(1 << 20))
    try:
        keys = [name for name in database.names() if name.startswith("keys.")]
        found: dict[str, Any] = {
            name: dict(database[name].forward(b"", b"\xff" * 9))
            for name in (MESSAGES, DIRECTORY, EXPIRING, *keys)
        }
        found["newest"] = next(database[LOG].backward(b"\0" * 8, b"\x7f" + b"\xff" * 7), None)
    finally:
        database.close()
    # When a device was there last is not in the log.
    directory = found[DIRECTORY]
    found[DIRECTORY] = {key: value for key, value in directory.items() if key[:1] != b"d"}
    found["newest"] = found["newest"] and found["newest"][0]
    return found
