"""The message log: one batch an append, with all that a message changes.

    family  log
    key     SeqId of the last message of an append, 8 bytes
    value   MessagePack: time, conversations in the order of the SeqIds, which have no holes

The payloads stand in the message store, under the same SeqIds.
"""

from __future__ import annotations

import asyncio
from asyncio import Future
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

import msgspec
from rocksdict import WriteBatch

from timewire.backends.rocksdb.damage import Damage
from timewire.backends.rocksdb.database import LOG, MESSAGES
from timewire.backends.rocksdb.directory import RocksDirectory
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import (
    brought,
    decode,
    encode,
    get_near,
    pack_seq,
    pack_stamp,
    prefix,
    same,
    seq_of,
)
from timewire.backends.rocksdb.keys import Keys, Known, pack_place
from timewire.backends.rocksdb.media import RocksMediaIndex
from timewire.backends.rocksdb.numbers import Numbers
from timewire.backends.rocksdb.recent import Recent
from timewire.backends.rocksdb.revisions import Revisions
from timewire.changes import Revision
from timewire.clock import Clock
from timewire.errors import TimewireError, error
from timewire.log import MAX_READ_MESSAGES, MAX_SWEEP_MESSAGES
from timewire.metrics import LOG_HEAD
from timewire.model import MAX_SEQ, Draft, Receipt, Ref, Seq, Stored

Results = list[Receipt | TimewireError]
Staged = Callable[[Seq, int, Sequence[Draft]], None]
"""Called with the first SeqId, the time and the drafts of what has just been written together."""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    """What the log keeps of an append."""

    time: int
    conversations: list[str]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Record).decode


