"""A simulated disk below the memory backends: slow, failing, and forgetful.

What was staged is durable when a sync that began later has ended.  A crash keeps what is durable,
and of the rest the first so many writes, whole: the newest may be torn and are let go.  Inboxes
are written without a sync, as a backend may do: a loss of power takes their newest writes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from random import Random
from typing import Any, Final

import msgspec

from timewire.backends.memory.inbox import MemoryInbox
from timewire.backends.memory.log import MemoryLog
from timewire.backends.memory.store import MemoryStore
from timewire.clock import Clock
from timewire.errors import TimewireError, error
from timewire.inbox import Delivery
from timewire.model import Draft, Receipt, Ref, Seq, Stored

Results = list[Receipt | TimewireError]

FAST_SYNC_S: Final = 0.002
SLOW_SYNC_S: Final = 0.8
READS_FROM_DISK: Final = 0.3
MENDING_S: Final = 0.3
"""How long after a failure the log tries to write again."""


class Disk:
    """How the disk behaves now."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.slow = False
        self.full = False
        self.failing = 0.0
        """The share of syncs that fail."""

    def sync_s(self) -> float:
        """How long a sync takes."""
        return self.chance.random() * (SLOW_SYNC_S if self.slow else FAST_SYNC_S)

    def fails(self) -> bool:
        """Whether a sync fails."""
        return self.full or (self.failing > 0 and self.chance.random() < self.failing)

    async def read(self) -> None:
        """What a read takes: mostly it is in memory."""
        if self.chance.random() < READS_FROM_DISK:
            await asyncio.sleep(self.sync_s())

    def kept(self, durable: int, ends: Sequence[int]) -> int:
        """How much of what was written is there after a crash: ``ends`` are those of writes."""
        return self.chance.choice([durable, *(end for end in ends if end > durable)])


class SimulatedLog(MemoryLog):
    """A memory log whose syncs take time and may fail."""

    def __init__(self, clock: Clock, disk: Disk) -> None:
        super().__init__(clock)
        self.epoch = f"{disk.chance.getrandbits(32):08x}"
        self.disk = disk
        self._ends: list[int] = []
        """Where the appends end that are not durable."""
        self._waiting: list[tuple[asyncio.Future[Results], Results]] = []
        self._durable_after: list[asyncio.Future[None]] = []
        self._busy = False

    def append(self, drafts: Sequence[Draft]) -> asyncio.Future[Results]:
        answer: asyncio.Future[Results] = asyncio.get_running_loop().create_future()
        if self._closed or not self.writable:
            answer.set_exception(error("closed" if self._closed else "storage_unavailable"))
            return answer
        results = [self._repeat(draft) or self._stage(draft) for draft in drafts]
        self._ends.append(len(self._records))
        self._waiting.append((answer, results))
        self._start()
        return answer

    def _start(self) -> None:
        if not self._busy and (self._waiting or self._durable_after):
            self._busy = True
            waiting, self._waiting = self._waiting, []
            told, self._durable_after = self._durable_after, []
            asyncio.get_running_loop().call_later(
                self.disk.sync_s(), self._end, len(self._records), waiting, told
            )

    def _end(
        self,
        upto: int,
        waiting: list[tuple[asyncio.Future[Results], Results]],
        told: list[asyncio.Future[None]],
    ) -> None:
        """A sync has ended that covers all up to a message."""
        self._busy = False
        if self.disk.fails():
            self._fail(waiting, told)
            return
        self._reveal(upto)
        self._ends = [end for end in self._ends if end > upto]
        for answer, results in waiting:
            if not answer.done():
                answer.set_result(results)
        for one in told:
            if not one.done():
                one.set_result(None)
        self._start()

    def _fail(
        self,
        waiting: list[tuple[asyncio.Future[Results], Results]],
        told: list[asyncio.Future[None]],
    ) -> None:
        """Nobody knows what is there: look again, and then tell."""
        waiting += self._waiting
        told += self._durable_after
        self._waiting, self._durable_after, self.writable = [], [], False
        for answer, _ in waiting:
            if not answer.done():
                answer.set_exception(error("outcome_unknown"))
        for one in told:
            if not one.done():
                one.set_exception(error("storage_unavailable"))
        self._load(self.disk.kept(self._head, self._ends))
        asyncio.get_running_loop().call_later(MENDING_S, self._mend)

    def _mend(self) -> None:
        if self.disk.fails():
            asyncio.get_running_loop().call_later(MENDING_S, self._mend)
        else:
            self.writable = True

    def _load(self, upto: int) -> None:
        """Be what is on disk: all up to a message, which is durable now."""
        found = self.reopened(upto)
        # Others hold these objects: they become those found, in place.
        for mine, there in (
            (self.directory, found.directory),
            (self.media, found.media),
            (self.messages, found.messages),
        ):
            vars(mine).update(vars(there))
        self._records, self._keys = found._records, found._keys
        self._head, self._ends = found._head, []
        self._tell()

    @property
    def newest(self) -> Seq:
        """The newest message that is written, durable or not."""
        return len(self._records)

    async def find(self, draft: Draft) -> Receipt | TimewireError | None:
        self._check_open()
        answer = self._repeat(draft)
        if isinstance(answer, Receipt) and answer.seq > self._head:
            durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._durable_after.append(durable)
            self._start()
            await durable
        return answer

    async def fetch(self, refs: Sequence[Ref]) -> list[Stored]:
        await self.disk.read()
        return await super().fetch(refs)

    async def aclose(self) -> None:
        while self._busy:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(FAST_SYNC_S)
        await super().aclose()

    def reopened(self, upto: Seq | None = None) -> SimulatedLog:
        """What a start finds: all up to a message; what is durable, when none is given."""
        found = SimulatedLog(self._clock, self.disk)
        found.epoch = self.epoch
        found.directory = self.directory.reopened()
        found.messages = self.messages.reopened()
        for record in self._records[: self._head if upto is None else upto]:
            found._admit(msgspec.structs.replace(record, origin=None))
        found._head = self._head
        found._reveal(len(found._records))
        return found

    def crashed(self) -> SimulatedLog:
        """What a start finds after a crash now."""
        return self.reopened(self.disk.kept(self._head, self._ends))


