"""The RocksDB backend keeps every contract."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from hypothesis import settings
from rocksdict import Cache, WriteBatch

from timewire.backends.rocksdb import RocksStore
from timewire.backends.rocksdb.database import ENTRIES, open_database
from timewire.backends.rocksdb.entries import pack_seq, prefix
from timewire.backends.rocksdb.store import BUCKETS_A_LIFE, DAY_MS
from timewire.backends.rocksdb.timelines import RocksTimelines
from timewire.clock import Clock
from timewire.testing.contracts import (
    BUCKET_MS,
    KEYS_DAYS,
    ChangeCrashContract,
    ChangeReopenContract,
    ConversationChangeContract,
    CrashingStoresPlace,
    CrashingTimelinesPlace,
    DamagingTimelinesPlace,
    DirectoryContract,
    DirectoryReopenContract,
    FailingStoresPlace,
    InboxContract,
    InboxCrashContract,
    InboxReopenContract,
    LogCrashContract,
    LogFailureContract,
    LogOriginContract,
    LogReopenContract,
    MediaIndexContract,
    MediaIndexReopenContract,
    MessageLogContract,
    RevisionContract,
    TimelineCrashContract,
    TimelineDamageContract,
    TimelineReopenContract,
    TimelineStoreContract,
    modes_machine,
    stores_machine,
    timeline_machine,
)

# A restart, of which a run has several, takes a tenth of a second here.
MACHINE = settings(max_examples=50, stateful_step_count=30)

MAX_COPIES = 50
"""Tries to copy a directory that RocksDB is changing."""


class Disk:
    """A data directory, and what ``kill -9`` would leave of it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock
        self.lives = 0
        self.stores: list[RocksStore] = []

    @property
    def data(self) -> Path:
        return self.path / f"life-{self.lives}"

    async def open_store(self) -> RocksStore:
        store = await RocksStore.open(
            self.data,
            clock=self.clock,
            inbox_days=BUCKET_MS * BUCKETS_A_LIFE / DAY_MS,
            keys_days=KEYS_DAYS,
            reserve_mb=0,
        )
        self.stores.append(store)
        return store

    async def close(self) -> None:
        for store in self.stores:
            await store.aclose()
        self.stores.clear()

    async def crash(self) -> None:
        # Every write is in the files at once: what is there now is what another process would find.
        left = self.data
        self.lives += 1
        for _ in range(MAX_COPIES):
            try:
                shutil.copytree(left, self.data, ignore=shutil.ignore_patterns("LOCK"))
                return
            except shutil.Error:
                # RocksDB has put files together meanwhile: what was copied never was there at once.
                shutil.rmtree(self.data)
        raise AssertionError("the directory never stands still")


class RocksTimelinesPlace(Disk, CrashingTimelinesPlace, DamagingTimelinesPlace):
    async def open(self) -> RocksTimelines:
        return (await self.open_store()).timelines

    async def damage(self, timeline: str, seq: int) -> None:
        await self.close()
        database = open_database(self.data, Cache(1 << 20))
        entries, key = database[ENTRIES], prefix(timeline) + pack_seq(seq)
        value = entries.get(key)
        assert value
        batch = WriteBatch(raw_mode=True)
        batch.put(key, value[:-1] + bytes([value[-1] ^ 1]), entries.handle)
        database.write(batch)
        del entries, batch
        database.close()


class TestTimelines(TimelineStoreContract):
    place = RocksTimelinesPlace


class TestTimelinesReopened(TimelineReopenContract):
    place = RocksTimelinesPlace


class TestTimelinesCrashed(TimelineCrashContract):
    place = RocksTimelinesPlace


class TestTimelinesDamaged(TimelineDamageContract):
    place = RocksTimelinesPlace


TestTimelineMachine = timeline_machine(RocksTimelinesPlace).TestCase
TestTimelineMachine.settings = MACHINE


class RocksPlace(Disk, CrashingStoresPlace, FailingStoresPlace):
    async def open(self) -> RocksStore:
        return await self.open_store()

    async def close(self) -> None:
        self.allow_writes()
        await super().close()

    def block_writes(self) -> None:
        # No file of this process may grow: to the store, a full disk.
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    def allow_writes(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


class TestLog(MessageLogContract):
    place = RocksPlace


class TestLogOrigin(LogOriginContract):
    place = RocksPlace


class TestLogFailing(LogFailureContract):
    place = RocksPlace


class TestLogReopened(LogReopenContract):
    place = RocksPlace


class TestLogCrashed(LogCrashContract):
    place = RocksPlace


class TestInbox(InboxContract):
    place = RocksPlace


class TestInboxReopened(InboxReopenContract):
    place = RocksPlace


class TestInboxCrashed(InboxCrashContract):
    place = RocksPlace


class TestRevisions(RevisionContract):
    place = RocksPlace


class TestConversationChanges(ConversationChangeContract):
    place = RocksPlace


class TestChangesReopened(ChangeReopenContract):
    place = RocksPlace


class TestChangesCrashed(ChangeCrashContract):
    place = RocksPlace


class TestDirectory(DirectoryContract):
    place = RocksPlace


class TestDirectoryReopened(DirectoryReopenContract):
    place = RocksPlace


class TestMediaIndex(MediaIndexContract):
    place = RocksPlace


class TestMediaIndexReopened(MediaIndexReopenContract):
    place = RocksPlace


TestStoresMachine = stores_machine(RocksPlace).TestCase
TestStoresMachine.settings = MACHINE
TestModesMachine = modes_machine(RocksPlace).TestCase
TestModesMachine.settings = MACHINE
