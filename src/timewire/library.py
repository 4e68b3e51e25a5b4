"""Timewire without a server: timelines on disk for any use, and a look into a data directory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from timewire.amplification import Amplification, amplification
from timewire.backends.rocksdb import RocksStore
from timewire.backends.rocksdb import inspection as rocksdb
from timewire.backends.rocksdb.inspection import FamilySize, Inspection, TimelineSize
from timewire.backups import Snapshot, Snapshots
from timewire.timeline import TimelineStore

__all__ = [
    "Amplification",
    "FamilySize",
    "Inspection",
    "TimelineSize",
    "begin_anew",
    "inspect",
    "inspect_amplification",
    "open",
    "snapshot",
]


@asynccontextmanager
async def open(path: str | Path) -> AsyncGenerator[TimelineStore]:
    """The timelines in a directory, which is made when missing.

    async with timewire.open("feeds") as timelines:
        seq = await timelines.append("feed:alice", b"hello")
        page = await timelines.scan("feed:alice")

    One process at a time has a directory open.  Raises ``Unusable`` (directory_in_use,
    directory_newer, directory_unusable).
    """
    store = await RocksStore.open(path)
    try:
        yield store.timelines
    finally:
        await store.aclose()


async def snapshot(path: str | Path) -> Snapshot:
    """Make a snapshot of a data directory that no server has open, for a backup.

    Raises ``Unusable`` (directory_in_use, directory_unusable).
    """
    store = await RocksStore.open(path)
    try:
        return await Snapshots(Path(path), store.checkpoint).make(store.log.epoch, store.log.head)
    finally:
        await store.aclose()


async def begin_anew(path: str | Path) -> str:
    """Give a data directory that was restored a new epoch, so that older cursors get a reset."""
    store = await RocksStore.open(path)
    try:
        return store.begin_anew()
    finally:
        await store.aclose()


def inspect(path: str | Path, *, limit: int = 20) -> Inspection:
    """What is in a data directory, read without changing it, also while a server has it open.

    ``limit``: how many conversations, and how many timelines of the library, are listed.
    Raises ``Unusable`` (directory_unusable).
    """
    return rocksdb.inspect(Path(path), limit)


def inspect_amplification(path: str | Path) -> Amplification:
    """What the messages and syncs of a data directory have cost, and would have cost otherwise.

    Counted since the directory was made; read without changing it, also while a server has it
    open.  Raises ``Unusable`` (directory_unusable).
    """
    return amplification(rocksdb.traffic(Path(path)))