class SimulatedInbox(MemoryInbox):
    """Memory inboxes whose newest writes a loss of power takes.

    They share their write-ahead log with the messages, as in RocksDB: what was written before a
    message that is kept is kept.
    """

    def __init__(self, bucket_ms: int, disk: Disk, log: SimulatedLog) -> None:
        super().__init__(bucket_ms)
        self._disk = disk
        self._log = log
        self._writes: list[Callable[[SimulatedInbox], Coroutine[Any, Any, None]]] = []
        self._after: list[Seq] = []
        """For each write: the newest message that was written before it."""

    async def put(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        if self._disk.full:
            raise error("storage_unavailable")
        if self._disk.slow:
            await asyncio.sleep(self._disk.sync_s())
        await super().put(deliveries, position)
        self._write(lambda inbox: MemoryInbox.put(inbox, deliveries, position))

    async def scan(self, user: str, after: Seq, upto: Seq, limit: int) -> tuple[list[Ref], bool]:
        await self._disk.read()
        return await super().scan(user, after, upto, limit)

    async def expire(self, before: int) -> None:
        await super().expire(before)
        self._write(lambda inbox: MemoryInbox.expire(inbox, before))

    def _write(self, write: Callable[[SimulatedInbox], Coroutine[Any, Any, None]]) -> None:
        self._writes.append(write)
        # A failed log may have gone back.
        self._after.append(max([*self._after[-1:], self._log.newest]))

    def crashed(self, log: SimulatedLog, *, power: bool) -> SimulatedInbox:
        """What a start finds after a crash now; ``log``: what it finds of the messages."""
        kept = len(self._writes)
        if power and self._disk.chance.random() < 0.8:
            lost = self._disk.chance.randrange(min(kept, 50) + 1)
            kept = max(kept - lost, bisect_left(self._after, log.newest))
        found = SimulatedInbox(self._bucket_ms, self._disk, log)
        found._writes, found._after = self._writes[:kept], self._after[:kept]
        for write in found._writes:
            _do(write(found))
        return found


class SimulatedStore(MemoryStore):
    """All stores of a server on a simulated disk."""

    log: SimulatedLog
    inbox: SimulatedInbox

    def __init__(self, clock: Clock, disk: Disk, bucket_ms: int) -> None:
        super().__init__(clock, bucket_ms=bucket_ms)
        self._clock, self._disk, self._bucket_ms = clock, disk, bucket_ms
        log = SimulatedLog(clock, disk)
        self._take(log, SimulatedInbox(bucket_ms, disk, log))

    def _take(self, log: SimulatedLog, inbox: SimulatedInbox) -> None:
        self.log, self.inbox = log, inbox
        self.messages, self.directory, self.media = log.messages, log.directory, log.media

    def crashed(self, *, power: bool) -> SimulatedStore:
        """What a start finds after a crash now; ``power``: of the whole machine."""
        found = SimulatedStore(self._clock, self._disk, self._bucket_ms)
        log = self.log.crashed()
        found._take(log, self.inbox.crashed(log, power=power))
        return found


def _do(work: Coroutine[Any, Any, None]) -> None:
    """Do at once what never waits."""
    with suppress(StopIteration):
        work.send(None)
