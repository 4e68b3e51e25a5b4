"""Live comments over a broadcast ("danmaku"): a room, its viewers, and more said than can be read.

    python examples/danmaku/run.py --viewers 40 --comments 400

Anybody comes in and goes. A comment is pushed to who is there; it comes into no inbox, and who
comes back later is not told. When more is said than people can read, everybody sees the same part
of it, and history has all. What the host takes back is gone for everybody.
"""

import argparse
import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import timewire
from timewire.client import Client, Received
from timewire.errors import Forbidden
from timewire.testing.servers import ServerProcess, running_server

ROOM = "launch"
COMMENTERS = 8
SHOWN_A_SECOND = 20


async def watch(viewer: Client) -> dict[int, str]:
    """What a viewer sees until the broadcast is over: SeqId -> comment."""
    seen: dict[int, str] = {}
    async for event in viewer.events():
        if not isinstance(event, Received) or event.message.conversation != ROOM:
            continue
        message = event.message
        if message.kind == "text":
            seen[message.seq] = message.body["text"]
        elif message.kind == "recalled":
            seen.pop(message.body["seq"], None)
        elif message.kind == "updated":
            return seen
    return seen


async def comment(viewer: Client, count: int) -> None:
    """Say something, again and again, as fast as it goes."""
    for number in range(count):
        await viewer.send(ROOM, f"{viewer.user} says {number}")


async def comments_of(viewer: Client) -> int:
    """How many comments history has for somebody."""
    found, after, more = 0, 0, True
    while more:
        page = await viewer.history(ROOM, after=after)
        found += sum(message.kind == "text" for message in page.messages)
        after, more = page.messages[-1].seq if page.messages else after, page.has_more
    return found


async def come(server: ServerProcess, stack: AsyncExitStack, user: str) -> Client:
    """Connect, and come into the room."""
    device = timewire.connect(server.url, server.token(user), device="tv")
    viewer = await stack.enter_async_context(device)
    await viewer.join(ROOM)
    return viewer


async def broadcast(server: ServerProcess, viewers: int, comments: int) -> None:
    async with AsyncExitStack() as stack:
        connecting = timewire.connect(server.url, server.token("host"), device="studio")
        host = await stack.enter_async_context(connecting)
        await host.create(ROOM, kind="room", title="The launch")
        crowd = [await come(server, stack, f"viewer{n}") for n in range(viewers)]
        loud = [await come(server, stack, f"loud{n}") for n in range(COMMENTERS)]
        watching = [asyncio.create_task(watch(viewer)) for viewer in crowd]
        # Early enough to be shown to everybody.
        rude = await loud[0].send(ROOM, "something rude")
        await asyncio.gather(*(comment(viewer, comments // COMMENTERS) for viewer in loud))
        await host.recall(ROOM, rude.seq)
        await host.update(ROOM, title="The launch is over")
        seen = await asyncio.gather(*watching)

        said = await comments_of(host)
        print(f"{viewers} viewers, {said} comments, {SHOWN_A_SECOND} a second are shown")
        print(f"everybody has seen the same: {all(one == seen[0] for one in seen)}")
        print(f"seen {len(seen[0])}")
        print(f"what was taken back is shown by nobody: {all(rude.seq not in one for one in seen)}")
        late = await come(server, stack, "late")
        await late.caught_up()
        print(f"who comes late may read from now on: {await comments_of(late)}")
        await crowd[0].leave(ROOM)
        try:
            await crowd[0].send(ROOM, "one more thing")
        except Forbidden as refusal:
            print(f"who has left says nothing: {refusal.code}")


async def main(viewers: int, comments: int) -> None:
    with tempfile.TemporaryDirectory(prefix="timewire-danmaku-") as directory:
        settings = {"room_messages_per_second": SHOWN_A_SECOND}
        async with running_server(Path(directory, "data"), **settings) as server:
            await broadcast(server, viewers, comments)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Live comments in a room.")
    parser.add_argument("--viewers", type=int, default=40)
    parser.add_argument("--comments", type=int, default=400)
    given = parser.parse_args()
    asyncio.run(main(given.viewers, given.comments))
