"""The message store: the entries that the log writes, up to its durable head."""

from __future__ import annotations

from collections.abc import Sequence

from timewire.backends.rocksdb.database import MESSAGES
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entry_store import EntryStore
from timewire.backends.rocksdb.log import RocksLog
from timewire.errors import error
from timewire.model import Seq
from timewire.timeline import Append


class RocksMessages(EntryStore):
    """A ``TimelineStore`` whose entries come from the log alone: appends are refused (seq_mode)."""

    def __init__(self, engine: Engine, log: RocksLog) -> None:
        super().__init__(engine, MESSAGES, b"m")
        self._log = log

    def _readable(self, timeline: str) -> Seq:
        return self._log.head

    async def append(
        self,
        timeline: str,
        payload: bytes,
        *,
        seq: Seq | None = None,
        key: bytes | None = None,
        durable: bool = True,
    ) -> Seq:
        raise error("seq_mode", timeline=timeline)

    async def append_many(self, appends: Sequence[Append], *, durable: bool = True) -> list[Seq]:
        raise error("seq_mode")

    async def redact(self, timeline: str, seq: Seq) -> bool:
        found = await super().redact(timeline, seq)
        if found:
            self._log.redacted(seq)
        return found
