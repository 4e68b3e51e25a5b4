"""Live comments ("danmaku") on the Timeline library alone: one timeline a broadcast.  No server.

    python examples/timeline_live_comments.py [DIRECTORY]

Comments need not survive a power failure, so they are appended without waiting for the disk; and
only the newest are kept.  Each viewer pulls with a cursor of its own, at its own pace.
"""

import asyncio
import sys
import tempfile

import timewire
from timewire.timeline import TimelineStore

KEPT_COMMENTS = 100
BROADCAST = "comments:launch"


async def comment(store: TimelineStore, number: int) -> None:
    await store.append(BROADCAST, f"comment {number}".encode(), durable=False)


async def keep_newest(store: TimelineStore, count: int) -> None:
    """Forget everything but the newest comments.  Only ever the oldest end goes."""
    newest = await store.scan_back(BROADCAST, limit=count)
    if newest.has_more:
        await store.trim(BROADCAST, newest.entries[-1].seq)


async def watch(store: TimelineStore, name: str, page: int) -> str:
    """Pull everything there is, a page at a time; says how many were seen and missed."""
    cursor, seen, missed = 0, 0, False
    while True:
        missed = missed or cursor + 1 < await store.floor(BROADCAST)
        found = await store.scan(BROADCAST, after=cursor, limit=page)
        seen += len(found.entries)
        if found.entries:
            cursor = found.entries[-1].seq
        if not found.has_more:
            return f"{name}: {seen} comments, up to {cursor}, older ones gone: {missed}"


async def main(directory: str) -> None:
    async with timewire.open(directory) as store:
        for number in range(1, 81):
            await comment(store, number)
        print(await watch(store, "early viewer", page=7))
        for number in range(81, 251):
            await comment(store, number)
        await keep_newest(store, KEPT_COMMENTS)
        print(await watch(store, "late viewer", page=30))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(main(directory))
