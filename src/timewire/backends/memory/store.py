"""All stores of a server in memory, under the names that every backend uses."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from timewire.backends.memory.inbox import MemoryInbox
from timewire.backends.memory.log import MemoryLog
from timewire.backends.memory.timelines import MemoryTimelines
from timewire.clock import Clock, wall_clock
from timewire.errors import error

DAY_MS: Final = 24 * 60 * 60 * 1000


class MemoryStore:
    """A log and what it writes: messages, directory, media index; inboxes; other timelines."""

    def __init__(
        self, clock: Clock = wall_clock, *, bucket_ms: int = DAY_MS, keys_days: int = 30
    ) -> None:
        self.log = MemoryLog(clock, keys_days)
        self.inbox = MemoryInbox(bucket_ms)
        self.timelines = MemoryTimelines(clock)
        self.messages = self.log.messages
        self.directory = self.log.directory
        self.media = self.log.media

    def reopened(self) -> MemoryStore:
        """What a restart would find now: everything durable, nothing that is only staged."""
        found = MemoryStore()
        found.log = self.log.reopened()
        found.inbox = self.inbox
        found.timelines = self.timelines.reopened()
        found.messages = found.log.messages
        found.directory = found.log.directory
        found.media = found.log.media
        return found

    async def checkpoint(self, path: Path) -> None:
        """A store in memory has no files: raises ``Retryable`` (storage_unavailable)."""
        reason = "a store in memory has no files to be kept"
        raise error("storage_unavailable", reason, path=str(path))

    async def aclose(self) -> None:
        """Close everything.  Twice is once."""
        await self.log.aclose()
        await self.timelines.aclose()
