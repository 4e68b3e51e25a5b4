"""A log in JetStream keeps the contracts, with all that it writes, on a real server."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest_asyncio
from nats.aio.client import Client

from timewire.backends.jetstream import Lead, LogStream, Names, View, connect, init
from timewire.backends.rocksdb import RocksStore
from timewire.clock import Clock
from timewire.testing.contracts import (
    KEYS_DAYS,
    ChangeCrashContract,
    ChangeReopenContract,
    ConversationChangeContract,
    CrashingStoresPlace,
    DirectoryContract,
    LogCrashContract,
    LogOriginContract,
    LogReopenContract,
    MediaIndexContract,
    MediaIndexReopenContract,
    MessageLogContract,
    RevisionContract,
)


class JetStreamPlace(CrashingStoresPlace):
    """A stream.  Whoever opens it makes a new view of it, and leads."""

    url = ""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, clock)
        self.names = Names(f"c{secrets.token_hex(4)}")
        self.lives = 0
        self.client: Client | None = None
        self.view: View | None = None
        self.lead: Lead | None = None

    async def open(self) -> RocksStore:
        self.lives += 1
        self.client = await connect(self.url, "contracts")
        epoch = (await init(self.client, self.names, 1)).epoch
        stream = LogStream(self.client, self.names)
        home = self.path / f"life-{self.lives}"
        options = {"keys_days": KEYS_DAYS, "reserve_mb": 0}
        self.view = await View.open(stream, home / "view", epoch, **options)
        await self.view.catch_up()
        name = f"leader-{self.lives}"
        self.lead = await Lead.take(stream, self.view, home / "lead", self.clock, name, **options)
        assert self.lead is not None
        return self.lead.store

    async def close(self) -> None:
        for part in (self.lead, self.view):
            if part is not None:
                await part.aclose()
        if self.client is not None:
            await self.client.close()
        self.lead = self.view = self.client = None

    async def crash(self) -> None:
        """What was not published yet is not published any more."""
        assert self.lead is not None
        self.lead.over.set()
        await self.close()


@pytest_asyncio.fixture(autouse=True)
async def _server(nats_url: str) -> None:
    JetStreamPlace.url = nats_url


class TestLog(MessageLogContract):
    place = JetStreamPlace


class TestLogOrigin(LogOriginContract):
    place = JetStreamPlace


class TestLogReopened(LogReopenContract):
    place = JetStreamPlace


class TestLogCrashed(LogCrashContract):
    place = JetStreamPlace


class TestRevisions(RevisionContract):
    place = JetStreamPlace


class TestConversationChanges(ConversationChangeContract):
    place = JetStreamPlace


class TestChangesReopened(ChangeReopenContract):
    place = JetStreamPlace


class TestChangesCrashed(ChangeCrashContract):
    place = JetStreamPlace


class TestDirectory(DirectoryContract):
    place = JetStreamPlace


class TestMediaIndex(MediaIndexContract):
    place = JetStreamPlace


class TestMediaIndexReopened(MediaIndexReopenContract):
    place = JetStreamPlace
