"""Port: timelines, the queues of entries that everything else is made of.

A timeline is a queue: new entries go to its tail only, each with a SeqId larger than all before;
entries are read one by one or by range, forward and backward.  It can be used on its own, without
the server, for feeds, notifications and the like (``timewire.open``).

What every backend promises (``timewire.testing.contracts`` checks it):

- *Order.*  SeqIds of one timeline grow.  They have holes.  An entry becomes readable in the order
  of its SeqId: once a reader saw SeqId s, or read a range up to s, nothing at or below s appears.
- *Two ways to number.*  The store gives SeqIds (``seq`` not given), growing over all of its
  timelines together; or the caller gives them (``seq``), growing within the timeline.  The first
  append decides for the timeline; mixing is refused (seq_mode).  A given SeqId at or below the last
  is refused (seq_regressed; seq_taken when that very SeqId holds another entry), except the
  identical repeat of an entry (same SeqId and payload), which is accepted and changes nothing.
- *Idempotency.*  An append with a ``key`` that the timeline knows gives the SeqId of the first one
  and writes nothing; with another payload it is refused (key_reused).  Keys outlive restarts and
  are kept as long as the entry, at least.
- *All or nothing.*  ``append_many`` applies all of its entries or none.
- *Durability.*  A durable append (the default) returns after its entry is on stable storage.  A
  non-durable one returns at once; a crash may lose it and everything appended after it, never
  something before it.  Nothing is readable before it is durable, unless it was appended as
  non-durable.
- *Life.*  ``trim`` and ``expire`` remove the oldest end of a timeline, never a middle; ``floor``
  says exactly where it begins now.  Removed entries' SeqIds are never given again.
- *Damage.*  Each entry has a checksum over its place and payload; a mismatch raises ``Damaged``.
  Pages are given all the same: an entry in them that has it is ``damaged``, with its place alone.

All methods raise ``Unusable`` (closed) after ``aclose``, ``Retryable`` (storage_unavailable) when
the store cannot write, and ``Invalid`` for arguments out of range.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from timewire.model import Entry, Page, Seq

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_APPEND_ENTRIES: Final = 10_000
MAX_KEY_BYTES: Final = 256


class Append(msgspec.Struct, frozen=True):
    """One entry to be appended: ``seq`` to number it yourself, ``key`` to make retries safe."""

    timeline: str
    payload: bytes
    seq: Seq | None = None
    key: bytes | None = None


class TimelineStore(Protocol):
    """A set of timelines, made by their first append.  See the module for what holds."""

    async def append(
        self,
        timeline: str,
        payload: bytes,
        *,
        seq: Seq | None = None,
        key: bytes | None = None,
        durable: bool = True,
    ) -> Seq:
        """Append one entry and return its SeqId."""
        ...

    async def append_many(self, appends: Sequence[Append], *, durable: bool = True) -> list[Seq]:
        """Append up to ``MAX_APPEND_ENTRIES`` entries, to any timelines, all or none, in order."""
        ...

    async def get(self, timeline: str, seq: Seq) -> Entry | None:
        """The entry with this SeqId, or None."""
        ...

    async def get_many(self, timeline: str, seqs: Sequence[Seq]) -> list[Entry | None]:
        """The entries with these SeqIds (at most ``MAX_PAGE_ENTRIES``), in the order asked for."""
        ...

    async def scan(
        self, timeline: str, *, after: Seq = 0, upto: Seq | None = None, limit: int = 100
    ) -> Page:
        """Entries with ``after < seq <= upto``, oldest first, at most ``limit``.

        Resume with ``after`` = the last SeqId received.  An unknown timeline is an empty one.  An
        entry that cannot be read any more is there, ``damaged``.
        """
        ...

    async def scan_back(
        self, timeline: str, *, before: Seq | None = None, downto: Seq = 1, limit: int = 100
    ) -> Page:
        """Entries with ``downto <= seq < before``, newest first, at most ``limit``.

        Resume with ``before`` = the last SeqId received.
        """
        ...

    async def last(self, timeline: str) -> Entry | None:
        """The newest entry, or None for an empty timeline."""
        ...

    async def count(self, timeline: str, *, after: Seq = 0, upto: Seq | None = None) -> int:
        """How many entries ``scan`` over the same range would give in all."""
        ...

    async def redact(self, timeline: str, seq: Seq) -> bool:
        """Remove an entry's payload for ever, durably; its place stays (``redacted``).

        Returns whether the entry exists.  Doing it twice is doing it once.
        """
        ...

    async def trim(self, timeline: str, floor: Seq) -> None:
        """Remove every entry below ``floor``.  A floor below today's changes nothing."""
        ...

    async def expire(self, before: int) -> int:
        """Remove, in every timeline, the oldest entries with ``time < before`` (ms).

        A timeline's oldest end stops at the first entry that is young enough.  Returns how many
        entries were removed.
        """
        ...

    async def floor(self, timeline: str) -> Seq:
        """The lowest SeqId that can still be there: all below was removed or never was."""
        ...

    async def timelines(self, *, after: str = "", limit: int = 100) -> list[str]:
        """Names of timelines that hold entries, in byte order, past ``after``."""
        ...

    async def aclose(self) -> None:
        """Finish what was begun, release everything.  Closing twice is closing once."""
        ...
