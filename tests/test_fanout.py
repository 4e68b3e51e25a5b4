"""Fan-out: every message into the inboxes of its members, once, whatever happens meanwhile."""

import asyncio
from collections.abc import Sequence, Set

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timewire import fanout as module
from timewire.backends.local_bus import LocalBus
from timewire.backends.memory import MemoryInbox, MemoryStore
from timewire.conversation import Conversation
from timewire.epochs import SYSTEM_MODES, Mode, ModeName, switched
from timewire.errors import error
from timewire.fanout import REFS_A_READ_MESSAGE, FanOut
from timewire.inbox import MAX_PUT_REFS, Delivery
from timewire.load import Loads
from timewire.model import (
    Change,
    Created,
    Draft,
    Members,
    Receipt,
    Ref,
    Seq,
    Stored,
    encode_change,
    encode_stored,
)
from timewire.news import News
from timewire.plan import plan
from timewire.sampling import Sampler
from timewire.testing.devices import eventually


class Press:
    """A log that can be written to, fan-out behind it, and a record of what it publishes."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.bus = LocalBus()
        self.news = News(store.messages, store.inbox.position)
        self.loads = Loads(lambda: 1000, watch_members=3)
        self.fanout = FanOut(
            store.log,
            store.directory,
            store.inbox,
            self.bus,
            news=self.news,
            loads=self.loads,
        )
        self.published: list[tuple[Seq, tuple[str, ...]]] = []
        self.positions: list[Seq] = []
        self.bus.subscribe(self._record)

    def _record(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        # Whoever hears of a position finds everything up to it.
        assert self.store.inbox.position >= position
        self.published += [(d.message.seq, tuple(d.users)) for d in deliveries]
        self.positions.append(position)

    async def change(self, name: str, change: Change, sender: str = "alice") -> Seq:
        return await self.append(Draft(name, sender, "", encode_change(sender, "", change), change))

    async def say(self, name: str, count: int = 1) -> Seq:
        payload = encode_stored("alice", "", "text", {})
        drafts = [Draft(name, "alice", "", payload) for _ in range(count)]
        return await self.append(*drafts)

    async def append(self, *drafts: Draft) -> Seq:
        last = (await self.store.log.append(drafts))[-1]
        assert isinstance(last, Receipt)
        return last.seq

    async def run(self) -> None:
        """Fan out everything there is."""
        while batch := await self.store.log.read(self.store.inbox.position):
            await self.fanout.deliver(batch)

    async def inbox(self, user: str) -> list[Seq]:
        """The SeqIds in a user's inbox."""
        refs, more = await self.store.inbox.scan(user, 0, self.store.log.head, 100_000)
        assert not more
        return [ref.seq for ref in refs]


@pytest.fixture
def press() -> Press:
    return Press(MemoryStore(lambda: 1000))


def users(count: int) -> list[str]:
    return [f"u{n:06}" for n in range(count)]


async def test_members_get_what_is_said_and_others_do_not(press: Press) -> None:
    made = await press.change("team", Created("group", ["alice", "bob"]))
    said = await press.say("team")
    other = await press.change("direct:carol:dave", Created("direct", ["carol", "dave"]))
    await press.run()
    assert await press.inbox("alice") == await press.inbox("bob") == [made, said]
    assert await press.inbox("carol") == [other]
    assert await press.inbox("eve") == []
    refs, _ = await press.store.inbox.scan("bob", 0, 10, 10)
    assert refs == [Ref(made, "team"), Ref(said, "team")]


async def test_membership_counts_from_joining_to_leaving_both_included(press: Press) -> None:
    await press.change("team", Created("group", ["alice"]))
    await press.say("team")
    joined = await press.change("team", Members(joined=["bob"]))
    said = await press.say("team")
    left = await press.change("team", Members(left=["bob"]))
    await press.say("team")
    back = await press.change("team", Members(joined=["bob"]))
    again = await press.say("team")
    # All of it is fanned out only now, when bob's windows are what they are at the end.
    await press.run()
    assert await press.inbox("bob") == [joined, said, left, back, again]
    assert await press.inbox("alice") == list(range(1, again + 1))


async def test_deliveries_are_published_in_order_and_once(press: Press) -> None:
    await press.change("team", Created("group", users(30)))
    await press.say("team", 500)
    await press.run()
    assert [seq for seq, _ in press.published] == list(range(1, 502))
    assert {names for _, names in press.published} == {tuple(users(30))}
    assert press.positions == sorted(press.positions)
    assert press.positions[-1] == press.store.inbox.position == 501
    # No piece is larger than the inbox takes at once.
    assert len(press.positions) >= 501 * 30 / MAX_PUT_REFS


@pytest.mark.parametrize("size", [MAX_PUT_REFS, MAX_PUT_REFS + 1, 3 * MAX_PUT_REFS, 4501])
async def test_a_message_for_very_many_is_published_once_and_complete(
    press: Press, size: int
) -> None:
    await press.change("all", Created("group", users(size)))
    await press.change("team", Created("group", ["u000000"]))
    await press.say("all")
    await press.say("team")
    await press.run()
    assert [(seq, len(names)) for seq, names in press.published] == [
        (1, size),
        (2, 1),
        (3, size),
        (4, 1),
    ]
    assert await press.inbox("u000000") == [1, 2, 3, 4]
    assert {tuple(await press.inbox(user)) for user in users(size)[1:]} == {(1, 3)}