class RocksLog:
    """A ``MessageLog`` in RocksDB, with the directory whose changes it stages."""

    def __init__(
        self,
        engine: Engine,
        directory: RocksDirectory,
        media: RocksMediaIndex,
        clock: Clock,
        *,
        epoch: str,
        keys_ms: int,
    ) -> None:
        self.epoch: Final = epoch
        self._engine = engine
        self._directory = directory
        self._media = media
        self._clock = clock
        self._keys = Keys(engine, keys_ms)
        self._revisions = Revisions(engine)
        self._recent = Recent()
        self._damage = Damage()
        self._staged: deque[list[Stored]] = deque()
        """What is written and not durable yet, by append: each without holes."""
        self._news = asyncio.Event()
        """Set once: when there are new durable messages, or when the log is closed."""
        self.on_staged: Staged | None = None
        self._head: Seq = 0
        self._time = 0
        self._numbers = Numbers(engine, LOG, self._newest)
        engine.on_reload(self._load)
        engine.on_close(self._tell)

    @property
    def head(self) -> Seq:
        return self._head

    @property
    def writable(self) -> bool:
        return self._engine.is_writable

    # -- writing --------------------------------------------------------------------------------

    def append(self, drafts: Sequence[Draft]) -> Future[Results]:
        answer: Future[Results] = asyncio.get_running_loop().create_future()
        try:
            results, stored = self._stage(drafts)
        except TimewireError as fault:
            answer.set_exception(fault)
            return answer
        if not stored and all(isinstance(r, TimewireError) or r.seq <= self._head for r in results):
            answer.set_result(results)
        else:
            self._engine.commit(partial(self._committed, answer, results, stored))
        return answer

    def _stage(self, drafts: Sequence[Draft]) -> tuple[Results, list[Stored]]:
        """Write the drafts that are new; the results of all, and what was written."""
        engine = self._engine
        engine.admit()
        keys = [_key(draft) for draft in drafts]
        known = self._keys.find([key for key in keys if key])
        time = max(self._time, self._clock())
        stamp, seq = pack_stamp(time, 0), self._numbers.last
        batch = WriteBatch(raw_mode=True)
        put = batch.put
        messages, ids = engine.family(MESSAGES), self._keys.bucket(time)
        results: Results = []
        stored: list[Stored] = []
        fresh: dict[bytes, Stored] = {}
        newest: Draft | None = None
        for draft, key in zip(drafts, keys, strict=True):
            if key:
                if key in known:
                    results.append(self._repeat(draft, known[key]))
                    continue
                if key in fresh:
                    results.append(_repeat_of(draft, fresh[key]))
                    continue
            seq += 1
            conversation, payload = draft.conversation, draft.payload
            message = Stored(seq, time, conversation, payload, draft.origin)
            name = conversation.encode()
            place = name + b"\0" + pack_seq(seq)
            if draft.digest:
                put(place, brought(place, time, payload, draft.digest), messages.handle)
            else:
                put(place, encode(place, stamp, payload), messages.handle)
            if draft.media:
                self._media.carry(batch, seq, draft)
            if key:
                put(key, pack_place(seq, time) + name, ids.handle)
                fresh[key] = message
            if draft.expires:
                self._revisions.expect(batch, draft.expires, conversation, seq)
            stored.append(message)
            results.append(Receipt(seq, time))
            newest = draft
        if stored:
            record = _Record(time, [message.conversation for message in stored])
            put(pack_seq(seq), _encode(record), engine.family(LOG).handle)
            self._staged.append(stored)
            self._write(batch, seq, time, newest)
            self._numbers.last, self._time = seq, time
            if self.on_staged is not None:
                self.on_staged(stored[0].seq, time, _taken(drafts, results))
        return results, stored

    def _write(self, batch: WriteBatch, last: Seq, time: int, draft: Draft | None) -> None:
        """Write a batch.  ``draft`` is that of its last message: it may carry a change."""
        revisions: list[Revision] = []
        try:
            if draft is not None and draft.change is not None:
                self._directory.stage(batch, last, time, draft)
                self._media.stage(batch, last, draft)
                revisions = self._revisions.stage(batch, last, time, draft)
            if self._engine.durability == "interval":
                self._numbers.cover(last)
            self._engine.write(batch)
        except BaseException:
            self._directory.forget()
            self._staged.clear()
            raise
        for revision in revisions:
            if not revision.payload:
                self.redacted(revision.seq)

    def _repeat(self, draft: Draft, known: Known) -> Receipt | TimewireError:
        """The answer to a draft whose id is known."""
        if known.conversation != draft.conversation:
            return error("id_reused", id=draft.id)
        place = prefix(known.conversation) + pack_seq(known.seq)
        value = self._engine.family(MESSAGES).get(place)
        try:
            if value is not None and not same(place, decode(place, value), draft.payload):
                return error("id_reused", id=draft.id)
        except TimewireError as damaged:
            return damaged
        return Receipt(known.seq, known.time, repeated=True)

    def _committed(
        self,
        answer: Future[Results],
        results: Results,
        stored: list[Stored],
        fault: Exception | None,
    ) -> None:
        if self._staged and self._staged[0] is stored:
            self._staged.popleft()
        if fault is None and stored:
            self._head = stored[-1].seq
            self._recent.add(stored)
            LOG_HEAD.set(self._head)
            self._tell()
        if answer.cancelled():
            return
        if fault is None:
            answer.set_result(results)
        else:
            answer.set_exception(fault)

    # -- reading --------------------------------------------------------------------------------

    async def find(self, draft: Draft) -> Receipt | TimewireError | None:
        self._engine.check_open()
        known = self._keys.find([key] if (key := _key(draft)) else [])
        if not known:
            return None
        answer = self._repeat(draft, known[key])
        if known[key].seq > self._head:
            await self._engine.durable()
        return answer

    async def peek(self, conversation: str, seq: Seq) -> Stored | None:
        if not 1 <= seq <= MAX_SEQ:
            return None
        row = self._revisions.find(conversation, seq)
        return None if row is None else Stored(seq, row.time, conversation, row.payload)

    async def sweep(self, now: int) -> int:
        gone = self._revisions.sweep(now, self._head, MAX_SWEEP_MESSAGES)
        for seq in gone:
            self.redacted(seq)
        if gone:
            await self._engine.durable()
        return len(gone)

    async def fetch(self, refs: Sequence[Ref]) -> list[Stored]:
        if len(refs) > MAX_READ_MESSAGES:
            raise error("bad_limit", limit=MAX_READ_MESSAGES)
        head = self._head
        wanted = [ref for ref in refs if ref.seq <= head]
        keys = [ref.conversation.encode() + b"\0" + pack_seq(ref.seq) for ref in wanted]
        found: list[Stored] = []
        for ref, key, value in zip(wanted, keys, self._get(keys), strict=True):
            if value is not None:
                found.append(self._damage.stored(key, value, ref.conversation, ref.seq))
        return found

    async def read(self, after: Seq, limit: int = MAX_READ_MESSAGES) -> list[Stored]:
        if not 0 <= after <= MAX_SEQ:
            raise error("bad_seq", seq=str(after))
        if not 1 <= limit <= MAX_READ_MESSAGES:
            raise error("bad_limit", limit=MAX_READ_MESSAGES)
        log = self._engine.family(LOG)
        found: list[Stored] = []
        if after >= self._head:
            return found
        for key, value in log.forward(pack_seq(after + 1), pack_seq(self._head) + b"\0"):
            record = _decode(value)
            seq = seq_of(key) - len(record.conversations)
            for conversation in record.conversations:
                seq += 1
                if seq > after:
                    found.append(Stored(seq, record.time, conversation, b""))
            if len(found) >= limit:
                break
        del found[limit:]
        keys = [m.conversation.encode() + b"\0" + pack_seq(m.seq) for m in found]
        for message, key, value in zip(found, keys, self._get(keys), strict=True):
            if value is not None:
                there = self._damage.stored(key, value, message.conversation, message.seq)
                message.payload, message.damaged = there.payload, there.damaged
        return found

    async def tail(self, after: Seq) -> AsyncIterator[Sequence[Stored]]:
        while self._engine.is_open:
            news = self._news
            if after >= self._head:
                await news.wait()
                continue
            if after >= self._recent.since:
                batch = self._recent.after(after, MAX_READ_MESSAGES)
            else:
                batch = await self.read(after)
            after = batch[-1].seq
            yield batch

    def redacted(self, seq: Seq) -> None:
        """A message's payload is gone: forget it here too."""
        for batch in self._staged:
            if batch[0].seq <= seq <= batch[-1].seq:
                batch[seq - batch[0].seq].payload = b""
                return
        self._recent.redact(seq)

    async def aclose(self) -> None:
        await self._engine.aclose()

    # -- inside ---------------------------------------------------------------------------------

    def _get(self, keys: list[bytes]) -> list[bytes | None]:
        return get_near(self._engine.family(MESSAGES), keys)

    def _newest(self) -> Seq:
        keys = self._engine.family(LOG).backward(pack_seq(1), pack_seq(MAX_SEQ))
        return next((seq_of(key) for key, _ in keys), 0)

    def _load(self) -> None:
        self._head = self._newest()
        if self._head:
            value = self._engine.family(LOG).get(pack_seq(self._head)) or b""
            self._time = _decode(value).time
        self._recent.clear(self._head)
        self._staged.clear()
        LOG_HEAD.set(self._head)
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _key(draft: Draft) -> bytes:
    """By which a draft's repeat is known; empty for one without id."""
    return f"{draft.sender}\0{draft.id}".encode() if draft.id else b""


def _taken(drafts: Sequence[Draft], results: Results) -> list[Draft]:
    """Those of the drafts that were stored: no repeats, and none that was refused."""
    pairs = zip(drafts, results, strict=True)
    return [draft for draft, one in pairs if isinstance(one, Receipt) and not one.repeated]


def _repeat_of(draft: Draft, first: Stored) -> Receipt | TimewireError:
    """The answer to a draft whose id came before it in the same call."""
    if (draft.conversation, draft.payload) != (first.conversation, first.payload):
        return error("id_reused", id=draft.id)
    return Receipt(first.seq, first.time, repeated=True)
