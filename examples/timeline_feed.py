"""A feed on the Timeline library alone: posts, followers, home timelines.  No server.

    python examples/timeline_feed.py [DIRECTORY]

A post is appended once to its author's timeline, and as a reference to the home timeline of every
follower (write fan-out).  Reading home is one backward scan, however many one follows.
"""

import asyncio
import json
import sys
import tempfile

import timewire
from timewire.timeline import Append, TimelineStore

FOLLOWERS = {"ada": ["bob", "cleo"], "bob": ["cleo"], "cleo": ["ada", "bob"]}


class Feed:
    """Posts and homes in one store of timelines."""

    def __init__(self, store: TimelineStore) -> None:
        self.store = store

    async def post(self, author: str, text: str, id: str) -> int:
        """Publish; safe to repeat with the same id."""
        payload = json.dumps({"author": author, "text": text}).encode()
        seq = await self.store.append(f"posts:{author}", payload, key=id.encode())
        reference = json.dumps({"posts": author, "seq": seq}).encode()
        homes = [f"home:{user}" for user in (author, *FOLLOWERS[author])]
        await self.store.append_many([Append(home, reference, key=id.encode()) for home in homes])
        return seq

    async def home(self, user: str, before: int | None = None, limit: int = 10) -> list[str]:
        """The newest posts of everyone the user follows, newest first."""
        page = await self.store.scan_back(f"home:{user}", before=before, limit=limit)
        lines: list[str] = []
        for entry in page.entries:
            place = json.loads(entry.payload)
            post = await self.store.get(f"posts:{place['posts']}", place["seq"])
            if post is not None and not post.redacted:
                lines.append("{author}: {text}".format(**json.loads(post.payload)))
        return lines


async def main(directory: str) -> None:
    async with timewire.open(directory) as store:
        feed = Feed(store)
        await feed.post("ada", "The engine weaves algebraic patterns.", "ada-1")
        mistake = await feed.post("bob", "First!", "bob-1")
        await feed.post("cleo", "Hello from Alexandria.", "cleo-1")
        await feed.post("ada", "The engine weaves algebraic patterns.", "ada-1")  # a retry
        print("bob's home: ", *await feed.home("bob"), sep="\n  ")
        await feed.store.redact("posts:bob", mistake)  # taken back: gone from every home
        print("cleo's home:", *await feed.home("cleo"), sep="\n  ")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(main(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(main(directory))
