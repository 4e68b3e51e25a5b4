"""What is kept of a timeline besides its entries: who numbers it, and where it begins now.

    family  timelines
    key     kind of store, 1 byte | timeline, UTF-8
    value   MessagePack: whether its SeqIds are given by the caller, floor

A timeline that is numbered by the store and was never trimmed has no head on disk.
"""

from __future__ import annotations

from typing import Final

import msgspec
from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import TIMELINES
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.lru import Lru
from timewire.model import Seq

MAX_CACHED_HEADS: Final = 100_000


class Head(msgspec.Struct, frozen=True, array_like=True):
    """``manual``: the caller gives the SeqIds.  Everything below ``floor`` is gone."""

    manual: bool = False
    floor: Seq = 1


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Head).decode
_PLAIN: Final = Head()


class Heads:
    """The heads of one store's timelines.  ``kind`` keeps them apart from another store's."""

    def __init__(self, engine: Engine, kind: bytes) -> None:
        self._engine = engine
        self._kind = kind
        self._kept: Lru[str, Head] = Lru(MAX_CACHED_HEADS)
        engine.on_reload(self._kept.clear)

    def get(self, timeline: str) -> Head:
        """The head of a timeline, as staged."""
        found = self._kept.get(timeline)
        if found is None:
            stored = self._engine.family(TIMELINES).get(self._key(timeline))
            found = _decode(stored) if stored else _PLAIN
            self._kept.put(timeline, found)
        return found

    def stage(self, batch: WriteBatch, timeline: str, head: Head) -> None:
        """Add a changed head to a batch; ``put`` it when the batch is written."""
        batch.put(self._key(timeline), _encode(head), self._engine.family(TIMELINES).handle)

    def put(self, timeline: str, head: Head) -> None:
        """The head of a timeline now."""
        self._kept.put(timeline, head)

    def _key(self, timeline: str) -> bytes:
        return self._kind + timeline.encode()
