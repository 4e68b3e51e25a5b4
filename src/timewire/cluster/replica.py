"""What a gateway reads from and writes to: a view, whose log is written by the leader."""

from __future__ import annotations

from asyncio import Future
from collections.abc import AsyncIterator, Sequence
from typing import Final

from timewire.backends.jetstream import View
from timewire.cluster.forwarder import Forwarder
from timewire.errors import TimewireError
from timewire.model import Draft, Receipt, Ref, Seq, Stored


class ReplicaLog:
    """A ``MessageLog``: reads are the view's, appends go to the leader.

    Nothing is staged here: the directory shows a change once it is durable.
    """

    def __init__(self, view: View, forwarder: Forwarder) -> None:
        self._log = view.store.log
        self._forwarder = forwarder

    @property
    def epoch(self) -> str:
        return self._log.epoch

    @property
    def head(self) -> Seq:
        return self._log.head

    @property
    def writable(self) -> bool:
        return self._log.writable and self._forwarder.leader_answers

    def append(self, drafts: Sequence[Draft]) -> Future[list[Receipt | TimewireError]]:
        return self._forwarder.append(drafts)

    async def peek(self, conversation: str, seq: Seq) -> Stored | None:
        return await self._log.peek(conversation, seq)

    async def sweep(self, now: int) -> int:
        return await self._log.sweep(now)

    async def find(self, draft: Draft) -> Receipt | TimewireError | None:
        return await self._log.find(draft)

    async def fetch(self, refs: Sequence[Ref]) -> list[Stored]:
        return await self._log.fetch(refs)

    async def read(self, after: Seq, limit: int = 1000) -> list[Stored]:
        return await self._log.read(after, limit)

    def tail(self, after: Seq) -> AsyncIterator[Sequence[Stored]]:
        return self._log.tail(after)

    async def aclose(self) -> None:
        await self._log.aclose()


class Replica:
    """All stores of a gateway.  Closing it closes the view."""

    def __init__(self, view: View, forwarder: Forwarder) -> None:
        store = view.store
        self._view = view
        self.log: Final = ReplicaLog(view, forwarder)
        self.messages: Final = store.messages
        self.directory: Final = store.directory
        self.media: Final = store.media
        self.inbox: Final = store.inbox
        self.checkpoint: Final = store.checkpoint

    async def aclose(self) -> None:
        """Release the view's directory."""
        await self._view.aclose()
