"""The timelines library: appending, with SeqIds by the store or by the caller, and with keys.

    family  entry_keys
    key     timeline, UTF-8 | 0 | idempotency key
    value   SeqId, 8 bytes

Entries and heads stand as ``entries`` and ``heads`` say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import msgspec
from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import ENTRIES, ENTRY_KEYS, META
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import (
    KEYED,
    Row,
    decode,
    encode,
    keyed,
    newest,
    pack_seq,
    pack_stamp,
    prefix,
    same,
    seq_of,
)
from timewire.backends.rocksdb.entry_store import EntryStore, check_seq
from timewire.backends.rocksdb.heads import MAX_CACHED_HEADS, Head
from timewire.backends.rocksdb.lru import Lru
from timewire.backends.rocksdb.numbers import Numbers
from timewire.clock import Clock
from timewire.errors import error
from timewire.model import MAX_SEQ, Seq
from timewire.names import check_timeline
from timewire.timeline import MAX_APPEND_ENTRIES, MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, Append

_LAST: Final = b"last:entries"


class _Tail(msgspec.Struct):
    """The end of a timeline while entries are being added to it.

    ``manual`` is None as long as nobody has decided.
    """

    start: bytes
    manual: bool | None
    last: Seq
    fresh: dict[Seq, bytes] = {}
    keys: dict[bytes, Seq] = {}


class RocksTimelines(EntryStore):
    """A ``TimelineStore`` in RocksDB."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        super().__init__(engine, ENTRIES, b"t")
        self._clock = clock
        self._unsynced: dict[str, deque[Seq]] = {}
        """timeline -> the first SeqId of each durable append that is on its way to the disk"""
        self._ends: Lru[str, tuple[bool | None, Seq]] = Lru(MAX_CACHED_HEADS)
        """timeline -> who numbers it, and its largest SeqId, as staged"""
        engine.on_reload(self._ends.clear)
        self._numbers = Numbers(engine, ENTRIES, self._newest)
        engine.on_reload(self._unsynced.clear)

    async def append(
        self,
        timeline: str,
        payload: bytes,
        *,
        seq: Seq | None = None,
        key: bytes | None = None,
        durable: bool = True,
    ) -> Seq:
        seqs = await self.append_many([Append(timeline, payload, seq, key)], durable=durable)
        return seqs[0]

    async def append_many(self, appends: Sequence[Append], *, durable: bool = True) -> list[Seq]:
        self._engine.admit()
        if len(appends) > MAX_APPEND_ENTRIES:
            raise error("batch_too_large", limit=MAX_APPEND_ENTRIES)
        for new in appends:
            _check_append(new)
        seqs, tails = self._stage(appends, durable)
        if durable and self._engine.durability == "always":
            for timeline, tail in tails.items():
                if tail.fresh:
                    first = next(iter(tail.fresh))
                    self._unsynced.setdefault(timeline, deque()).append(first)
            self._engine.commit(partial(self._reveal, [n for n, t in tails.items() if t.fresh]))
        if durable:
            await self._engine.durable()
        return seqs

    # -- staging --------------------------------------------------------------------------------

    def _stage(
        self, appends: Sequence[Append], durable: bool
    ) -> tuple[list[Seq], dict[str, _Tail]]:
        """Write what is new of the appends; the SeqIds of all, and what became of the timelines."""
        batch = WriteBatch(raw_mode=True)
        tails: dict[str, _Tail] = {}
        seqs: list[Seq] = []
        time, number = self._clock(), self._numbers.last
        for new in appends:
            tail = tails.get(new.timeline)
            if tail is None:
                tail = tails[new.timeline] = self._tail(new.timeline)
            seq = self._repeated(tail, new)
            if seq is None:
                if new.seq is None:
                    number += 1
                seq = new.seq or number
                self._add(batch, tail, new, seq, time)
            seqs.append(seq)
        if number != self._numbers.last:
            batch.put(_LAST, pack_seq(number), self._engine.family(META).handle)
            if not durable or self._engine.durability == "interval":
                self._numbers.cover(number)
        if len(batch):
            self._engine.write(batch)
        self._numbers.last = number
        self._keep(tails)
        return seqs, tails

    def _tail(self, timeline: str) -> _Tail:
        end = self._ends.get(timeline)
        if end is None:
            head = self._heads.get(timeline)
            last = max(newest(self._entries(timeline), timeline), head.floor - 1)
            end = True if head.manual else (False if last else None), last
        return _Tail(prefix(timeline), *end)

    def _repeated(self, tail: _Tail, new: Append) -> Seq | None:
        """The SeqId of the entry that an append repeats, or None.  Raises ``Invalid``."""
        manual = new.seq is not None
        if tail.manual not in (None, manual):
            raise error("seq_mode", timeline=new.timeline)
        if new.key is not None:
            seq = self._of_key(tail, new.key)
            if seq is not None:
                if not self._same(tail, seq, new.payload):
                    raise error("key_reused", timeline=new.timeline, seq=seq)
                return seq
        if new.seq is None or new.seq > tail.last:
            return None
        row = self._row(tail, new.seq)
        if row is None:
            raise error("seq_regressed", timeline=new.timeline, last=tail.last)
        if row.redacted or row.payload != new.payload:
            raise error("seq_taken", timeline=new.timeline, seq=new.seq)
        return new.seq

    def _add(self, batch: WriteBatch, tail: _Tail, new: Append, seq: Seq, time: int) -> None:
        key = tail.start + pack_seq(seq)
        flags, payload = 0, new.payload
        if new.key is not None:
            flags, payload = KEYED, keyed(new.key, payload)
            tail.keys[new.key] = seq
            handle = self._engine.family(ENTRY_KEYS).handle
            batch.put(tail.start + new.key, pack_seq(seq), handle)
        value = encode(key, pack_stamp(time, flags), payload)
        batch.put(key, value, self._engine.family(ENTRIES).handle)
        if tail.manual is None and new.seq is not None:
            self._heads.stage(batch, new.timeline, Head(True, 1))
        tail.manual, tail.last = new.seq is not None, seq
        tail.fresh[seq] = new.payload

    def _keep(self, tails: dict[str, _Tail]) -> None:
        for timeline, tail in tails.items():
            head = self._heads.get(timeline)
            if tail.manual and not head.manual:
                self._heads.put(timeline, Head(True, head.floor))
            self._ends.put(timeline, (tail.manual, tail.last))

    def _of_key(self, tail: _Tail, key: bytes) -> Seq | None:
        fresh = tail.keys.get(key)
        if fresh is not None:
            return fresh
        stored = self._engine.family(ENTRY_KEYS).get(tail.start + key)
        return seq_of(stored) if stored else None

    def _same(self, tail: _Tail, seq: Seq, payload: bytes) -> bool:
        row = self._row(tail, seq)
        return row is not None and same(tail.start + pack_seq(seq), row, payload)

    def _row(self, tail: _Tail, seq: Seq) -> Row | None:
        """An entry as staged."""
        fresh = tail.fresh.get(seq)
        if fresh is not None:
            return Row(0, fresh, False, None)
        key = tail.start + pack_seq(seq)
        value = self._engine.family(ENTRIES).get(key)
        return decode(key, value) if value is not None else None

    # -- what is readable -----------------------------------------------------------------------

    def _readable(self, timeline: str) -> Seq:
        unsynced = self._unsynced.get(timeline)
        return unsynced[0] - 1 if unsynced else MAX_SEQ

    def _reveal(self, timelines: Iterable[str], fault: Exception | None) -> None:
        """The oldest durable append to each of these timelines is on the disk."""
        if fault is not None:
            return  # hidden until it is known what became of it
        for timeline in timelines:
            unsynced = self._unsynced[timeline]
            unsynced.popleft()
            if not unsynced:
                del self._unsynced[timeline]

    def _newest(self) -> Seq:
        stored = self._engine.family(META).get(_LAST)
        return seq_of(stored) if stored else 0


def _check_append(new: Append) -> None:
    check_timeline(new.timeline)
    if new.seq is not None:
        check_seq(new.seq)
    if new.key is not None and not 1 <= len(new.key) <= MAX_KEY_BYTES:
        raise error("bad_key")
    if len(new.payload) > MAX_PAYLOAD_BYTES:
        raise error("payload_too_large", limit=MAX_PAYLOAD_BYTES)
