"""The one owner of the database: writing, durability, failure and recovery.

Writes are staged at once (``write``) and become durable together (``commit``).  A write or sync
that fails stops all writing until the database has been opened again: RocksDB stays in its error
until then.  Reads go on from the failed one.  The engine tries by itself, again and again;
when it is open again, everyone who keeps something in memory reads it from disk anew
(``on_reload``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal

import structlog
from rocksdict import Cache, WriteBatch

from timewire.backends.rocksdb.commit import Commit, GroupCommit, IntervalCommit
from timewire.backends.rocksdb.database import Database, Family, open_database, open_readonly
from timewire.errors import TimewireError, error

RETRY_SECONDS: Final = 1.0
"""Between two looks at the free space, and from a failure to the first try to open again."""

MAX_RETRY_SECONDS: Final = 30.0
"""Each try that fails doubles the pause before the next one, up to this."""

PROBE_BYTES: Final = 1 << 20
"""Written to find out whether a failed disk takes writes again."""

Durability = Literal["always", "interval"]

_log = structlog.get_logger(__name__)


class Engine:
    """An open data directory.

    ``reserve_bytes`` of the disk are kept free of new appends, so that what is under way, and the
    inboxes of what is stored, still find room.  With ``commit`` what is written counts as kept when
    that says so, because it is kept elsewhere too: this directory is a copy.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability,
        sync_interval_ms: int,
        cache_bytes: int,
        reserve_bytes: int,
        commit: Commit | None = None,
    ) -> None:
        self._path = path
        self._cache = Cache(cache_bytes)
        self._database: Database | None = open_database(path, self._cache)
        self._reserve_bytes = reserve_bytes
        self._reloads: list[Callable[[], None]] = []
        self._last_words: list[Callable[[], None]] = []
        self._state: Literal["open", "short", "failed", "closing", "closed"] = "open"
        self._retry_at = 0.0
        self._retry_pause = RETRY_SECONDS
        self._reported = "", ""
        self._closing: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.durability: Final = durability
        self._commit: Commit = commit or (
            GroupCommit(self._sync, self._fail)
            if durability == "always"
            else IntervalCommit(self._sync, self._fail, sync_interval_ms)
        )
        self._look()

    # -- reading --------------------------------------------------------------------------------

    def family(self, name: str) -> Family:
        """A family, for this call only.  Raises closed; storage_unavailable without files."""
        if self._state == "closed":
            raise error("closed")
        if self._database is None:
            raise error("storage_unavailable")
        return self._database[name]

    def families(self, prefix: str) -> list[str]:
        """The names of the families that begin with ``prefix``, sorted."""
        return [] if self._database is None else self._database.names(prefix)

    @property
    def is_open(self) -> bool:
        """Whether reading goes on."""
        return self._closing is None

    @property
    def is_writable(self) -> bool:
        """Whether new entries are taken now."""
        return self._state == "open"

    def check_open(self) -> None:
        """Raise unless open for reading (closed)."""
        if self._state == "closed":
            raise error("closed")

    # -- writing --------------------------------------------------------------------------------

    def admit(self) -> None:
        """Raise unless new entries are taken now (closed, storage_unavailable)."""
        if self._state != "open":
            raise error("closed" if self._state == "closed" else "storage_unavailable")

    def write(self, batch: WriteBatch) -> None:
        """Stage a batch: readable at once, durable with the next commit.

        Raises storage_unavailable, and then nothing of it happened.
        """
        try:
            self._writable().write(batch)
        except TimewireError:
            raise
        except Exception as fault:
            raise self._refuse(fault) from None

    def write_synced(self, batch: WriteBatch) -> None:
        """Write and wait for stable storage, holding everything up: for what is rare and small."""
        try:
            self._writable().write_synced(batch)
        except TimewireError:
            raise
        except Exception as fault:
            raise self._refuse(fault) from None

    def commit(self, done: Callable[[Exception | None], None]) -> None:
        """Have ``done`` called, in the order of the calls, when what is written now is durable.

        It gets None, or the ``UnknownOutcome`` with which everything staged has failed.
        """
        if self._state == "failed":
            # Another sync could succeed without having written what the failed one did not.
            self._loop.call_soon(done, error("outcome_unknown"))
        else:
            self._commit.join(done)

    async def durable(self) -> None:
        """Wait until what is written now is durable.  Raises ``UnknownOutcome``."""
        waiter: asyncio.Future[None] = self._loop.create_future()

        def done(fault: Exception | None) -> None:
            if waiter.done():
                return
            if fault is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(fault)

        self.commit(done)
        await waiter

    def create(self, name: str) -> Family:
        """A new family, or the one of this name.  Raises storage_unavailable."""
        database = self._writable()
        try:
            return database[name] if name in database else database.create(name)
        except Exception as fault:
            raise self._refuse(fault) from None

    def drop(self, name: str) -> None:
        """Remove a family.  Raises storage_unavailable."""
        database = self._writable()
        try:
            database.drop(name)
        except Exception as fault:
            raise self._refuse(fault) from None

    async def checkpoint(self, path: Path) -> None:
        """Make a directory with the files of now, hard links where they never change.

        Everything that was written before the call is in it.  Raises storage_unavailable.
        """
        database = self._writable()
        try:
            # In threads, and before: what the checkpoint itself flushes holds everything up.
            for name in database.names():
                await asyncio.to_thread(database.flush, name)
            self._writable().checkpoint(path)
        except TimewireError:
            raise
        except Exception as fault:
            raise error("storage_unavailable", reason=str(fault)) from None

    # -- failure and recovery -------------------------------------------------------------------

    def on_reload(self, reload: Callable[[], None]) -> None:
        """Call ``reload`` now, and each time the database has been opened again."""
        self._reloads.append(reload)
        reload()

    def on_close(self, last_words: Callable[[], None]) -> None:
        """Call ``last_words`` before the directory is closed: what it writes is still synced."""
        self._last_words.append(last_words)

    async def aclose(self) -> None:
        """Make durable what is staged, release the directory.  Twice is once."""
        if self._closing is not None:
            await asyncio.shield(self._closing)
            return
        self._closing = self._loop.create_future()
        sound = self._state != "failed"
        if sound:
            self._state = "closing"
        try:
            for last_words in self._last_words:
                last_words()
            if sound:
                self.commit(_ignore)
        finally:
            self._state = "closed"
            await self._commit.stop()
            self._release()
            self._closing.set_result(None)

    def _writable(self) -> Database:
        if self._state in ("failed", "closed") or self._database is None:
            raise error("closed" if self._state == "closed" else "storage_unavailable")
        return self._database

    def _sync(self) -> None:
        """Called in the thread of the commit."""
        database = self._database
        try:
            if database is not None:
                database.sync()
        except Exception as fault:
            raise error("outcome_unknown", reason=str(fault)) from None

    def _refuse(self, fault: Exception) -> TimewireError:
        """A write has failed: nothing of it is there, and no other will succeed."""
        fault.__traceback__ = None  # its frames hold what has to be released
        self._fail(fault)
        self._commit.fail(error("outcome_unknown", reason=str(fault)))
        return error("storage_unavailable", reason=str(fault))

    def _fail(self, fault: Exception) -> None:
        if self._state in ("open", "short", "closing"):
            self._state = "failed"
            self._report("storage failed", fault)

    def _look(self) -> None:
        """Every ``RETRY_SECONDS``: is there room, can a failed database be opened again?"""
        if self._closing is not None:
            return
        self._loop.call_later(RETRY_SECONDS, self._look)
        short = _free_bytes(self._path) < self._reserve_bytes
        if self._state == "failed":
            due = not self._commit.busy and self._loop.time() >= self._retry_at
            if due and not short and _takes_writes(self._path):
                self._recover()
        elif short != (self._state == "short"):
            self._state = "short" if short else "open"
            self._report("too little free space" if short else "enough free space")

    def _recover(self) -> None:
        """Open the failed database again; when that fails too, go on reading from it."""
        self._release()
        try:
            self._database = open_database(self._path, self._cache)
            # What had an unknown outcome may be there: from here on it is.
            self._database.sync()
            self._state = "open"
            for reload in self._reloads:
                reload()
        except Exception as fault:
            self._report("storage still fails", fault)
            self._state = "failed"
            self._retry_pause = min(2 * self._retry_pause, MAX_RETRY_SECONDS)
            self._retry_at = self._loop.time() + self._retry_pause
            self._release()
            self._read_only()
            return
        self._retry_pause = RETRY_SECONDS
        self._report("storage works again")

    def _read_only(self) -> None:
        try:
            self._database = open_readonly(self._path, self._cache)
        except TimewireError as fault:
            self._report("storage cannot be read", fault)

    def _report(self, event: str, fault: Exception | None = None) -> None:
        """Log what has changed."""
        reason = str(fault or "")
        if isinstance(fault, TimewireError):
            reason = str(fault.fields.get("reason", fault))
        if (event, reason) == self._reported:
            return
        self._reported = event, reason
        try:
            _log.warning(event, path=str(self._path), reason=reason)
        except OSError:
            return  # the log may be on the same full disk

    def _release(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _free_bytes(path: Path) -> int:
    try:
        disk = os.statvfs(path)
    except OSError:
        return 0
    return disk.f_bavail * disk.f_frsize


def _takes_writes(path: Path) -> bool:
    """Whether a file can be written there: a failed database that is closed may not open again."""
    probe = path / "probe.tmp"
    try:
        with probe.open("wb") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    finally:
        with suppress(OSError):
            probe.unlink()
    return True


def _ignore(fault: Exception | None) -> None:
    """The last sync: nobody is left to be told."""
