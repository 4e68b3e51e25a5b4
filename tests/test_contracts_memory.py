"""The memory backend keeps every contract."""

import pytest
from hypothesis import settings

from timewire.backends.local_bus import LocalBus
from timewire.backends.memory import MemoryStore, MemoryTimelines
from timewire.testing.contracts import (
    BUCKET_MS,
    KEYS_DAYS,
    BusContract,
    ChangeCrashContract,
    ChangeReopenContract,
    ConversationChangeContract,
    CrashingStoresPlace,
    CrashingTimelinesPlace,
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
    Place,
    RevisionContract,
    TimelineCrashContract,
    TimelineReopenContract,
    TimelineStoreContract,
    modes_machine,
    stores_machine,
    timeline_machine,
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
        # What is reopened without having been closed lacks what was only staged.
        self.store = self.store and self.store.reopened()


class TestTimelines(TimelineStoreContract):
    place = MemoryTimelinesPlace


class TestTimelinesReopened(TimelineReopenContract):
    place = MemoryTimelinesPlace


class TestTimelinesCrashed(TimelineCrashContract):
    place = MemoryTimelinesPlace


TestTimelineMachine = timeline_machine(MemoryTimelinesPlace).TestCase


class MemoryPlace(CrashingStoresPlace, FailingStoresPlace):
    store: MemoryStore | None = None

    async def open(self) -> MemoryStore:
        if self.store:
            self.store = self.store.reopened()
        else:
            self.store = MemoryStore(self.clock, bucket_ms=BUCKET_MS, keys_days=KEYS_DAYS)
        return self.store

    async def close(self) -> None:
        if self.store:
            await self.store.aclose()

    async def crash(self) -> None:
        self.store = self.store and self.store.reopened()

    def block_writes(self) -> None:
        assert self.store
        self.store.log.writable = False

    def allow_writes(self) -> None:
        assert self.store
        self.store.log.writable = True


class TestLog(MessageLogContract):
    place = MemoryPlace


class TestLogOrigin(LogOriginContract):
    place = MemoryPlace


class TestLogFailing(LogFailureContract):
    place = MemoryPlace


class TestLogReopened(LogReopenContract):
    place = MemoryPlace


class TestLogCrashed(LogCrashContract):
    place = MemoryPlace


class TestInbox(InboxContract):
    place = MemoryPlace


class TestInboxReopened(InboxReopenContract):
    place = MemoryPlace


class TestInboxCrashed(InboxCrashContract):
    place = MemoryPlace


class TestRevisions(RevisionContract):
    place = MemoryPlace


class TestConversationChanges(ConversationChangeContract):
    place = MemoryPlace


class TestChangesReopened(ChangeReopenContract):
    place = MemoryPlace


class TestChangesCrashed(ChangeCrashContract):
    place = MemoryPlace


class TestDirectory(DirectoryContract):
    place = MemoryPlace


class TestDirectoryReopened(DirectoryReopenContract):
    place = MemoryPlace


class TestMediaIndex(MediaIndexContract):
    place = MemoryPlace


class TestMediaIndexReopened(MediaIndexReopenContract):
    place = MemoryPlace


TestStoresMachine = stores_machine(MemoryPlace).TestCase
TestModesMachine = modes_machine(MemoryPlace).TestCase
TestModesMachine.settings = settings(max_examples=200, stateful_step_count=40)


class LocalBusPlace(Place[LocalBus]):
    async def open(self) -> LocalBus:
        return LocalBus()

    async def close(self) -> None:
        pass


class TestLocalBus(BusContract):
    place = LocalBusPlace

    async def test_everything_has_arrived_when_publish_returns(self, store: LocalBus) -> None:
        heard: list[tuple[str, int]] = []
        store.subscribe(lambda _, position: heard.append(("a", position)))
        store.subscribe(lambda _, position: heard.append(("b", position)))
        store.publish([], 1)
        store.publish([], 2)
        assert heard == [("a", 1), ("b", 1), ("a", 2), ("b", 2)]

    async def test_a_failing_subscriber_keeps_nothing_from_the_others(
        self, store: LocalBus, caplog: pytest.LogCaptureFixture
    ) -> None:
        heard: list[int] = []
        store.subscribe(lambda _, position: [][position])
        store.subscribe(lambda _, position: heard.append(position))
        store.publish([], 7)
        assert heard == [7]
        assert "position 7" in caplog.text

    async def test_subscribers_may_come_and_go_while_called(self, store: LocalBus) -> None:
        heard: list[str] = []

        def first(_: object, position: int) -> None:
            stop_second()
            store.subscribe(lambda _, position: heard.append(f"third {position}"))

        stop_first = store.subscribe(first)
        stop_second = store.subscribe(lambda _, position: heard.append(f"second {position}"))
        store.publish([], 1)
        assert heard == []
        stop_first()
        store.publish([], 2)
        assert heard == ["third 2"]

    async def test_a_function_may_subscribe_twice(self, store: LocalBus) -> None:
        heard: list[int] = []

        def subscriber(_: object, position: int) -> None:
            heard.append(position)

        stop = store.subscribe(subscriber)
        store.subscribe(subscriber)
        store.publish([], 1)
        stop()
        store.publish([], 2)
        assert heard == [1, 1, 2]
