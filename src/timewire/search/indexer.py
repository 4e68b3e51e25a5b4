"""The indexer: a consumer of the log that keeps the search index near it.

Its effect is a function of the log and the message store, and the index makes it durable together
with its position: what a crash takes back is done again, once in effect.  Cutting texts into words
and writing happen in threads, in small pieces with a rest after each, so that nothing waits for
it.  Under a load beyond its share the index falls behind, which can be seen, and catches up later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Final

import msgspec
import structlog

from timewire.clock import Clock, wall_clock
from timewire.errors import Retryable, error
from timewire.finding import Document
from timewire.index import SearchIndex
from timewire.log import MessageLog
from timewire.metrics import INDEX_DOCUMENTS, INDEX_LAG, INDEX_POSITION, INDEX_UNREADABLE
from timewire.model import Ref, Seq, Stored
from timewire.search.documents import audience_change, document, revised
from timewire.search.scopes import Scopes

PIECE_MESSAGES: Final = 100
"""Cut and staged without a rest between."""

REST: Final = 4.0
BUSY_REST: Final = 8.0
"""The rest after a piece, in times of what the piece has taken; longer while the server is busy."""

MAX_REST_S: Final = 0.1
"""A piece that took long because the machine is busy is no reason to rest for long."""

BUSY_S: Final = 0.004
"""When a rest ends so late, others have much to do."""

COMMIT_MESSAGES: Final = 10_000
"""Shown at once at the most; as many as the index may be behind before it saves on commits."""

GATHER_S: Final = 0.2
"""So long is waited for more, where nobody is in a hurry: showing one costs as much as hundreds."""

SHOW_S: Final = 0.4
"""After so long a message is shown, though more keep coming, where there is no backlog."""

EXPIRY_PAUSE_MS: Final = 60_000
RETRY_PAUSE_S: Final = 1.0
MAX_WAIT_S: Final = 10.0
"""How long a search waits for a SeqId."""

logger = structlog.get_logger("timewire.search")


class Progress(msgspec.Struct, frozen=True):
    """How far the search index has come: every message up to ``position`` can be found.

    ``head``: the newest durable message.  ``rebuilt``: how far the new index has come while there
    is one being made, else null.  ``rebuilds``: how many have been made since the server started.
    """

    position: Seq
    head: Seq
    rebuilt: Seq | None
    rebuilds: int


class Indexer:
    """Follows the log from where the index stands, for as long as ``run`` is running."""

    def __init__(
        self, log: MessageLog, scopes: Scopes, index: SearchIndex, clock: Clock = wall_clock
    ) -> None:
        self._clock = clock
        self._expired = 0
        self._log = log
        self._scopes = scopes
        self._index = index
        self._turn = asyncio.Lock()
        self._rebuild: asyncio.Task[None] | None = None
        self._fresh: SearchIndex | None = None
        self._rebuilds = 0
        self._moved = asyncio.Event()
        self._hurry = asyncio.Event()
        self._waiting = 0
        self._busy = False

    async def run(self) -> None:
        """Follow the log until it is closed.  While the index cannot be written, try again."""
        try:
            await self._begin()
            while True:
                try:
                    if await self._follow():
                        return
                except Retryable as fault:
                    logger.warning(
                        "the search index waits", code=fault.code, position=self.position
                    )
                    await asyncio.sleep(RETRY_PAUSE_S)
        finally:
            if self._rebuild is not None:
                self._rebuild.cancel()
                await asyncio.wait([self._rebuild])

    @property
    def position(self) -> Seq:
        """Every message up to this one can be found; 0 while the index is of another log."""
        index, log = self._index, self._log
        known = index.epoch == log.epoch and index.position <= log.head
        return index.position if known else 0

    def progress(self) -> Progress:
        """How far the index has come, and one that is being made anew."""
        rebuilt = None
        if self._rebuild is not None and not self._rebuild.done():
            rebuilt = self._fresh.position if self._fresh is not None else 0
        return Progress(self.position, self._log.head, rebuilt, self._rebuilds)

    async def reached(self, seq: Seq) -> None:
        """Wait until a message can be found.

        Raises ``Invalid`` (bad_seq) for one that is not there, ``Retryable`` (search_behind) after
        ``MAX_WAIT_S``.
        """
        if seq > self._log.head:
            raise error("bad_seq", "no message has this SeqId yet", seq=seq)
        self._waiting += 1
        self._hurry.set()
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                while self.position < seq:
                    await self._moved.wait()
        except TimeoutError:
            raise error("search_behind", position=self.position) from None
        finally:
            self._waiting -= 1

    async def forget(self, seqs: Sequence[Seq]) -> None:
        """Have messages found no more, durably.  Those that are indexed later are as they are."""
        async with self._turn:
            await self._index.stage([], seqs)
            await self._index.commit(self._index.position, self._log.epoch)

    # -- following ------------------------------------------------------------------------------

    async def _begin(self) -> None:
        """Start anew when what is indexed is not, or no longer, this log."""
        index = self._index
        if index.position and not self.position:
            logger.warning("the search index is not of this log and is made anew")
            await index.replace(await index.renew())
        self._tell()

    async def _follow(self) -> bool:
        """Index what comes.  False when another index has taken the place; True at the end."""
        rebuilds, since, shown = self._rebuilds, 0.0, self.position
        async for batch in self._log.tail(shown):
            async with self._turn:
                if self._rebuilds != rebuilds:
                    return False
                if not since:
                    since = monotonic()
                    await self._gather()
                position = await self._stage(self._index, batch)
                if self._is_due(position, position - shown, since):
                    await self._expire()
                    await self._index.commit(position, self._log.epoch)
                    self._tell()
                    since, shown = 0.0, position
        return True

    def _is_due(self, position: Seq, count: int, since: float) -> bool:
        """Whether to show what is staged."""
        behind = self._log.head - position
        if count >= COMMIT_MESSAGES:
            return True
        if behind >= COMMIT_MESSAGES:
            return False
        return not behind or monotonic() - since >= SHOW_S

    async def _gather(self) -> None:
        """Wait a little for more, unless somebody waits for what is there."""
        if not self._waiting:
            self._hurry.clear()
        try:
            async with asyncio.timeout(GATHER_S):
                await self._hurry.wait()
        except TimeoutError:
            pass

    async def _expire(self) -> None:
        """Take out what has expired, now and then; answers leave it out from the moment it does."""
        now = self._clock()
        if now - self._expired >= EXPIRY_PAUSE_MS:
            await self._index.expire(now)
            self._expired = now

    def _tell(self) -> None:
        INDEX_POSITION.set(self.position)
        INDEX_LAG.set(self._log.head - self.position)
        self._moved.set()
        self._moved = asyncio.Event()

    # -- documents ------------------------------------------------------------------------------

    async def _stage(self, index: SearchIndex, batch: Sequence[Stored]) -> Seq:
        """Stage a batch in pieces, with rests; the position it reaches."""
        for start in range(0, len(batch), PIECE_MESSAGES):
            began = monotonic()
            piece = batch[start : start + PIECE_MESSAGES]
            for one in piece:
                if (joined := audience_change(one)) is not None:
                    self._scopes.changed(one.seq, one.conversation, joined)
            changed, gone = await self._changed(piece)
            pairs = [(one, await self._audience(one)) for one in (*piece, *changed)]
            documents = await asyncio.to_thread(_documents, pairs)
            await index.stage(documents, gone)
            INDEX_DOCUMENTS.inc(len(documents))
            await self._rest(monotonic() - began)
        return batch[-1].seq

    async def _rest(self, worked: float) -> None:
        """Leave time to everybody else."""
        rest = worked * (BUSY_REST if self._busy else REST)
        until = monotonic() + min(rest, MAX_REST_S)
        await asyncio.sleep(until - monotonic())
        self._busy = monotonic() - until > BUSY_S

    async def _changed(self, piece: Sequence[Stored]) -> tuple[list[Stored], list[Seq]]:
        """Earlier messages that these change, as they are now; those that are no more."""
        refs = {Ref(seq, one.conversation) for one in piece if (seq := revised(one))}
        if not refs:
            return [], []
        found = await self._log.fetch(list(refs))
        return [one for one in found if one.payload], [one.seq for one in found if not one.payload]

    async def _audience(self, message: Stored) -> Seq:
        return await self._scopes.audience(message.conversation, message.seq)

    # -- making it anew -------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make the index anew up to now, beside the one that answers; one at a time."""
        if self._rebuild is None or self._rebuild.done():
            self._rebuild = asyncio.get_running_loop().create_task(self._make_anew())

    async def _make_anew(self) -> None:
        head = self._log.head
        fresh = self._fresh = await self._index.renew()
        try:
            while fresh.position < max(head, self.position):
                await self._advance(fresh, max(head, self.position))
            async with self._turn:
                # Nothing is shown meanwhile, so this ends.
                while fresh.position < self.position:
                    await self._advance(fresh, self.position)
                await self._index.replace(fresh)
                self._rebuilds += 1
            self._tell()
            logger.info("the search index was made anew", position=self.position)
        except Exception as fault:
            logger.error("the search index was not made anew", exc_info=fault)
        finally:
            self._fresh = None
            await fresh.aclose()

    async def _advance(self, fresh: SearchIndex, upto: Seq) -> None:
        """Read on for the new index, as far as one commit goes."""
        position = start = fresh.position
        while position < upto and position - start < COMMIT_MESSAGES:
            batch = await self._log.read(position)
            position = await self._stage(fresh, batch)
        await fresh.commit(position, self._log.epoch)


def _documents(pairs: Sequence[tuple[Stored, Seq]]) -> list[Document]:
    """What can be found of messages.  What cannot be read is told, and left out."""
    found: list[Document] = []
    for message, audience in pairs:
        try:
            made = document(message, audience)
        except Exception as problem:
            # One bad message must not end the search of everybody.
            INDEX_UNREADABLE.inc()
            logger.error("a message cannot be indexed", seq=message.seq, exc_info=problem)
        else:
            found += [made] if made is not None else []
    return found
