"""All stores of a server in one data directory."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
from rocksdict import WriteBatch

from timewire.backends.rocksdb.commit import Commit
from timewire.backends.rocksdb.database import META
from timewire.backends.rocksdb.directory import RocksDirectory
from timewire.backends.rocksdb.engine import Durability, Engine
from timewire.backends.rocksdb.inbox import RocksInbox
from timewire.backends.rocksdb.log import RocksLog
from timewire.backends.rocksdb.media import RocksMediaIndex
from timewire.backends.rocksdb.messages import RocksMessages
from timewire.backends.rocksdb.timelines import RocksTimelines
from timewire.clock import Clock, wall_clock
from timewire.errors import error

FORMAT: Final = 1
"""Of what is written in the directory; a larger one was written by a newer Timewire."""

MIGRATIONS: Final[dict[int, Callable[[Engine, WriteBatch], None]]] = {}
"""From each older format to the next: puts into the batch what has to change."""

FORMAT_KEY: Final = b"format"
EPOCH_KEY: Final = b"epoch"

BUCKETS_A_LIFE: Final = 7
"""Time buckets in the life of an inbox entry: it lives up to a seventh longer than it has to."""

DAY_MS: Final = 24 * 60 * 60 * 1000
MIB: Final = 1 << 20

logger = structlog.get_logger("timewire.rocksdb")


class RocksStore:
    """A log and what it writes: messages, directory, media index; inboxes; other timelines."""

    def __init__(
        self, engine: Engine, clock: Clock, *, keys_ms: int, bucket_ms: int, epoch: str = ""
    ) -> None:
        self._engine = engine
        epoch = _epoch(engine, epoch)
        self.directory = RocksDirectory(engine)
        self.media = RocksMediaIndex(engine)
        self.log = RocksLog(engine, self.directory, self.media, clock, epoch=epoch, keys_ms=keys_ms)
        self.messages = RocksMessages(engine, self.log)
        self.inbox = RocksInbox(engine, bucket_ms)
        self.timelines = RocksTimelines(engine, clock)

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        clock: Clock = wall_clock,
        durability: Durability = "always",
        sync_interval_ms: int = 100,
        inbox_days: float = 7,
        keys_days: float = 30,
        cache_mb: int = 256,
        reserve_mb: int = 64,
        commit: Commit | None = None,
        epoch: str = "",
    ) -> RocksStore:
        """Open a data directory, made if it is not there.

        ``durability`` "always": what is acknowledged is on stable storage.  "interval": it is in
        the log file, which is synced every ``sync_interval_ms``; a crash of the machine may lose
        that much.  ``inbox_days`` says in how fine buckets inboxes expire: in a seventh of it.
        ``reserve_mb`` of the disk stay free of new messages.

        A directory that is a copy of a log elsewhere has that log's ``epoch``, and a ``commit`` in
        place of ``durability`` to say when a write is kept there.

        Raises ``Unusable`` (directory_in_use, directory_newer, directory_unusable).
        """
        engine = Engine(
            Path(path),
            durability=durability,
            sync_interval_ms=sync_interval_ms,
            cache_bytes=cache_mb * MIB,
            reserve_bytes=reserve_mb * MIB,
            commit=commit,
        )
        try:
            bucket_ms = max(1, round(inbox_days * DAY_MS / BUCKETS_A_LIFE))
            keys_ms = int(keys_days * DAY_MS)
            return cls(engine, clock, keys_ms=keys_ms, bucket_ms=bucket_ms, epoch=epoch)
        except BaseException:
            await engine.aclose()
            raise

    async def checkpoint(self, path: Path) -> None:
        """Make a directory at ``path`` that holds everything of now.  It must not exist yet.

        Raises ``Retryable`` (storage_unavailable).
        """
        await self._engine.checkpoint(path)

    def begin_anew(self) -> str:
        """Give the log another epoch: positions of the old one no longer mean anything in it."""
        epoch = secrets.token_hex(4)
        batch = WriteBatch(raw_mode=True)
        batch.put(EPOCH_KEY, epoch.encode(), self._engine.family(META).handle)
        self._engine.write_synced(batch)
        return epoch

    async def aclose(self) -> None:
        """Make durable what is staged, release the directory.  Twice is once."""
        await self._engine.aclose()


def _epoch(engine: Engine, wanted: str) -> str:
    """The directory's epoch; a new directory gets the one wanted, or one of its own."""
    meta = engine.family(META)
    stored = meta.get(FORMAT_KEY)
    if stored is None:
        epoch = wanted or secrets.token_hex(4)
        batch = WriteBatch(raw_mode=True)
        batch.put(FORMAT_KEY, b"%d" % FORMAT, meta.handle)
        batch.put(EPOCH_KEY, epoch.encode(), meta.handle)
        engine.write_synced(batch)
        return epoch
    if not stored.isdigit():
        raise error("directory_unusable", reason=f"its format is {stored!r}")
    if int(stored) > FORMAT:
        raise error("directory_newer", format=int(stored), known=FORMAT)
    for format in range(int(stored), FORMAT):
        _migrate(engine, format)
    epoch = (meta.get(EPOCH_KEY) or b"").decode()
    if wanted not in ("", epoch):
        raise error("directory_unusable", reason=f"it belongs to the log {epoch}, not {wanted}")
    return epoch


def _migrate(engine: Engine, format: int) -> None:
    """Bring a directory from one format to the next, all or nothing."""
    logger.info("the data directory is brought to a newer format", old=format, new=format + 1)
    batch = WriteBatch(raw_mode=True)
    MIGRATIONS[format](engine, batch)
    batch.put(FORMAT_KEY, b"%d" % (format + 1), engine.family(META).handle)
    engine.write_synced(batch)
