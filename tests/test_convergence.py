"""Whatever happens in whatever order: all devices of a user end equal, and equal to history.

A server without sockets, and devices that are stores: acks arrive at once, pushes late or, when a
device is offline, not at all.  Then it pulls what it has missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from timewire.asking import GetHistory
from timewire.backends.local_bus import LocalBus
from timewire.backends.memory import MemoryStore as MemoryServer
from timewire.client.events import Acked, Arrival, Received
from timewire.client.outbox import written
from timewire.client.sqlite_store import SqliteStore
from timewire.client.store import Change, MemoryStore, Owner, Store
from timewire.commands import (
    Add,
    Ban,
    Block,
    Command,
    Create,
    Edit,
    Hide,
    MarkRead,
    Pin,
    React,
    Recall,
    Remove,
    Send,
    Unban,
)
from timewire.directory import Membership
from timewire.errors import TimewireError
from timewire.fanout import FanOut
from timewire.load import Loads
from timewire.model import Message, Seq, decode_message, decode_stored, message_head, message_json
from timewire.news import News
from timewire.protocol import Cursor, HistoryPage
from timewire.queries import Queries
from timewire.send import Sender
from timewire.sync import Sync

USERS = ["alice", "bob", "carol"]
ACTS = [
    *["send"] * 4,
    *["edit"] * 4,
    *["react"] * 3,
    *["unreact"] * 2,
    *["recall", "brief", "hide", "pin", "read", "add", "remove", "ban", "unban", "block"],
    *["push"] * 4,
    *["offline", "pull", "tick", "sweep"],
]
STEPS = st.lists(
    st.tuples(st.integers(0, 5), st.sampled_from(ACTS), st.integers(0, 5)), max_size=60
)
Step = tuple[int, str, int]


class Device:
    """A device's store, its cursor, and the pushes that are on their way to it."""

    def __init__(self, user: str, store: Store) -> None:
        self.user = user
        self.store = store
        self.position: Seq = 0
        store.apply(Change(owner=Owner(user, "device")))
        self.coming: list[tuple[Seq, Message | None]] = []
        self.online = True

    def take(self, arrivals: Sequence[Arrival], position: Seq) -> None:
        """Save what has come, and move on."""
        self.position = max(self.position, position)
        self.store.apply(Change(arrivals=list(arrivals), cursor=Cursor("base", str(position))))

    def arrive(self, count: int) -> None:
        """Some of the pushes arrive."""
        for seq, message in self.coming[:count]:
            self.take([Received(message)] if message else [], seq)
        del self.coming[:count]


