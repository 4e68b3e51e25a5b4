"""Everything in one RocksDB directory: log, message store, inboxes, directory, timelines."""

from timewire.backends.rocksdb.store import RocksStore

__all__ = ["RocksStore"]