async def test_a_message_for_very_many_lets_others_have_their_turns(press: Press) -> None:
    await press.change("all", Created("group", users(10 * MAX_PUT_REFS)))
    work = asyncio.create_task(press.run())
    positions: list[Seq] = []
    while not work.done():
        positions.append(press.store.inbox.position)
        await asyncio.sleep(0)
    # The position says "everywhere" only when the message is everywhere.
    assert positions.count(0) >= 10
    assert press.published == [(1, tuple(users(10 * MAX_PUT_REFS)))]


@pytest.mark.parametrize("turns", range(1, 12, 2))
async def test_what_a_crash_interrupts_is_completed_from_the_log(press: Press, turns: int) -> None:
    size = 3 * MAX_PUT_REFS + 1
    await press.change("team", Created("group", ["bob", "alice"]))
    await press.change("all", Created("group", users(size)))
    await press.say("team")
    await press.say("all")
    work = asyncio.create_task(press.run())
    for _ in range(turns):
        await asyncio.sleep(0)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    again = Press(press.store.reopened())
    await again.run()
    assert await again.inbox("bob") == [1, 3]
    assert {tuple(await again.inbox(user)) for user in users(size)} == {(2, 4)}
    # Only what had not been completed was done again.
    assert [seq for seq, _ in again.published] == list(range(5 - len(again.published), 5))


async def test_run_follows_the_log_until_it_is_closed(press: Press) -> None:
    running = asyncio.create_task(press.fanout.run())
    for count in (1, 2, 3):
        if count == 1:
            await press.change("team", Created("group", ["bob"]))
        else:
            await press.say("team")
        await eventually(lambda count=count: press.positions[-1:] == [count])
    await press.store.aclose()
    await asyncio.wait_for(running, 10)
    assert [seq for seq, _ in press.published] == [1, 2, 3]


async def test_run_starts_where_the_inboxes_stand(press: Press) -> None:
    await press.change("team", Created("group", ["bob"]))
    await press.run()
    last = await press.say("team")
    again = Press(press.store.reopened())
    running = asyncio.create_task(again.fanout.run())
    await eventually(lambda: again.positions == [last])
    await again.store.aclose()
    await running
    assert await again.inbox("bob") == [1, 2]


# -- modes ---------------------------------------------------------------------------------------


async def switch(press: Press, name: str, mode: ModeName) -> Seq:
    return await press.change(SYSTEM_MODES, Mode(name, mode), sender="")


def stored(seq: Seq) -> Stored:
    return Stored(seq, 0, "team", b"")


def test_the_plan_is_made_of_windows_and_modes() -> None:
    team = Conversation.make("team", 1, Created("group", ["alice", "bob"]), "alice")
    assert list(plan(None, stored(5)).users) == []
    first = plan(team, stored(2))
    assert (list(first.users), first.mode) == (["alice", "bob"], "write")
    team.epochs = switched(team.epochs, 3, Mode("team", "read"))
    team.apply(4, Members(joined=["carol"], left=["bob"]))
    team.epochs = switched(team.epochs, 6, Mode("team", "push"))
    plans = [plan(team, stored(seq)) for seq in (2, 4, 5, 7)]
    assert [one.mode for one in plans] == ["write", "read", "read", "push"]
    assert [set(one.users) for one in plans] == [
        {"alice", "bob"},
        {"alice", "bob", "carol"},
        {"alice", "carol"},
        {"alice", "carol"},
    ]
    assert all(isinstance(one.users, Set) for one in plans[1:])
    # What was planned stays true when members change before it is carried out.
    team.apply(9, Members(joined=["dave"], left=["alice", "carol"]))
    assert set(plans[-1].users) == {"alice", "carol"}
    assert [set(plan(team, stored(seq)).users) for seq in (9, 10)] == [
        {"alice", "carol", "dave"},
        {"dave"},
    ]


async def test_only_mode_write_fills_inboxes_and_every_mode_is_published(press: Press) -> None:
    made = await press.change("team", Created("group", ["alice", "bob"]))
    modes: tuple[ModeName, ...] = ("read", "push", "write")
    said: dict[str, Seq] = {}
    for mode in modes:
        await switch(press, "team", mode)
        said[mode] = await press.say("team")
    await press.run()
    assert await press.inbox("alice") == [made, said["write"]]
    published = {seq: set(names) for seq, names in press.published}
    assert [published[seq] for seq in said.values()] == [{"alice", "bob"}] * 3
    assert press.news.may_have(["team"], said["read"] - 1) == ["team"]
    assert press.news.may_have(["team"], said["read"]) == []


