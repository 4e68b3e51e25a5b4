"""A feed: channels that people follow, and a home timeline of all of them.

    python examples/feed/run.py --followers 120

Posts of small channels are written into their followers' inboxes; those of very large ones are read
when somebody looks. A follower notices nothing: home is one list, in the order of posting.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import aiohttp

import timewire
from timewire.client import Client, Live, Received
from timewire.errors import Forbidden
from timewire.testing.servers import ServerProcess, running_server

LARGE = 100
"""Followers from which a channel is read, not written."""


async def home(server: ServerProcess, user: str, store: Path) -> list[str]:
    """Come back after a while: everything new of all the channels that one follows."""
    posts: list[str] = []
    device = timewire.connect(server.url, server.token(user), device="phone", store=store)
    async with device as me:
        async for event in me.events():
            if isinstance(event, Received) and event.message.kind == "text":
                posts.append(f"{event.message.conversation}: {event.message.body['text']}")
            elif isinstance(event, Live):
                break
    return posts


async def follow(server: ServerProcess, user: str, store: Path, *channels: str) -> None:
    """Follow channels, and go away."""
    device = timewire.connect(server.url, server.token(user), device="phone", store=store)
    async with device as me:
        for channel in channels:
            await me.join(channel)
        await me.caught_up()


async def is_read(server: ServerProcess, channels: int) -> bool:
    """Whether so many channels have become large enough to be read."""
    async with aiohttp.ClientSession() as http, http.get(server.url + "/metrics") as answer:
        return f'timewire_mode_changes_total{{mode="read"}} {channels}.0' in await answer.text()


async def post(author: Client, channel: str, text: str) -> int:
    """Publish something."""
    return (await author.send(channel, text)).seq


async def publish(server: ServerProcess, ada: Client, followers: int, store: Path) -> None:
    for channel in ("engines", "poems", "world"):
        await ada.create(channel, kind="channel", history="all")
    await follow(server, "bob", store, "engines", "poems", "world")
    await ada.add("world", [f"reader{n}" for n in range(followers)])
    await post(ada, "world", "news one")
    while not await is_read(server, 1):  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0.1)
    mistake = await post(ada, "engines", "First!")
    await post(ada, "engines", "The engine weaves algebraic patterns.")
    await post(ada, "world", "news two")
    await post(ada, "poems", "Imagination is the discovering faculty.")
    await post(ada, "world", "news three")
    await ada.recall("engines", mistake)
    print("bob's home:", *await home(server, "bob", store), sep="\n  ")
    print("nothing new:", await home(server, "bob", store))
    bob = timewire.connect(server.url, server.token("bob"), device="phone", store=store)
    async with bob as me:
        try:
            await me.send("world", "me too")
        except Forbidden as refusal:
            print("a follower does not post:", refusal.code)
        [large] = [one for one in await me.conversations() if one.name == "world"]
        print("unread in the large channel:", large.unread)
        await me.leave("world")
    await post(ada, "world", "news four")
    await post(ada, "poems", "Again.")
    print("after leaving the large one:", *await home(server, "bob", store), sep="\n  ")


async def main(followers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="timewire-feed-") as directory:
        settings = {"write_members_max": LARGE, "fanout_dwell_s": 0}
        async with running_server(Path(directory, "data"), **settings) as server:
            connecting = timewire.connect(server.url, server.token("ada"), device="desk")
            async with connecting as ada:
                await publish(server, ada, followers, Path(directory, "bob.db"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Channels, followers, home timelines.")
    parser.add_argument("--followers", type=int, default=120)
    given = parser.parse_args()
    if given.followers < LARGE:
        parser.error(f"a large channel has {LARGE} followers")
    asyncio.run(main(given.followers))
