"""A view: a copy of the log, and of all that follows from it, in a directory of this process.

It holds only what the stream has acknowledged.  So it is never wrong, at most behind, and losing
it costs the time to make it again.  Where it stands is said by its own log: each group of messages
is one write, with the SeqIds that the record gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from timewire.backends.jetstream.records import Group, Record, decode
from timewire.backends.jetstream.stream import LogStream
from timewire.backends.rocksdb import RocksStore
from timewire.backends.rocksdb.commit import Done
from timewire.errors import Retryable, TimewireError, error
from timewire.model import Seq

POLL_S: Final = 0.5
"""How long a record can stay unnoticed of which nothing was heard."""

RETRY_PAUSE_S: Final = 0.25

FRESH_TIMEOUT_S: Final = 12.0
"""How long a question waits for what may be missing here: NATS may be choosing a leader."""

LOOK_TIMEOUT_S: Final = 1.0

logger = structlog.get_logger("timewire.view")


class View:
    """A copy that follows the stream while ``run`` is running.

    ``at``: the sequence of the newest record in it.  ``leader``: who wrote that.
    """

    def __init__(self, stream: LogStream, store: RocksStore, time: Time, at: int) -> None:
        self.store: Final = store
        self.at = at
        self.leader = ""
        self.on_record: Callable[[Record], None] = lambda record: None
        self._stream = stream
        self._time = time
        self._position = store.log.head
        self._waiting: list[tuple[Seq, asyncio.Future[None]]] = []
        self._closed = False
        self._looking: asyncio.Task[int] | None = None
        self._moved = asyncio.Event()
        """Set once: when there is a new record."""

    @classmethod
    async def open(cls, stream: LogStream, path: Path, epoch: str, **options: Any) -> View:
        """Open the copy in a directory, made if it is not there.  ``options``: of the store.

        Raises ``Unusable`` (directory_unusable, when it is no copy of this stream).
        """
        time = Time()
        store = await RocksStore.open(path, clock=time, commit=Copied(), epoch=epoch, **options)
        try:
            return cls(stream, store, time, await _find(stream, store.log.head))
        except BaseException:
            await store.aclose()
            raise

    @property
    def position(self) -> Seq:
        """The SeqId up to which messages are in it."""
        return self._position

    async def catch_up(self) -> None:
        """Take in everything that is in the stream now.  For before ``run``."""
        last = (await self._stream.bounds()).last
        while self.at < last:
            records = await self._stream.read(self.at + 1)
            await self._take([(kept.sequence, kept.data) for kept in records])
            if not records:
                await asyncio.sleep(RETRY_PAUSE_S)

    async def run(self) -> None:
        """Follow the stream until cancelled."""
        async with self._stream.news() as news:
            while True:
                try:
                    found = news.next(self.at + 1)
                    if not found:
                        records = await self._stream.read(self.at + 1)
                        found = [(kept.sequence, kept.data) for kept in records]
                    if found:
                        await self._take(found)
                    else:
                        await news.wait(POLL_S)
                except Retryable as fault:
                    logger.warning("the view waits", reason=fault.fields.get("reason", fault.code))
                    await asyncio.sleep(RETRY_PAUSE_S)

    async def reach(self, seq: Seq) -> None:
        """Wait until a message is in it."""
        if self._position < seq:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((seq, future))
            await future

    async def fresh(self) -> None:
        """Wait until everything is in it that anyone can have been told of by now.

        Not for long: when that cannot be found out, things are as they are.
        """
        with suppress(Retryable, TimeoutError):
            async with asyncio.timeout(FRESH_TIMEOUT_S):
                if self._looking is not None:  # it may have looked too early: take the next
                    with suppress(Retryable):
                        await asyncio.shield(self._looking)
                last = await asyncio.shield(self._look())
                while self.at < last:
                    await self._moved.wait()

    def _look(self) -> asyncio.Task[int]:
        """Where the stream ends: one look for all who ask at the same time."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._last())
        return self._looking

    async def _last(self) -> int:
        try:
            while True:
                try:
                    return await self._stream.newest(LOOK_TIMEOUT_S)
                except Retryable:
                    if self._closed:
                        raise
                    await asyncio.sleep(RETRY_PAUSE_S)
        finally:
            self._looking = None

    async def aclose(self) -> None:
        """Release the directory."""
        self._closed = True
        await self.store.aclose()

    async def _take(self, found: Sequence[tuple[int, bytes]]) -> None:
        for sequence, data in found:
            record = decode(data)
            if record.position > self._position:
                raise _misfit(f"record {sequence} begins after {record.position}")
            for group in record.groups:
                await self._apply(group)
            self.on_record(record)
            self.at, self.leader = sequence, record.leader
        self._moved.set()
        self._moved = asyncio.Event()
        self._tell()

    async def _apply(self, group: Group) -> None:
        if group.first <= self._position:
            return  # it was there when the directory was opened
        self._time.now = group.time
        log = self.store.log
        drafts = [one.draft() for one in group.messages]
        results = await log.append(drafts)
        last = results[-1]
        if isinstance(last, TimewireError) or last.seq != group.first + len(drafts) - 1:
            raise _misfit(f"the group at {group.first} does not follow {self._position}")
        self._position = last.seq

    def _tell(self) -> None:
        ready = [one for one in self._waiting if one[0] <= self._position]
        for waiter in ready:
            self._waiting.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(None)


class Time:
    """The clock of a view: the time of the message that is being taken in."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Copied:
    """A ``Commit`` for what is kept elsewhere already: written is kept."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    @property
    def busy(self) -> bool:
        """Whether anything is under way: never."""
        return False

    def join(self, done: Done) -> None:
        """Have ``done`` called in the next turn."""
        self._loop.call_soon(done, None)

    def fail(self, fault: Exception) -> None:
        """Nobody waits."""

    async def stop(self) -> None:
        """Nothing was begun."""


async def _find(stream: LogStream, head: Seq) -> int:
    """The sequence of the last record of which everything is in a copy with this head."""
    low, last = await stream.bounds()
    if last < low:
        if head:
            raise _misfit("the stream is empty, and the directory is not")
        return last
    newest = decode((await stream.get(last)).data)
    if newest.end < head:
        raise _misfit(f"the stream ends at {newest.end}, the directory at {head}")
    if decode((await stream.get(low)).data).position > head:
        raise _misfit("the stream no longer holds what the directory lacks")
    high = last
    while low < high:  # the last record that begins at or before the head
        middle = (low + high + 1) // 2
        if decode((await stream.get(middle)).data).position <= head:
            low = middle
        else:
            high = middle - 1
    return low - 1


def _misfit(reason: str) -> TimewireError:
    told = f"{reason}; a view that does not fit can be removed, and is made again"
    return error("directory_unusable", reason=told)
