"""Reading and removing: what the message store and the timelines library have in common."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import islice, takewhile
from typing import Final

from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import ENTRY_KEYS, Family
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import (
    backward,
    count,
    decode,
    forward,
    get,
    names,
    newest,
    peek,
    prefix,
    redacted,
    seq_of,
    to_entry,
)
from timewire.backends.rocksdb.entries import pack_seq as pack
from timewire.backends.rocksdb.heads import Head, Heads
from timewire.errors import Damaged, error
from timewire.model import MAX_PAGE_ENTRIES, MAX_SEQ, Entry, Page, Seq
from timewire.names import check_timeline

MAX_STEP_ENTRIES: Final = 1_000
"""Entries counted or removed, and timelines visited, before everything else gets its turn."""


class EntryStore(ABC):
    """The entries of one family, up to what a subclass calls readable."""

    def __init__(self, engine: Engine, family: str, kind: bytes) -> None:
        self._engine = engine
        self._family = family
        self._heads = Heads(engine, kind)

    @abstractmethod
    def _readable(self, timeline: str) -> Seq:
        """The largest SeqId that may be shown of a timeline now."""

    # -- reading --------------------------------------------------------------------------------

    async def get(self, timeline: str, seq: Seq) -> Entry | None:
        return (await self.get_many(timeline, [seq]))[0]

    async def get_many(self, timeline: str, seqs: Sequence[Seq]) -> list[Entry | None]:
        if len(seqs) > MAX_PAGE_ENTRIES:
            raise error("bad_limit", limit=MAX_PAGE_ENTRIES)
        for seq in seqs:
            check_seq(seq)
        family = self._entries(timeline)
        readable = self._readable(timeline)
        return [
            entry if entry is not None and entry.seq <= readable else None
            for entry in get(family, timeline, seqs)
        ]

    async def scan(
        self, timeline: str, *, after: Seq = 0, upto: Seq | None = None, limit: int = 100
    ) -> Page:
        _check_range(after, upto, limit)
        family = self._entries(timeline)
        first, last = self._bounds(timeline, after, upto)
        found = list(islice(forward(family, timeline, first, last), limit + 1))
        return _page(timeline, found, limit)

    async def scan_back(
        self, timeline: str, *, before: Seq | None = None, downto: Seq = 1, limit: int = 100
    ) -> Page:
        _check_range(downto, before, limit)
        family = self._entries(timeline)
        upto = None if before is None else max(before - 1, 0)
        first, last = self._bounds(timeline, max(downto - 1, 0), upto)
        found = list(islice(backward(family, timeline, first, last), limit + 1))
        return _page(timeline, found, limit)

    async def last(self, timeline: str) -> Entry | None:
        page = await self.scan_back(timeline, limit=1)
        return page.entries[0] if page.entries else None

    async def count(self, timeline: str, *, after: Seq = 0, upto: Seq | None = None) -> int:
        _check_range(after, upto, 1)
        family = self._entries(timeline)
        first, last = self._bounds(timeline, after, upto)
        total = 0
        while True:
            found, first = count(family, timeline, first, last, MAX_STEP_ENTRIES)
            total += found
            if found < MAX_STEP_ENTRIES:
                return total
            await asyncio.sleep(0)
            family = self._entries(timeline)

    async def floor(self, timeline: str) -> Seq:
        self._entries(timeline)
        return self._heads.get(timeline).floor

    async def timelines(self, *, after: str = "", limit: int = 100) -> list[str]:
        _check_range(0, None, limit)
        found = (
            name
            for name, first in names(self._engine.family(self._family), after)
            if first <= self._readable(name)
        )
        return list(islice(found, limit))

    # -- removing -------------------------------------------------------------------------------

    async def redact(self, timeline: str, seq: Seq) -> bool:
        check_seq(seq)
        key = prefix(check_timeline(timeline)) + pack(seq)
        family = self._engine.family(self._family)
        value: bytes | None = family.get(key)
        if value is None or seq > self._readable(timeline):
            return False
        row = decode(key, value)
        if not row.redacted:
            batch = WriteBatch(raw_mode=True)
            batch.put(key, redacted(key, row), family.handle)
            self._engine.write(batch)
        await self._engine.durable()
        return True

    async def trim(self, timeline: str, floor: Seq) -> None:
        _check_range(floor, None, 1)
        family = self._entries(timeline)
        now = self._heads.get(timeline).floor
        newest_readable = newest(family, timeline, self._readable(timeline))
        floor = min(floor, max(newest_readable + 1, now))
        if floor > now:
            await self._remove(timeline, lambda seq, _: seq < floor)
            self._raise_floor(WriteBatch(raw_mode=True), timeline, floor)
            await self._engine.durable()

    async def expire(self, before: int) -> int:
        removed, after = 0, ""
        while True:
            family = self._engine.family(self._family)
            step = [name for name, _ in islice(names(family, after), MAX_STEP_ENTRIES)]
            for timeline in step:
                removed += await self._remove(timeline, lambda _, time: time < before)
            if len(step) < MAX_STEP_ENTRIES:
                break
            after = step[-1]
            await asyncio.sleep(0)
        if removed:
            await self._engine.durable()
        return removed

    async def aclose(self) -> None:
        await self._engine.aclose()

    # -- inside ---------------------------------------------------------------------------------

    def _entries(self, timeline: str) -> Family:
        family = self._engine.family(self._family)
        check_timeline(timeline)
        return family

    def _bounds(self, timeline: str, after: Seq, upto: Seq | None) -> tuple[Seq, Seq]:
        """The first and last SeqId of a range, cut to what is there and may be read."""
        first = max(after + 1, self._heads.get(timeline).floor)
        last = self._readable(timeline)
        return first, last if upto is None else min(upto, last)

    async def _remove(self, timeline: str, old: Callable[[Seq, int], bool]) -> int:
        """Remove the oldest readable entries whose SeqId and time are ``old``; how many."""
        removed = 0
        while True:
            family = self._engine.family(self._family)
            floor = self._heads.get(timeline).floor
            stored = forward(family, timeline, floor, self._readable(timeline))
            step = list(
                takewhile(
                    lambda kv: old(seq_of(kv[0]), peek(kv[1])[0]),
                    islice(stored, MAX_STEP_ENTRIES),
                )
            )
            if step:
                batch = WriteBatch(raw_mode=True)
                for key, value in step:
                    batch.delete(key, family.handle)
                    self._forget_key(batch, timeline, peek(value)[1])
                self._raise_floor(batch, timeline, seq_of(step[-1][0]) + 1)
            removed += len(step)
            if len(step) < MAX_STEP_ENTRIES:
                return removed
            await asyncio.sleep(0)

    def _forget_key(self, batch: WriteBatch, timeline: str, key: bytes | None) -> None:
        if key is not None:
            batch.delete(prefix(timeline) + key, self._engine.family(ENTRY_KEYS).handle)

    def _raise_floor(self, batch: WriteBatch, timeline: str, floor: Seq) -> None:
        """Write a batch that removes everything below a floor."""
        head = self._heads.get(timeline)
        head = Head(head.manual, max(head.floor, floor))
        self._heads.stage(batch, timeline, head)
        self._engine.write(batch)
        self._heads.put(timeline, head)


def check_seq(seq: Seq) -> None:
    """Raise unless it can be an entry's SeqId (bad_seq)."""
    if not 1 <= seq <= MAX_SEQ:
        raise error("bad_seq", seq=str(seq))


def _check_range(one: Seq, other: Seq | None, limit: int) -> None:
    if not 0 <= one <= MAX_SEQ or not 0 <= (other or 0) <= MAX_SEQ:
        raise error("bad_seq")
    if not 1 <= limit <= MAX_PAGE_ENTRIES:
        raise error("bad_limit", limit=MAX_PAGE_ENTRIES)


def _whole_or_not(timeline: str, key: bytes, value: bytes) -> Entry:
    """An entry of a page: a damaged one keeps its place, and nobody from the others."""
    try:
        return to_entry(timeline, key, value)
    except Damaged:
        return Entry(timeline, seq_of(key), peek(value)[0], b"", damaged=True)


def _page(timeline: str, found: list[tuple[bytes, bytes]], limit: int) -> Page:
    entries = [_whole_or_not(timeline, key, value) for key, value in found[:limit]]
    return Page(entries, len(found) > limit)
