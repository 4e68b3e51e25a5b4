"""Timelines in memory."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import count

import msgspec

from timewire.clock import Clock, wall_clock
from timewire.errors import error
from timewire.model import MAX_PAGE_ENTRIES, MAX_SEQ, Entry, Page, Seq
from timewire.names import check_timeline
from timewire.timeline import MAX_APPEND_ENTRIES, MAX_KEY_BYTES, MAX_PAYLOAD_BYTES, Append


def digest(payload: bytes) -> bytes:
    """What is remembered of a payload, so that a repeat is known after its redaction too."""
    return blake2b(payload, digest_size=16).digest()


@dataclass
class _Timeline:
    """One timeline.  Entries past ``readable`` are staged: numbered, but not durable yet."""

    entries: list[Entry] = field(default_factory=list[Entry])
    keys: dict[bytes, tuple[Seq, bytes]] = field(default_factory=dict[bytes, tuple[Seq, bytes]])
    manual: bool | None = None
    last: Seq = 0
    readable: Seq = 0
    floor: Seq = 1

    def copy(self) -> _Timeline:
        return replace(self, entries=self.entries.copy(), keys=self.keys.copy())

    def add(self, new: Append, time: int, numbers: Iterator[Seq]) -> Seq:
        """Stage one entry, or find the one that it repeats; its SeqId."""
        manual = new.seq is not None
        if self.manual not in (None, manual):
            raise error("seq_mode", timeline=new.timeline)
        if new.key is not None and new.key in self.keys:
            seq, known = self.keys[new.key]
            if known != digest(new.payload):
                raise error("key_reused", timeline=new.timeline, seq=seq)
            return seq
        if new.seq is not None and new.seq <= self.last:
            return self._repeat(new, new.seq)
        seq = next(numbers) if new.seq is None else new.seq
        self.manual, self.last = manual, seq
        self.entries.append(Entry(new.timeline, seq, time, new.payload))
        if new.key is not None:
            self.keys[new.key] = seq, digest(new.payload)
        return seq

    def _repeat(self, new: Append, seq: Seq) -> Seq:
        at = self._at(seq)
        if at is None:
            raise error("seq_regressed", timeline=new.timeline, last=self.last)
        if self.entries[at].redacted or self.entries[at].payload != new.payload:
            raise error("seq_taken", timeline=new.timeline, seq=seq)
        return seq

    def _at(self, seq: Seq) -> int | None:
        at = bisect_left(self.entries, seq, key=_seq_of)
        return at if at < len(self.entries) and self.entries[at].seq == seq else None

    def get(self, seq: Seq) -> Entry | None:
        at = self._at(seq)
        return self.entries[at] if at is not None and seq <= self.readable else None

    def between(self, after: Seq, upto: Seq) -> list[Entry]:
        """Readable entries with ``after < seq <= upto``."""
        first = bisect_right(self.entries, after, key=_seq_of)
        return self.entries[
            first : bisect_right(self.entries, min(upto, self.readable), key=_seq_of)
        ]

    def rewrite(self, seq: Seq, payload: bytes) -> None:
        at = self._at(seq)
        if at is not None:
            self.entries[at] = msgspec.structs.replace(
                self.entries[at], payload=payload, redacted=not payload
            )

    def remove_below(self, floor: Seq) -> None:
        self.floor = max(self.floor, floor)
        self.entries = [entry for entry in self.entries if entry.seq >= self.floor]
        self.keys = {key: known for key, known in self.keys.items() if known[0] >= self.floor}

    def as_durable(self) -> _Timeline:
        """A copy without what is only staged."""
        kept = [entry for entry in self.entries if entry.seq <= self.readable]
        keys = {key: known for key, known in self.keys.items() if known[0] <= self.readable}
        return replace(self, entries=kept, keys=keys, last=self.readable)


class MemoryTimelines:
    """A ``TimelineStore`` in memory.  An entry counts as durable one turn of the event loop later.

    ``numbers`` gives the SeqIds of appends without one.
    """

    def __init__(self, clock: Clock = wall_clock, numbers: Iterator[Seq] | None = None) -> None:
        self._clock = clock
        self._numbers = count(1) if numbers is None else numbers
        self._timelines: dict[str, _Timeline] = {}
        self._sync: asyncio.Future[None] | None = None
        self._closed = False

    def reopened(self) -> MemoryTimelines:
        """What a restart would find now: everything durable, nothing that is only staged."""
        found = MemoryTimelines(self._clock, self._numbers)
        for name, timeline in self._timelines.items():
            if timeline.readable:
                found._timelines[name] = timeline.as_durable()
        return found

    # Writing

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
        self._check_open()
        if len(appends) > MAX_APPEND_ENTRIES:
            raise error("batch_too_large", limit=MAX_APPEND_ENTRIES)
        for new in appends:
            _check_append(new)
        staged: dict[str, _Timeline] = {}  # copies, so that a refused entry leaves nothing behind
        seqs: list[Seq] = []
        for new in appends:
            if new.timeline not in staged:
                staged[new.timeline] = self._timeline(new.timeline).copy()
            seqs.append(staged[new.timeline].add(new, self._clock(), self._numbers))
        self._timelines |= staged
        if durable:
            await self._durable()
        elif self._sync is None:  # else it becomes readable in its order, after what it follows
            self._reveal()
        return seqs

    def put(self, entry: Entry) -> None:
        """Add an entry that the log has placed and made durable."""
        timeline = self._timelines.setdefault(entry.timeline, _Timeline())
        timeline.manual, timeline.last, timeline.readable = True, entry.seq, entry.seq
        timeline.entries.append(entry)

    def find(self, timeline: str, seq: Seq) -> Entry | None:
        """What ``get`` gives, for the log."""
        return self._timeline(timeline).get(seq)

    def rewrite(self, timeline: str, seq: Seq, payload: bytes) -> None:
        """Give an entry that the log has put another payload; an empty one redacts it."""
        self._timeline(timeline).rewrite(seq, payload)

    async def redact(self, timeline: str, seq: Seq) -> bool:
        if await self.get(timeline, seq) is None:
            return False
        self._timeline(timeline).rewrite(seq, b"")
        await self._durable()
        return True

    async def trim(self, timeline: str, floor: Seq) -> None:
        self._check_open()
        _check_bounds(floor)
        found = self._timeline(timeline)
        found.remove_below(min(floor, found.readable + 1))
        await self._durable()

    async def expire(self, before: int) -> int:
        self._check_open()
        removed = 0
        for timeline in self._timelines.values():
            readable = timeline.between(0, MAX_SEQ)
            young = next((e.seq for e in readable if e.time >= before), timeline.readable + 1)
            old = [entry.seq for entry in readable if entry.seq < young]
            if old:
                timeline.remove_below(old[-1] + 1)
            removed += len(old)
        await self._durable()
        return removed

    # Reading

    async def get(self, timeline: str, seq: Seq) -> Entry | None:
        self._check_open()
        _check_seq(seq)
        return self._timeline(timeline).get(seq)

    async def get_many(self, timeline: str, seqs: Sequence[Seq]) -> list[Entry | None]:
        if len(seqs) > MAX_PAGE_ENTRIES:
            raise error("bad_limit", limit=MAX_PAGE_ENTRIES)
        return [await self.get(timeline, seq) for seq in seqs]

    async def scan(
        self, timeline: str, *, after: Seq = 0, upto: Seq | None = None, limit: int = 100
    ) -> Page:
        found = self._range(timeline, after, upto, limit)
        return Page(found[:limit], len(found) > limit)

    async def scan_back(
        self, timeline: str, *, before: Seq | None = None, downto: Seq = 1, limit: int = 100
    ) -> Page:
        _check_bounds(downto, before or 0)
        upto = None if before is None else max(before - 1, 0)
        found = self._range(timeline, max(downto - 1, 0), upto, limit)[::-1]
        return Page(found[:limit], len(found) > limit)

    async def last(self, timeline: str) -> Entry | None:
        found = self._range(timeline)
        return found[-1] if found else None

    async def count(self, timeline: str, *, after: Seq = 0, upto: Seq | None = None) -> int:
        return len(self._range(timeline, after, upto))

    async def floor(self, timeline: str) -> Seq:
        self._check_open()
        return self._timeline(timeline).floor

    async def timelines(self, *, after: str = "", limit: int = 100) -> list[str]:
        self._check_open()
        _check_limit(limit)
        names = [name for name, found in self._timelines.items() if found.between(0, MAX_SEQ)]
        return sorted(name for name in names if name > after)[:limit]

    async def aclose(self) -> None:
        self._closed = True
        if self._sync is not None:
            await asyncio.shield(self._sync)

    def _timeline(self, name: str) -> _Timeline:
        """The timeline of this name; one that nothing was appended to is not kept."""
        return self._timelines.get(check_timeline(name)) or _Timeline()

    def _range(
        self, timeline: str, after: Seq = 0, upto: Seq | None = None, limit: int = 1
    ) -> list[Entry]:
        self._check_open()
        _check_bounds(after, upto or 0)
        _check_limit(limit)
        return self._timeline(timeline).between(after, MAX_SEQ if upto is None else upto)

    async def _durable(self) -> None:
        """Wait for the next turn of the loop, when everything staged until then is readable."""
        if self._sync is None:
            loop = asyncio.get_running_loop()
            self._sync = loop.create_future()
            loop.call_soon(self._synced, self._sync)
        await asyncio.shield(self._sync)  # shared: one who gives up waiting must not end it for all

    def _synced(self, sync: asyncio.Future[None]) -> None:
        self._sync = None
        self._reveal()
        sync.set_result(None)

    def _reveal(self) -> None:
        for timeline in self._timelines.values():
            timeline.readable = timeline.last

    def _check_open(self) -> None:
        if self._closed:
            raise error("closed")


def _seq_of(entry: Entry) -> Seq:
    return entry.seq


def _check_append(new: Append) -> None:
    check_timeline(new.timeline)
    if new.seq is not None:
        _check_seq(new.seq)
    if new.key is not None and not 1 <= len(new.key) <= MAX_KEY_BYTES:
        raise error("bad_key")
    if len(new.payload) > MAX_PAYLOAD_BYTES:
        raise error("payload_too_large", limit=MAX_PAYLOAD_BYTES)


def _check_seq(seq: Seq) -> None:
    if not 1 <= seq <= MAX_SEQ:
        raise error("bad_seq", seq=str(seq))


def _check_bounds(*seqs: Seq) -> None:
    if not all(0 <= seq <= MAX_SEQ for seq in seqs):
        raise error("bad_seq")


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE_ENTRIES:
        raise error("bad_limit", limit=MAX_PAGE_ENTRIES)
