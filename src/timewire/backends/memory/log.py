"""The message log in memory, with the message store and the directory that it writes."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence

import msgspec

from timewire.backends.memory.directory import MemoryDirectory
from timewire.backends.memory.media import MemoryMediaIndex
from timewire.backends.memory.timelines import MemoryTimelines, digest
from timewire.changes import Made, revise, revisions, target
from timewire.clock import Clock, wall_clock
from timewire.errors import TimewireError, error
from timewire.log import MAX_READ_MESSAGES, MAX_SWEEP_MESSAGES
from timewire.model import (
    MAX_SEQ,
    Change,
    Draft,
    Entry,
    MessageChange,
    Receipt,
    Ref,
    Seq,
    Stored,
    decode_stored,
    encode_body,
)

_DAY_MS = 24 * 60 * 60 * 1000


class _Record(msgspec.Struct):
    """What the log keeps of a message.  Once it is durable its payload is in the message store."""

    seq: Seq
    time: int
    conversation: str
    sender: str
    id: str
    payload: bytes
    digest: bytes
    change: Change | None
    origin: object
    expires: int
    media: tuple[str, ...]


class MemoryLog:
    """A ``MessageLog`` in memory.  Messages count as durable one turn of the event loop later.

    ``messages`` is the message store, ``directory`` the directory, ``media`` the index of media.
    ``writable = False`` plays a full disk.
    """

    def __init__(self, clock: Clock = wall_clock, keys_days: int = 30) -> None:
        self.epoch = secrets.token_hex(4)
        self.directory = MemoryDirectory()
        self.media = MemoryMediaIndex()
        self.messages = MemoryTimelines(clock)
        self.writable = True
        self._clock = clock
        self._keys_days = keys_days
        self._records: list[_Record] = []
        """All messages; the one with SeqId s is at s - 1.  Those past ``head`` are staged."""
        self._head: Seq = 0
        self._keys: dict[tuple[str, str], Seq] = {}
        """(sender, id) -> SeqId, oldest first"""
        self._sync: asyncio.Future[None] | None = None
        self._news = asyncio.Event()
        """Set once: when there is a new durable message, or when the log is closed."""
        self._closed = False

    def reopened(self) -> MemoryLog:
        """What a restart would find now: everything durable, nothing that is only staged."""
        found = MemoryLog(self._clock, self._keys_days)
        found.epoch = self.epoch
        found.directory = self.directory.reopened()
        found.messages = self.messages.reopened()
        for record in self._records[: self._head]:
            found._admit(msgspec.structs.replace(record, origin=None))
        found._head = self._head
        return found

    @property
    def head(self) -> Seq:
        return self._head

    # Writing

    def append(self, drafts: Sequence[Draft]) -> asyncio.Future[list[Receipt | TimewireError]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Receipt | TimewireError]] = loop.create_future()
        if self._closed or not self.writable:
            answer.set_exception(error("closed" if self._closed else "storage_unavailable"))
            return answer
        results = [self._repeat(draft) or self._stage(draft) for draft in drafts]
        if self._sync is None:
            self._sync = loop.create_future()
            loop.call_soon(self._synced, self._sync)
        self._sync.add_done_callback(lambda _: answer.cancelled() or answer.set_result(results))
        return answer

    def _repeat(self, draft: Draft) -> Receipt | TimewireError | None:
        """The answer to a draft whose (sender, id) is known."""
        self._forget_old_keys()
        seq = self._keys.get((draft.sender, draft.id))
        if seq is None:
            return None
        record = self._records[seq - 1]
        if (record.conversation, record.digest) != (draft.conversation, digest(draft.payload)):
            return error("id_reused", id=draft.id)
        return Receipt(seq, record.time, repeated=True)

    def _stage(self, draft: Draft) -> Receipt:
        seq, time = len(self._records) + 1, self._now()
        self._admit(
            _Record(
                seq,
                time,
                draft.conversation,
                draft.sender,
                draft.id,
                draft.payload,
                draft.digest or digest(draft.payload),
                draft.change,
                draft.origin,
                draft.expires,
                draft.media,
            )
        )
        return Receipt(seq, time)

    def _admit(self, record: _Record) -> None:
        """Take a message in: its place, its key, what it changes."""
        self._records.append(record)
        if record.id:
            self._keys.pop((record.sender, record.id), None)
            self._keys[record.sender, record.id] = record.seq
        place = Ref(target(record.change) or record.seq, record.conversation)
        self.media.carry(place, record.media)
        if record.change is not None:
            self.media.apply(record.seq, record.sender, record.change)
            self.directory.apply(
                record.seq, record.time, record.conversation, record.sender, record.change
            )
        if record.seq > MAX_READ_MESSAGES:  # consumers this far behind find no origin
            self._records[record.seq - 1 - MAX_READ_MESSAGES].origin = None

    def _now(self) -> int:
        """The time of the next message: never before that of the last."""
        return max(self._clock(), self._records[-1].time if self._records else 0)

    def _forget_old_keys(self) -> None:
        oldest_kept = self._now() - self._keys_days * _DAY_MS
        while self._keys:
            key, seq = next(iter(self._keys.items()))
            if self._records[seq - 1].time >= oldest_kept:
                break
            del self._keys[key]

    def _synced(self, sync: asyncio.Future[None]) -> None:
        self._sync = None
        self._reveal(len(self._records))
        sync.set_result(None)

    def _reveal(self, upto: Seq) -> None:
        """All messages up to this one are durable."""
        for record in self._records[self._head : upto]:
            entry = Entry(record.conversation, record.seq, record.time, record.payload)
            self.messages.put(entry)
            if isinstance(record.change, MessageChange):
                self._rewrite(record, record.change)
            record.payload = b""
        self._head = upto
        self._tell()

    def _rewrite(self, record: _Record, change: MessageChange) -> None:
        """What a durable message does to others."""
        name = record.conversation
        target = self.messages.find(name, change.seq)
        if target is None or not target.payload:
            return
        for one in revisions(change, _made(record), target.payload, record.payload):
            self.messages.rewrite(name, one.seq, one.payload)
            if one.expires:
                record.expires = one.expires

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # Reading

    async def find(self, draft: Draft) -> Receipt | TimewireError | None:
        self._check_open()
        answer = self._repeat(draft)
        if answer is not None and self._sync is not None:
            await asyncio.shield(self._sync)
        return answer

    async def peek(self, conversation: str, seq: Seq) -> Stored | None:
        self._check_open()
        record = self._records[seq - 1] if 1 <= seq <= len(self._records) else None
        if record is None or record.conversation != conversation:
            return None
        payload = self._payload(record)
        for staged in self._records[max(seq, self._head) :]:
            if staged.conversation == conversation and payload:
                payload = _staged(payload, seq, staged)
        return Stored(seq, record.time, conversation, payload)

    async def sweep(self, now: int) -> int:
        self._check_open()
        found = [r for r in self._records[: self._head] if 0 < r.expires <= now]
        for record in found[:MAX_SWEEP_MESSAGES]:
            record.expires = 0
            self.messages.rewrite(record.conversation, record.seq, b"")
        return len(found[:MAX_SWEEP_MESSAGES])

    async def fetch(self, refs: Sequence[Ref]) -> list[Stored]:
        self._check_open()
        if len(refs) > MAX_READ_MESSAGES:
            raise error("bad_limit", limit=MAX_READ_MESSAGES)
        return [
            self._stored(self._records[ref.seq - 1])
            for ref in refs
            if 1 <= ref.seq <= self._head
            and self._records[ref.seq - 1].conversation == ref.conversation
        ]

    async def read(self, after: Seq, limit: int = MAX_READ_MESSAGES) -> list[Stored]:
        self._check_open()
        if not 0 <= after <= MAX_SEQ:
            raise error("bad_seq", seq=str(after))
        if not 1 <= limit <= MAX_READ_MESSAGES:
            raise error("bad_limit", limit=MAX_READ_MESSAGES)
        records = self._records[after : min(after + limit, self._head)]
        return [self._stored(record) for record in records]

    async def tail(self, after: Seq) -> AsyncIterator[Sequence[Stored]]:
        while not self._closed:
            news = self._news
            batch = await self.read(after)
            if batch:
                after = batch[-1].seq
                yield batch
            else:
                await news.wait()

    async def aclose(self) -> None:
        self._closed = True
        if self._sync is not None:
            await asyncio.shield(self._sync)
        await self.messages.aclose()
        self._tell()

    def _stored(self, record: _Record) -> Stored:
        payload = self._payload(record)
        return Stored(record.seq, record.time, record.conversation, payload, record.origin)

    def _payload(self, record: _Record) -> bytes:
        if record.seq > self._head:
            return record.payload
        entry = self.messages.find(record.conversation, record.seq)
        return entry.payload if entry is not None else b""

    def _check_open(self) -> None:
        if self._closed:
            raise error("closed")


def _staged(payload: bytes, seq: Seq, record: _Record) -> bytes:
    """The payload of a message as another one leaves it."""
    change = record.change
    if isinstance(change, MessageChange) and change.seq == seq:
        revised = revise(decode_stored(payload), change, _made(record))
        return encode_body(revised) if revised else b""
    return payload


def _made(record: _Record) -> Made:
    return Made(record.sender, record.seq, record.time)
