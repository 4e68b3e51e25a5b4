"""A log that can be written to, the indexer behind it, and searches in what it has indexed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from timewire.asking import Search
from timewire.backends.memory import MemoryIndex, MemoryStore
from timewire.backends.tantivy import TantivyIndex
from timewire.errors import Retryable, TimewireError
from timewire.index import SearchIndex
from timewire.model import (
    Change,
    Created,
    Draft,
    Edited,
    Members,
    Recalled,
    Receipt,
    Seq,
    Window,
    decode_message,
    encode_change,
    encode_stored,
)
from timewire.protocol import SearchPage
from timewire.search import Indexer, Scopes, Searcher

PATIENCE = 12
"""How often the index is waited for, each time as long as a search does."""


class Desk:
    """Everything between a message and its being found."""

    def __init__(self, index: SearchIndex, store: MemoryStore | None = None) -> None:
        self.now = 1000
        self.index = index
        self.store = store or MemoryStore(lambda: self.now)
        self.scopes = Scopes(self.store.directory)
        self.indexer = Indexer(self.store.log, self.scopes, index, lambda: self.now)
        self.searcher = Searcher(index, self.indexer, self.scopes, self.store.log, lambda: self.now)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Desk"]:
        """The indexer at work."""
        task = asyncio.create_task(self.indexer.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.index.aclose()

    async def windows(self, user: str, conversation: str) -> list[Window]:
        """Which messages of a conversation a user may read."""
        found = await self.store.directory.conversation(conversation)
        return found.readable(user) if found and user in found.windows else []

    # -- writing --------------------------------------------------------------------------------

    async def append(self, *drafts: Draft) -> Seq:
        last = (await self.store.log.append(drafts))[-1]
        assert isinstance(last, Receipt)
        return last.seq

    async def change(self, name: str, change: Change, sender: str = "alice") -> Seq:
        return await self.append(Draft(name, sender, "", encode_change(sender, "", change), change))

    async def group(self, name: str, *members: str) -> Seq:
        return await self.change(name, Created("group", list(members)), members[0])

    async def join(self, name: str, *users: str) -> Seq:
        return await self.change(name, Members(joined=list(users)))

    async def leave(self, name: str, *users: str) -> Seq:
        return await self.change(name, Members(left=list(users)))

    async def say(
        self,
        text: str = "",
        where: str = "team",
        sender: str = "alice",
        kind: str = "text",
        **body: Any,
    ) -> Seq:
        content = ({"text": text} if text else {}) | body
        return await self.append(Draft(where, sender, "", encode_stored(sender, "", kind, content)))

    async def say_all(self, texts: Sequence[str], name: str = "team") -> Seq:
        drafts = [
            Draft(name, "alice", "", encode_stored("alice", "", "text", {"text": text}))
            for text in texts
        ]
        for start in range(0, len(drafts), 1000):
            last = await self.append(*drafts[start : start + 1000])
        return last

    async def revise(self, seq: Seq, text: str | None, name: str = "team") -> Seq:
        """Say something else in place of an earlier message, or nothing (None), and announce it."""
        change = Recalled(seq) if text is None else Edited(seq, {"text": text})
        return await self.change(name, change)

    async def rewrite(self, seq: Seq, text: str | None, name: str = "team") -> None:
        """Change what the message store holds, and tell nobody."""
        if text is None:
            await self.store.messages.redact(name, seq)
            return
        timeline = self.store.messages._timelines[name]  # pyright: ignore
        payload = encode_stored("alice", "", "text", {"text": text})
        place = [entry.seq for entry in timeline.entries].index(seq)
        timeline.entries[place] = type(timeline.entries[place])(name, seq, self.now, payload)

    # -- searching ------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Have everything indexed, however busy the machine is."""
        for _ in range(PATIENCE):
            with suppress(Retryable):
                return await self.indexer.reached(self.store.log.head)
        raise AssertionError(self.indexer.progress())

    async def page(self, user: str = "alice", text: str = "", **query: Any) -> SearchPage:
        return await self.searcher.answer(user, Search("s", text, **query))

    async def find(self, user: str = "alice", text: str = "", **query: Any) -> list[Seq]:
        """The SeqIds of everything that is found, by pages of three, oldest first."""
        found: list[Seq] = []
        query = {"order": "oldest", "limit": 3, **query}
        page = ""
        while True:
            answer = await self.page(user, text, **query, page=page)
            assert len(answer.hits) <= query["limit"]
            found += [decode_message(hit.message).seq for hit in answer.hits]
            if not (page := answer.next):
                return found

    async def refused(self, user: str = "alice", text: str = "", **query: Any) -> TimewireError:
        with pytest.raises(TimewireError) as caught:
            await self.page(user, text, **query)
        return caught.value


@pytest.fixture(params=["memory", "tantivy"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk at work, on either index."""
    memory = request.param == "memory"
    index = MemoryIndex() if memory else await TantivyIndex.open(tmp_path / "index")
    async with Desk(index).running() as desk:
        yield desk