class World:
    """A server and six devices, two of each user."""

    def __init__(self) -> None:
        self.now = 10_000
        self.server = MemoryServer(lambda: self.now)
        log, directory, inbox = self.server.log, self.server.directory, self.server.inbox
        self.sender = Sender(log, directory, lambda: self.now, body_bytes=1000, max_members=10)
        news = News(self.server.messages, 0)
        loads = Loads(lambda: self.now, watch_members=1)
        self.fanout = FanOut(log, directory, inbox, LocalBus(), news=news, loads=loads)
        self.sync = Sync(
            log,
            inbox,
            lambda: self.now,
            messages=self.server.messages,
            directory=directory,
            news=news,
            loads=loads,
        )
        self.queries = Queries(self.server.messages, directory, lambda: self.now, page_entries=100)
        stores = [store for _ in USERS for store in (MemoryStore(), SqliteStore(":memory:"))]
        self.devices = [Device(USERS[n // 2], store) for n, store in enumerate(stores)]
        self.sent: list[Seq] = []
        self.edits: dict[Seq, list[Seq]] = {}
        self.number = 0

    async def run(self, steps: Sequence[Step]) -> None:
        """Do everything, then compare."""
        running = asyncio.create_task(self.sender.run())
        await self.do(self.devices[0], Create("make", "team", ["bob", "carol"]))
        for number, act, choice in steps:
            await self.step(self.devices[number], act, choice)
        self.now += 10_000
        for device in self.devices:
            await self.pull(device)
        for user in USERS:
            await self.compare([one for one in self.devices if one.user == user])
        await self.server.log.sweep(self.now)
        for device in self.devices:
            await self.compare([device])
        self.sender.close()
        await running

    async def step(self, device: Device, act: str, choice: int) -> None:
        """One thing that a user does, or that happens to a device."""
        match act:
            case "push":
                device.arrive(choice + 1)
            case "offline":
                device.coming, device.online = [], False
            case "pull":
                await self.pull(device)
            case "tick":
                self.now += 200 * choice
            case "sweep":
                device.store.sweep(self.now)
                await self.server.log.sweep(self.now)
            case _:
                command = self.command(act, choice)
                if command is not None:
                    await self.do(device, command)

    def command(self, act: str, choice: int) -> Command | None:
        """What a user wants to have done."""
        self.number += 1
        id, body = str(self.number), {"text": f"no. {self.number}"}
        other, seq = USERS[choice % 3], self.sent[-1 - choice % len(self.sent)] if self.sent else 1
        commands: dict[str, Command] = {
            "send": Send(id, "team", body),
            "brief": Send(id, "team", body, expires=self.now + 500),
            "edit": Edit(id, "team", seq, body),
            "react": React(id, "team", seq, "👍"),
            "unreact": React(id, "team", seq, "👍", on=False),
            "recall": Recall(id, "team", seq),
            "hide": Hide(id, "team", seq),
            "pin": Pin(id, "team", seq),
            "read": MarkRead(id, "team", seq),
            "add": Add(id, "team", [other]),
            "remove": Remove(id, "team", [other]),
            "ban": Ban(id, "team", [other]),
            "unban": Unban(id, "team", [other]),
            "block": Block(id, other, on=bool(choice % 2)),
        }
        return commands[act]

    async def do(self, device: Device, command: Command) -> None:
        """Have a command done, see its ack, and fan out."""
        try:
            ack = await self.sender.ask(device.user, command)
        except TimewireError:
            return
        if isinstance(command, Send):
            self.sent.append(ack.seq)
        if isinstance(command, Edit):
            self.edits.setdefault(command.seq, []).append(ack.seq)
        arrival = Acked(written(device.user, command, ack))
        device.store.apply(Change(arrivals=[arrival]))
        await self.deliver(device, ack.seq)

    async def deliver(self, origin: Device, own: Seq) -> None:
        """Put what is new into inboxes, and on the way to devices that are online."""
        batch = await self.server.log.read(self.server.inbox.position)
        await self.fanout.deliver(batch)
        for stored in batch:
            conversation = await self.server.directory.conversation(stored.conversation)
            assert conversation
            head = message_head(stored.conversation)
            json = message_json(head, stored.seq, stored.time, stored.payload, self.now)
            for device in self.devices:
                if device.online and device.user in conversation.members_at(stored.seq):
                    known = device is origin and stored.seq == own
                    device.coming.append((stored.seq, None if known else decode_message(json)))

    async def pull(self, device: Device) -> None:
        """A device comes back: all that it has missed."""
        device.coming, device.online, more = [], True, True
        while more:
            horizon = self.server.inbox.position
            page = await self.sync.pull(device.user, device.position, horizon)
            messages = [Received(decode_message(one)) for one in page.messages]
            device.take(messages, page.position)
            more = page.has_more

    async def out_of_date(self, user: str, mine: Membership) -> tuple[Seq, set[Seq]]:
        """What changes a device was not told of, because its user was no member then.

        Messages before the last return are shown no more; after leaving, what has become of
        messages is nobody's business.
        """
        begins = mine.windows[-1].joined if len(mine.windows) > 1 else 0
        left, touched = mine.windows[-1].left, set[Seq]()
        for stored in await self.server.log.read(left) if left else []:
            if stored.conversation == mine.conversation and stored.payload:
                body = decode_stored(stored.payload)
                if body.kind in ("edited", "recalled", "reaction"):
                    target = await self.server.log.peek(mine.conversation, body.body["seq"])
                    assert target
                    touched.add(target.seq)
                    touched |= set(self.edits.get(target.seq, ()))
        return begins, touched

    async def compare(self, devices: list[Device]) -> None:
        """Devices of one user show the same, which is what a new device finds."""
        user = devices[0].user
        for mine in await self.server.directory.memberships(user):
            name = mine.conversation
            query = GetHistory("q", name, limit=100)
            page = await self.queries.answer(user, query)
            assert isinstance(page, HistoryPage)
            assert not page.has_more
            begins, touched = await self.out_of_date(user, mine)
            history = [decode_message(message) for message in page.messages]
            history = [m for m in history if m.seq >= begins and m.seq not in touched]
            for device in devices:
                device.store.sweep(self.now)
                kept = device.store.messages(name, limit=1000)
                assert [one for one in kept if one.seq not in touched] == history
                assert device.store.mark(name) == mine.read


@given(STEPS)
@example([(0, "send", 0), (2, "edit", 0), (0, "edit", 0), (1, "offline", 0), (0, "recall", 0)])
# An own reaction is known by its ack before another device's, which comes before it.
@example([(0, "send", 0), (1, "push", 5), (0, "unreact", 0), (1, "react", 0), (1, "push", 5)])
# A push that was on its way when the message was recalled.
@example([(0, "send", 0), (1, "recall", 0), (1, "push", 5)])
# An edit that was on its way when the message was recalled.
@example([(0, "send", 0), (0, "edit", 0), (1, "push", 0), (1, "recall", 0), (1, "push", 5)])
# An own edit of a message whose life is limited.
@example([(0, "brief", 0), (0, "edit", 0), (1, "push", 5), (1, "sweep", 0)])
@example([(2, "brief", 0), (3, "edit", 0), (3, "pull", 0)])
# Away while a message is edited, and back.
@example([(2, "send", 0), (0, "remove", 1), (0, "send", 0), (2, "edit", 1), (0, "react", 1)])
@example([(0, "send", 0), (0, "remove", 1), (0, "edit", 0), (0, "add", 1), (2, "push", 5)])
# Hidden before it has come.
@example([(0, "send", 0), (1, "hide", 0), (1, "push", 5)])
def test_all_devices_end_equal_and_equal_to_history(steps: Sequence[Step]) -> None:
    asyncio.run(World().run(steps))


@pytest.mark.parametrize(
    "order", [(0, 1, 2), (0, 2, 1), (2, 1, 0), (1, 0, 2), (2, 0, 1), (1, 2, 0)]
)
def test_the_order_in_which_messages_come_does_not_matter(order: tuple[int, ...]) -> None:
    said = Message("team", 1, 10, "alice", "1", "text", {"text": "one"})
    edits = [
        Message("team", seq, seq, "alice", str(seq), "edited", {"seq": 1, "body": {"text": text}})
        for seq, text in ((2, "two"), (3, "three"))
    ]
    for store in (MemoryStore(), SqliteStore(":memory:")):
        messages = [said, *edits]
        store.apply(Change(arrivals=[Received(messages[n]) for n in order]))
        kept = {message.seq: message for message in store.messages("team")}
        assert kept[1].body == {"text": "three"}
        assert (kept[1].version, kept[1].edits, kept[1].edited) == (3, [2, 3], 3)
        assert [kept[2], kept[3]] == edits
