"""Places: how a contract opens, closes and breaks the backend that it tests.

A place is one test's data: an empty directory, a stream, a dictionary.  Opening it again after
``close`` or ``crash`` shows what is kept there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import pytest
import pytest_asyncio

from timewire.clock import Clock
from timewire.directory import Directory
from timewire.inbox import Inbox
from timewire.index import SearchIndex
from timewire.log import MessageLog
from timewire.media import MediaIndex
from timewire.timeline import TimelineStore

BUCKET_MS: Final = 1000
"""Width of the inbox's time buckets that a place has to open its stores with."""

KEYS_DAYS: Final = 30
"""For how long a place has to have its log remember the ids of messages."""

Port_co = TypeVar("Port_co", covariant=True)


class ManualClock:
    """A clock that stands still until a test sets ``now`` (ms), backwards too."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


class Stores(Protocol):
    """What a server keeps, by port: those of one place belong together."""

    @property
    def log(self) -> MessageLog: ...

    @property
    def messages(self) -> TimelineStore: ...

    @property
    def directory(self) -> Directory: ...

    @property
    def media(self) -> MediaIndex: ...

    @property
    def inbox(self) -> Inbox: ...


class Place(ABC, Generic[Port_co]):
    """One test's data.  At most one backend has it open at a time.

    ``path`` is an empty directory for it, ``clock`` what the backend has to take its times from.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.clock = clock

    @abstractmethod
    async def open(self) -> Port_co:
        """The backend on what is kept here."""

    @abstractmethod
    async def close(self) -> None:
        """Close it in good order.  It may have been closed or crashed already."""


class CrashingPlace(Place[Port_co]):
    """A place whose backend can be lost as by ``kill -9``."""

    @abstractmethod
    async def crash(self) -> None:
        """Leave what is kept as a crash right now would: nothing is finished, nothing synced."""


TimelinesPlace = Place[TimelineStore]
StoresPlace = Place[Stores]
IndexPlace = Place[SearchIndex]
CrashingTimelinesPlace = CrashingPlace[TimelineStore]
CrashingStoresPlace = CrashingPlace[Stores]
CrashingIndexPlace = CrashingPlace[SearchIndex]


class DamagingTimelinesPlace(TimelinesPlace):
    """A place where what is stored of an entry can be changed behind the backend's back."""

    @abstractmethod
    async def damage(self, timeline: str, seq: int) -> None:
        """Change a byte of the stored payload of an entry.  The backend may be open or closed."""


class FailingStoresPlace(StoresPlace):
    """A place whose log can be kept from writing, as by a full disk."""

    @abstractmethod
    def block_writes(self) -> None:
        """From now on no write succeeds."""

    @abstractmethod
    def allow_writes(self) -> None:
        """From now on writes succeed again."""


PlaceT = TypeVar("PlaceT", bound=Place[Any])


@pytest.mark.asyncio
class Contract(Generic[PlaceT]):
    """Base of all contracts.  Each test has a place and a clock of its own."""

    place: type[PlaceT]
    """The backend under test: a subclass names it."""

    at: PlaceT
    clock: ManualClock

    @pytest_asyncio.fixture(autouse=True)
    async def _at_a_place(self, tmp_path: Path) -> AsyncIterator[None]:
        self.clock = ManualClock()
        self.at = self.place(tmp_path, self.clock)
        yield
        await self.at.close()

    @pytest_asyncio.fixture
    async def store(self) -> object:
        """What the place keeps, opened."""
        return await self.at.open()