async def test_traffic_is_counted_by_mode(press: Press) -> None:
    await press.change("team", Created("group", users(5)))
    await press.say("team", 2)
    await switch(press, "team", "read")
    await press.say("team", 3)
    await switch(press, "team", "push")
    await press.say("team", 4)
    await press.run()
    traffic = press.store.inbox.traffic
    # The two changes of mode are messages too, to nobody.
    assert (traffic.written, traffic.written_receivers) == (3 + 2, 3 * 5)
    assert (traffic.read, traffic.read_receivers) == (3, 15)
    assert (traffic.pushed, traffic.pushed_receivers) == (4, 20)


async def test_larger_conversations_and_those_in_other_modes_are_watched(press: Press) -> None:
    await press.change("team", Created("group", users(2)))
    await press.change("crew", Created("group", users(3)))
    await press.change("duo", Created("group", users(2)))
    await switch(press, "duo", "read")
    await press.say("duo")
    await press.run()
    assert press.loads.watched() == ["crew", "duo"]


async def test_a_read_message_for_very_many_is_one_small_step(press: Press) -> None:
    many = users(3 * MAX_PUT_REFS)
    await press.change("all", Created("group", many))
    await switch(press, "all", "read")
    last = await press.say("all", 20)
    await press.run()
    assert [(seq, len(names)) for seq, names in press.published[2:]] == [
        (seq, len(many)) for seq in range(3, last + 1)
    ]
    assert await press.inbox("u000000") == [1]
    assert 2 <= len(press.positions) <= 2 + 20 * REFS_A_READ_MESSAGE / MAX_PUT_REFS + 1


class FullInbox(MemoryInbox):
    """An inbox whose disk is full now and then; ``late`` failures come after the writing."""

    def __init__(self, failures: list[str]) -> None:
        super().__init__(bucket_ms=1000)
        self.failures = failures

    async def put(self, deliveries: Sequence[Delivery], position: Seq) -> None:
        failure = self.failures.pop(0) if self.failures else ""
        if failure == "storage_unavailable":
            raise error(failure)
        await super().put(deliveries, position)
        if failure:
            raise error(failure)


async def test_inboxes_that_cannot_be_written_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSE_S", 0)
    store = MemoryStore(lambda: 1000)
    store.inbox = FullInbox(["storage_unavailable"] * 3 + ["", "outcome_unknown"] * 3)
    press = Press(store)
    running = asyncio.create_task(press.fanout.run())
    await press.change("all", Created("group", users(2 * MAX_PUT_REFS)))
    last = await press.say("all", 3)
    await eventually(lambda: press.positions[-1:] == [last])
    await store.aclose()
    await running
    assert [(seq, len(names)) for seq, names in press.published] == [
        (seq, 2 * MAX_PUT_REFS) for seq in range(1, last + 1)
    ]
    assert {tuple(await press.inbox(user)) for user in users(2 * MAX_PUT_REFS)} == {(1, 2, 3, 4)}


NAMES = ["alice", "bob", "carol", "dave"]


@settings(max_examples=60)
@given(
    acts=st.lists(
        st.one_of(
            st.tuples(st.just("join"), st.sampled_from(NAMES)),
            st.tuples(st.just("leave"), st.sampled_from(NAMES)),
            st.tuples(st.just("say"), st.just("")),
            st.tuples(st.just("run"), st.just("")),
            st.tuples(st.just("restart"), st.just("")),
        ),
        max_size=30,
    )
)
async def test_who_gets_what_is_decided_by_the_log_alone(acts: list[tuple[str, str]]) -> None:
    press = Press(MemoryStore(lambda: 1000))
    expected: dict[str, list[Seq]] = {name: [] for name in NAMES}
    present = {"alice"}
    seq = await press.change("team", Created("group", ["alice"]))
    expected["alice"].append(seq)
    for act, name in acts:
        if act == "run":
            await press.run()
        elif act == "restart":
            press = Press(press.store.reopened())
        elif act == "say":
            seq = await press.say("team")
            for user in present:
                expected[user].append(seq)
        else:
            change = Members(joined=[name]) if act == "join" else Members(left=[name])
            if act == "join":
                present.add(name)
            seq = await press.change("team", change)
            for user in present:
                expected[user].append(seq)
            if act == "leave":
                present.discard(name)
    await press.run()
    assert {name: await press.inbox(name) for name in NAMES} == expected


async def test_what_a_busy_room_cannot_read_is_in_the_store_only(press: Press) -> None:
    press.fanout = FanOut(
        press.store.log,
        press.store.directory,
        press.store.inbox,
        press.bus,
        news=press.news,
        loads=press.loads,
        sampler=Sampler(lambda: 0, 3),
    )
    made = await press.change("party", Created("room", ["alice", "bob"]))
    last = await press.say("party", 5)
    await press.run()
    assert await press.inbox("bob") == []
    # That it was made is not one of the three.
    published = {seq: set(names) for seq, names in press.published}
    everybody = [seq for seq, names in published.items() if names == {"alice", "bob"}]
    assert everybody == [made, made + 1, made + 2, made + 3]
    assert published[last] == {"alice"}
    page = await press.store.messages.scan("party")
    assert [entry.seq for entry in page.entries] == list(range(made, last + 1))
    assert press.positions[-1] == last
    assert press.loads.watched() == []
