"""Fan-out and sync as one state machine: modes change while devices read at every pace.

Whatever happens, each device gets each message of its user's windows once and in order, from its
cursor on, but for those that are only pushed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from timewire import fanout, merge, news, sync
from timewire.backends.local_bus import LocalBus
from timewire.epochs import SYSTEM_MODES, Mode, ModeName
from timewire.fanout import FanOut
from timewire.inbox import Delivery
from timewire.load import Loads
from timewire.model import (
    Change,
    Created,
    Draft,
    Members,
    Receipt,
    decode_message,
    decode_stored,
    encode_change,
    encode_stored,
)
from timewire.news import News
from timewire.protocol import Cursor
from timewire.sync import CursorLost, Sync
from timewire.testing.contracts.machine import Machine
from timewire.testing.contracts.places import BUCKET_MS, CrashingPlace, StoresPlace
from timewire.testing.contracts.stores_machine import Model, Sent

USERS = ["alice", "bob", "carol"]
GROUPS = ["team", "crew", "club"]
A_USER = st.sampled_from(USERS)
A_GROUP = st.sampled_from(GROUPS)
SOME_USERS = st.lists(A_USER, max_size=3, unique=True)
A_MODE = st.sampled_from(["write", "read", "read", "push"])

SMALL_BOUNDS = (
    (fanout, "MAX_PUT_REFS", 2),
    (fanout, "REFS_A_READ_MESSAGE", 1),
    (merge, "REFILL_ENTRIES", 2),
    (news, "MAX_NEWS", 2),
    (sync, "SOURCES_A_TURN", 1),
)
"""So that a few members and messages are many."""


@dataclass
class ADevice:
    """Where a device stands, and the SeqIds that it got since ``start``."""

    user: str
    start: int
    position: int
    live: bool = False
    seen: list[int] = field(default_factory=list[int])


class ModesMachine(Machine):
    """Stores, the fan-out and the sync over them, and devices that read."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.devices: list[ADevice] = []
        self.bounds = pytest.MonkeyPatch()
        for module, name, value in SMALL_BOUNDS:
            self.bounds.setattr(module, name, value)
        self.start()

    def start(self) -> None:
        """The parts of a server that starts; like one, they do the backlog before they serve."""
        store: Any = self.backend
        bus = LocalBus()
        found = News(store.messages, store.inbox.position)
        loads = Loads(self.clock, watch_members=2)
        self.horizon: int = store.inbox.position
        self.fan_out_now = FanOut(
            store.log, store.directory, store.inbox, bus, news=found, loads=loads
        )
        self.sync = Sync(
            store.log,
            store.inbox,
            messages=store.messages,
            directory=store.directory,
            news=found,
            loads=loads,
        )
        for device in self.devices:
            device.live = False
        bus.subscribe(self.publish)

    def publish(self, deliveries: Sequence[Delivery], position: int) -> None:
        """What a hub does: push to those who are live."""
        self.horizon = position
        for device in [one for one in self.devices if one.live]:
            pushed = [d.message.seq for d in deliveries if device.user in d.users]
            device.seen += pushed
            device.position = position

    def expected(self, user: str, after: int, upto: int) -> list[int]:
        """What a sync has to give."""
        return [
            message.seq
            for message in self.model.messages
            if after < message.seq <= upto
            and self.model.mode_at(message.conversation, message.seq) != "push"
            and user in self.model.members_at(message.conversation, message.seq)
        ]

    def check(self, device: ADevice) -> None:
        """The device has exactly what it has to have."""
        assert device.seen == sorted(set(device.seen))
        by_seq = {message.seq: message.conversation for message in self.model.messages}
        kept = [seq for seq in device.seen if self.model.mode_at(by_seq[seq], seq) != "push"]
        assert kept == self.expected(device.user, device.start, device.position)
        for seq in set(device.seen) - set(kept):
            assert device.user in self.model.members_at(by_seq[seq], seq)

    # -- messages ------------------------------------------------------------------------------

    def append(self, conversation: str, change: Change | None) -> None:
        """Put one message into the log."""
        payload = encode_change("", "", change) if change else encode_stored("", "", "text", {})

        async def append() -> list[Any]:
            return await self.backend.log.append([Draft(conversation, "", "", payload, change)])

        [receipt] = self.run(append())
        assert isinstance(receipt, Receipt)
        sent = Sent(receipt.seq, receipt.time, conversation, payload, decode_stored(payload))
        self.model.messages.append(sent)
        if change is not None:
            self.model.apply(receipt.seq, conversation, "", change)

    @rule(group=A_GROUP, members=SOME_USERS, mode=A_MODE)
    def create(self, group: str, members: list[str], mode: ModeName) -> None:
        """Make a group, once, most often in another mode than ``write``."""
        if group not in self.model.windows:
            self.append(group, Created("group", members))
            self.append(SYSTEM_MODES, Mode(group, mode, self.backend.inbox.floor))

    @precondition(lambda self: self.model.windows)
    @rule(data=st.data(), count=st.integers(1, 4))
    def send(self, data: st.DataObject, count: int) -> None:
        """Say something."""
        for _ in range(count):
            self.append(data.draw(st.sampled_from(sorted(self.model.windows))), None)

    @precondition(lambda self: self.model.windows)
    @rule(data=st.data(), joined=SOME_USERS, left=SOME_USERS)
    def change_members(self, data: st.DataObject, joined: list[str], left: list[str]) -> None:
        """Let some join and others leave."""
        group = data.draw(st.sampled_from(sorted(self.model.windows)))
        self.append(group, Members(joined, [user for user in left if user not in joined]))

    @precondition(lambda self: self.model.windows)
    @rule(data=st.data(), mode=A_MODE)
    def switch(self, data: st.DataObject, mode: ModeName) -> None:
        """Give a group another mode."""
        group = data.draw(st.sampled_from(sorted(self.model.windows)))
        self.append(SYSTEM_MODES, Mode(group, mode, self.backend.inbox.floor))

    # -- fan-out -------------------------------------------------------------------------------

    @rule(limit=st.integers(1, 6))
    def fan_out(self, limit: int) -> None:
        """Deliver the next messages."""
        due = self.run(self.backend.log.read(self.horizon, limit))
        if due:
            self.run(self.fan_out_now.deliver(due))
            assert self.horizon == due[-1].seq

    @rule(turns=st.integers(0, 6))
    def fan_out_breaks_off(self, turns: int) -> None:
        """The process dies while it delivers, and another one starts."""

        async def break_off() -> None:
            due = await self.backend.log.read(self.horizon, 10)
            work = asyncio.ensure_future(self.fan_out_now.deliver(due))
            for _ in range(turns):
                await asyncio.sleep(0)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        self.run(break_off())
        self.start()
        self.finish()

    def finish(self) -> None:
        """Deliver all there is."""
        while self.horizon < self.backend.log.head:
            self.fan_out(6)

    @rule(buckets=st.integers(0, 3))
    def expire(self, buckets: int) -> None:
        """A bucket's time has passed; let those go that are older than a few."""
        self.clock.now += BUCKET_MS
        self.run(self.backend.inbox.expire(self.clock.now - buckets * BUCKET_MS))

    # -- devices -------------------------------------------------------------------------------

    @rule(user=A_USER, data=st.data())
    def connect(self, user: str, data: st.DataObject) -> None:
        """A device comes with a cursor from anywhere, or another one is forgotten."""
        floor = self.backend.inbox.floor
        at = data.draw(st.just(floor - 1) | st.integers(floor - 1, self.horizon))
        self.devices.append(ADevice(user, at, at))
        del self.devices[:-6]

    @precondition(lambda self: self.devices)
    @rule(data=st.data(), entries=st.integers(1, 5), size=st.sampled_from([1, 400, 10**6]))
    def pull(self, data: st.DataObject, entries: int, size: int) -> None:
        """A device asks for a page, and may go live at its end."""
        device = data.draw(st.sampled_from(self.devices))
        if device.live:
            device.live = False  # it fell behind
        if self.pull_page(device, entries, size) and data.draw(st.booleans()):
            device.live = True
        self.check(device)

    def pull_page(self, device: ADevice, entries: int, size: int) -> bool:
        """Give a device its next page; whether it has everything now."""
        cursor = Cursor(self.sync.base(device.user), str(device.position))
        lost = device.position + 1 < self.backend.inbox.floor
        try:
            assert self.sync.locate(device.user, cursor, self.horizon) == device.position
        except CursorLost as told:
            reason = told.reason
        else:
            reason = ""
        assert reason == ("expired" if lost else "")
        if lost:
            device.start = device.position = self.horizon
            device.seen = []
            return True
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sync, "MAX_PULL_ENTRIES", entries)
            patch.setattr(sync, "MAX_PULL_BYTES", size)
            page = self.run(self.sync.pull(device.user, device.position, self.horizon))
        left = self.expected(device.user, device.position, self.horizon)
        found = [decode_message(message).seq for message in page.messages]
        assert found == left[: len(found)]
        assert len(found) <= entries
        assert page.has_more == (len(found) < len(left))
        assert page.position == (found[-1] if page.has_more else self.horizon)
        device.seen += found
        device.position = page.position
        return not page.has_more

    # -- restarts ------------------------------------------------------------------------------

    @rule()
    def reopen(self) -> None:
        """A restart in good order."""
        super().reopen()
        self.start()
        self.finish()

    @precondition(lambda self: isinstance(self.at, CrashingPlace))
    @rule()
    def crash(self) -> None:
        """What is durable is there again."""
        assert isinstance(self.at, CrashingPlace)
        self.run(self.at.crash())
        self.backend = self.run(self.at.open())
        self.start()
        self.finish()

    def teardown(self) -> None:
        """Every device reads to the end, and has everything."""
        try:
            self.finish()
            for device in self.devices:
                while not self.pull_page(device, 3, 10**6):
                    pass
                self.check(device)
        finally:
            self.bounds.undo()
            super().teardown()


def modes_machine(place: type[StoresPlace]) -> type[ModesMachine]:
    """The machine for a place: ``TestModesMachine = modes_machine(DiskPlace).TestCase``."""
    return type(f"{place.__name__}ModesMachine", (ModesMachine,), {"place": place})
