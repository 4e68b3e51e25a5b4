"""SeqIds given by the store, none twice, even when the machine loses what was not synced.

Whoever shows a SeqId before it is durable (durability ``interval``, non-durable appends) must have
it *covered* first: a mark on stable storage says up to where SeqIds may have been shown.  After a
crash numbering goes on behind the mark, so that a position somewhere is never mistaken for another
entry's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import META
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import pack_seq, seq_of
from timewire.errors import TimewireError
from timewire.model import Seq

COVERED_SEQS: Final = 1_000_000
"""How far one mark reaches: the hole that a crash can leave, and how seldom a mark is written."""


class Numbers:
    """The next SeqId.  ``newest`` reads from disk the last one that was given."""

    def __init__(self, engine: Engine, name: str, newest: Callable[[], Seq]) -> None:
        self._engine = engine
        self._key = b"covered:" + name.encode()
        self._newest = newest
        self.last: Seq = 0
        self._covered: Seq = 0
        engine.on_reload(self._load)
        engine.on_close(self._uncover)

    def cover(self, last: Seq) -> None:
        """Before SeqIds up to ``last`` are shown undurable.  Raises storage_unavailable."""
        if last > self._covered:
            self._mark(last + COVERED_SEQS)

    def _load(self) -> None:
        found = self._engine.family(META).get(self._key)
        self._covered = seq_of(found) if found else 0
        self.last = max(self._newest(), self._covered)

    def _uncover(self) -> None:
        """All that was given is durable now: no hole is needed."""
        if self._covered:
            with suppress(TimewireError):  # a hole does no harm
                self._mark(self.last)

    def _mark(self, covered: Seq) -> None:
        batch = WriteBatch(raw_mode=True)
        batch.put(self._key, pack_seq(covered), self._engine.family(META).handle)
        self._engine.write_synced(batch)
        self._covered = covered
