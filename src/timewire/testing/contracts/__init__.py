"""One contract suite a port: what every backend promises, as tests.

A backend is tested by saying where it keeps its data, and by naming the contracts it keeps:

    class DiskPlace(TimelinesPlace):
        async def open(self) -> TimelineStore:
            self.store = await DiskStore.open(self.path, clock=self.clock)
            return self.store.timelines

        async def close(self) -> None:
            await self.store.aclose()


    class TestTimelines(TimelineStoreContract):
        place = DiskPlace


    class TestTimelinesReopened(TimelineReopenContract):
        place = DiskPlace


    TestTimelineMachine = timeline_machine(DiskPlace).TestCase

The first contract of a port is for every backend.  The others are optional powers, each declared
by a test class; their places have one method more (``crash``, ``damage``, ``block_writes``).
"""

from timewire.testing.contracts.buses import (
    BusContract,
)
from timewire.testing.contracts.directories import (
    DirectoryContract,
    DirectoryReopenContract,
)
from timewire.testing.contracts.inboxes import (
    InboxContract,
    InboxCrashContract,
    InboxReopenContract,
)
from timewire.testing.contracts.index_machine import index_machine
from timewire.testing.contracts.indexes import (
    IndexContract,
    IndexCrashContract,
    IndexReopenContract,
)
from timewire.testing.contracts.lasting_logs import (
    LogCrashContract,
    LogFailureContract,
    LogReopenContract,
)
from timewire.testing.contracts.lasting_timelines import (
    TimelineCrashContract,
    TimelineDamageContract,
    TimelineReopenContract,
)
from timewire.testing.contracts.logs import LogOriginContract, MessageLogContract
from timewire.testing.contracts.media import (
    MediaIndexContract,
    MediaIndexReopenContract,
    MediaStoreContract,
)
from timewire.testing.contracts.modes_machine import modes_machine
from timewire.testing.contracts.places import (
    BUCKET_MS,
    KEYS_DAYS,
    Contract,
    CrashingIndexPlace,
    CrashingStoresPlace,
    CrashingTimelinesPlace,
    DamagingTimelinesPlace,
    FailingStoresPlace,
    IndexPlace,
    ManualClock,
    Place,
    Stores,
    StoresPlace,
    TimelinesPlace,
)
from timewire.testing.contracts.revisions import (
    ChangeCrashContract,
    ChangeReopenContract,
    ConversationChangeContract,
    RevisionContract,
)
from timewire.testing.contracts.stores_machine import stores_machine
from timewire.testing.contracts.timeline_machine import timeline_machine
from timewire.testing.contracts.timelines import (
    TimelineStoreContract,
)

__all__ = [
    "BusContract",
    "ChangeCrashContract",
    "ChangeReopenContract",
    "ConversationChangeContract",
    "DirectoryContract",
    "DirectoryReopenContract",
    "InboxContract",
    "InboxCrashContract",
    "InboxReopenContract",
    "IndexContract",
    "IndexCrashContract",
    "IndexReopenContract",
    "TimelineCrashContract",
    "TimelineDamageContract",
    "TimelineReopenContract",
    "LogCrashContract",
    "LogFailureContract",
    "LogOriginContract",
    "LogReopenContract",
    "MediaIndexContract",
    "MediaIndexReopenContract",
    "MediaStoreContract",
    "MessageLogContract",
    "RevisionContract",
    "BUCKET_MS",
    "KEYS_DAYS",
    "Contract",
    "CrashingIndexPlace",
    "CrashingStoresPlace",
    "CrashingTimelinesPlace",
    "DamagingTimelinesPlace",
    "FailingStoresPlace",
    "IndexPlace",
    "ManualClock",
    "Place",
    "Stores",
    "StoresPlace",
    "TimelinesPlace",
    "TimelineStoreContract",
    "index_machine",
    "modes_machine",
    "stores_machine",
    "timeline_machine",
]
