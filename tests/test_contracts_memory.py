"""The memory backend keeps every contract."""

from timewire.backends.memory import MemoryTimelines
from timewire.testing.contracts import (
    CrashingTimelinesPlace,
    TimelineCrashContract,
    TimelineReopenContract,
    TimelineStoreContract,
)


class MemoryTimelinesPlace(CrashingTimelinesPlace):
    store: MemoryTimelines | None = None

    async def open(self) -> MemoryTimelines:
        self.store = self.store.reopened() if self.store else MemoryTimelines(self.clock)
        return self.store

    async def close(self) -> None:
        if self.store:
            await self.store.aclose()

    async def crash(self) -> None:
        """A store that is not closed keeps what is staged from what is reopened."""


class TestTimelines(TimelineStoreContract):
    place = MemoryTimelinesPlace


class TestTimelinesReopened(TimelineReopenContract):
    place = MemoryTimelinesPlace


class TestTimelinesCrashed(TimelineCrashContract):
    place = MemoryTimelinesPlace
