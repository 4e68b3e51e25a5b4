"""An open RocksDB: its options, its families, and what can go wrong when it is opened."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    ColumnFamily,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from timewire.errors import TimewireError, error

META: Final = "default"
MESSAGES: Final = "messages"
LOG: Final = "log"
DIRECTORY: Final = "directory"
ENTRIES: Final = "entries"
ENTRY_KEYS: Final = "entry_keys"
TIMELINES: Final = "timelines"
EXPIRING: Final = "expiring"
FAMILIES: Final = (META, MESSAGES, LOG, DIRECTORY, ENTRIES, ENTRY_KEYS, TIMELINES, EXPIRING)
"""The families that are always there.  Time buckets of inboxes and ids come and go beside them."""

MEMTABLE_BYTES: Final = 1 << 20
"""Small, because the cost of a write is that of finding its place in the memtable ..."""

MERGED_MEMTABLES: Final = 16
"""... and several in one file, so that there are no more files to be merged for that."""

MEMTABLES_A_FAMILY: Final = 48
BLOCK_BYTES: Final = 8 << 10
BLOOM_BITS_A_KEY: Final = 10
MEMTABLE_BLOOM_RATIO: Final = 0.1
MAX_WAL_BYTES: Final = 256 << 20
MAX_INFO_LOG_BYTES: Final = 4 << 20
MAX_INFO_LOGS: Final = 3
BACKGROUND_JOBS: Final = 2

_UNSYNCED: Final = WriteOptions()
# A batch that names a dropped family would otherwise stop all writing until the next opening.
_UNSYNCED.ignore_missing_column_families = True
_SYNCED: Final = WriteOptions()
_SYNCED.ignore_missing_column_families = True
_SYNCED.sync = True


class Family:
    """A column family: to be read, and named in batches by its ``handle``.

    RocksDB's lock on the directory lives until the last handle goes, so nobody keeps a ``handle``
    or an iterator beyond the statement that needs it: frames of a failed call may live long.
    """

    __slots__ = ("_rows", "get", "handle")

    def __init__(self, rows: Any, handle: ColumnFamily) -> None:
        self._rows = rows
        self.handle = handle
        self.get: Callable[[bytes], bytes | None] = rows.get
        """The value of a key."""

    def get_all(self, keys: list[bytes]) -> list[bytes | None]:
        """The values of keys."""
        return self._rows.get(keys) if keys else []

    def forward(self, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with ``first <= key < end``, in order."""
        bound = ReadOptions()
        bound.set_iterate_upper_bound(end)
        # A generator, because the iterator does not keep the bound alive.
        yield from self._rows.items(from_key=first, read_opt=bound)

    def forward_keys(self, first: bytes, end: bytes) -> Iterator[bytes]:
        """Keys with ``first <= key < end``, in order."""
        bound = ReadOptions()
        bound.set_iterate_upper_bound(end)
        yield from self._rows.keys(from_key=first, read_opt=bound)

    def backward(self, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values with ``first <= key <= last``, from the last one."""
        # A lower bound set in the options does not end the scan.
        for key, value in self._rows.items(backwards=True, from_key=last):
            if key < first:
                return
            yield key, value

    def hop(self, first: bytes, past: Callable[[bytes], bytes]) -> Iterator[bytes]:
        """The first key at or after ``first``, then the first at or after ``past`` of that, ..."""
        found = self._rows.iter()
        found.seek(first)
        while found.valid():
            key = found.key()
            yield key
            found.seek(past(key))

    def size(self) -> tuple[int, int]:
        """About how many keys it has, and the bytes of its files (without what is in memory)."""
        number = self._rows.property_int_value
        return (
            number("rocksdb.estimate-num-keys") or 0,
            number("rocksdb.total-sst-files-size") or 0,
        )

    def flush(self) -> None:
        """Write what is in memory to files.  Lets other threads run."""
        self._rows.flush(True)

    def close(self) -> None:
        """Release what it holds: it is of no use after that."""
        _close(self._rows)
        del self._rows, self.get, self.handle


class Database:
    """The open files of a data directory.  Every failure is a plain ``Exception`` with a text."""

    def __init__(self, path: Path, cache: Cache, access: AccessType | None = None) -> None:
        self._cache = cache
        names = set(Rdict.list_cf(str(path))) if (path / "CURRENT").exists() else set[str]()
        if access is None:
            access = AccessType.read_write()
            names |= set(FAMILIES)
        families = {name: self._options() for name in names}
        self._rows = Rdict(str(path), self._options(), families, access)
        self._families: dict[str, Family] = {}
        for name in names:
            self._open_family(name)

    def __getitem__(self, name: str) -> Family:
        return self._families[name]

    def __contains__(self, name: str) -> bool:
        return name in self._families

    def names(self, prefix: str = "") -> list[str]:
        """The names of the families that begin with ``prefix``, sorted."""
        return sorted(name for name in self._families if name.startswith(prefix))

    def write(self, batch: WriteBatch) -> None:
        """Write to the log file, unsynced: it survives the process, not the machine."""
        self._rows.write(batch, _UNSYNCED)

    def write_synced(self, batch: WriteBatch) -> None:
        """Write, and wait for stable storage.  Blocks; for what is rare."""
        self._rows.write(batch, _SYNCED)

    def sync(self) -> None:
        """Wait until everything written is on stable storage.  Lets other threads run."""
        self._rows.flush_wal(True)

    def create(self, name: str) -> Family:
        """A new, empty family."""
        self._rows.create_column_family(name, self._options())
        return self._open_family(name)

    def drop(self, name: str) -> None:
        """Remove a family with all that is in it."""
        self._rows.drop_column_family(name)
        self._families.pop(name).close()

    def flush(self, name: str) -> None:
        """Write what a family has in memory to files.  Lets other threads run."""
        family = self._families.get(name)
        if family is not None:
            family.flush()

    def checkpoint(self, path: Path) -> None:
        """Make a directory of hard links to the files as they are now.  Blocks, so flush first."""
        Checkpoint(self._rows).create_checkpoint(str(path))

    def close(self) -> None:
        """Release the files and the lock.  A database that has failed says so again: ignored."""
        families, self._families = self._families, {}
        for family in families.values():
            family.close()
        families.clear()
        _close(self._rows)
        del self._rows

    def _open_family(self, name: str) -> Family:
        family = Family(
            self._rows.get_column_family(name), self._rows.get_column_family_handle(name)
        )
        self._families[name] = family
        return family

    def _options(self) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_write_buffer_size(MEMTABLE_BYTES)
        options.set_min_write_buffer_number_to_merge(MERGED_MEMTABLES)
        options.set_max_write_buffer_number(MEMTABLES_A_FAMILY)
        # Most look-ups of ids find nothing: a filter answers four times as fast as the skip list.
        options.set_memtable_whole_key_filtering(True)
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO)
        options.set_compression_type(DBCompressionType.lz4())
        table = BlockBasedOptions()
        table.set_block_size(BLOCK_BYTES)
        table.set_block_cache(self._cache)
        table.set_bloom_filter(BLOOM_BITS_A_KEY, False)
        table.set_format_version(5)
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
        options.set_block_based_table_factory(table)
        options.set_max_background_jobs(BACKGROUND_JOBS)
        options.set_max_total_wal_size(MAX_WAL_BYTES)
        options.set_keep_log_file_num(MAX_INFO_LOGS)
        options.set_max_log_file_size(MAX_INFO_LOG_BYTES)
        options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
        # Reusing log files (recycle_log_file_num) would make syncs a third faster; but its recovery
        # is not sound enough for RocksDB's own crash tests, which leave it out.
        return options


def open_database(path: Path, cache: Cache) -> Database:
    """Open a data directory, made if it is not there.

    Raises ``Unusable`` (directory_in_use, directory_unusable).
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        try:
            return Database(path, cache)
        except Exception as fault:
            if "lock hold by current process" not in str(fault):
                raise
        gc.collect()  # the one before may still wait for the collector
        return Database(path, cache)
    except Exception as fault:
        raise _unusable(path, fault) from None


def open_readonly(path: Path, cache: Cache) -> Database:
    """Open a data directory as it is now, also while another process writes to it.

    Raises ``Unusable`` (directory_unusable).
    """
    try:
        if not (path / "CURRENT").exists():
            raise FileNotFoundError("there is no Timewire data in it")
        return Database(path, cache, AccessType.read_only(False))
    except Exception as fault:
        raise _unusable(path, fault) from None


def _unusable(path: Path, fault: Exception) -> TimewireError:
    code = "directory_in_use" if "/LOCK: " in str(fault) else "directory_unusable"
    return error(code, path=str(path), reason=str(fault))


def _close(rows: Rdict) -> None:
    try:
        rows.close()
    except Exception:  # it repeats the failure for which it is being closed
        return
