"""Signals: who is told what, and what is let go.  The hub, the bus and the directory are real."""

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest

from timewire import signals as module
from timewire.backends.local_bus import LocalBus
from timewire.backends.memory import MemoryStore
from timewire.bus import Signal
from timewire.errors import TimewireError
from timewire.hub import Hub
from timewire.inbox import Delivery
from timewire.model import (
    Banned,
    Blocked,
    Change,
    Created,
    Draft,
    Members,
    Seq,
    Settings,
    Stored,
    encode_change,
)
from timewire.protocol import MAX_WATCHED_USERS, Presence, SomeoneTyping, Watch, Watching
from timewire.signals import (
    CONVERSATION_INTERVAL_MS,
    LINGER_MS,
    MAX_SHARED_CONVERSATIONS,
    MAX_TYPING_MEMBERS,
    TYPING_INTERVAL_MS,
    Signals,
    Spacing,
)
from timewire.testing.contracts import ManualClock


class Ear:
    """A connection that keeps what it is handed."""

    def __init__(self, user: str, device: str = "phone", *, text: bool = True) -> None:
        self.user = user
        self.device = device
        self.live = True
        self.position = 0
        self.text = text
        self.slow = False
        self.heard: list[dict[str, object]] = []

    def push(self, data: bytes, seq: Seq) -> None:
        raise AssertionError("signals are no pushes")

    def drop(self) -> None: ...
    def replace(self) -> None: ...

    def signal(self, data: bytes) -> bool:
        if not self.slow:
            # Past the header of a short frame.
            decode = msgspec.json.decode if self.text else msgspec.msgpack.decode
            self.heard.append(decode(data[2:]))
        return not self.slow

    def presence(self) -> list[tuple[object, ...]]:
        """What was heard of others, and no longer waits."""
        heard, self.heard = self.heard, []
        return [(one["user"], one["online"], one.get("seen", 0)) for one in heard]


class House:
    """Everything but the gateway."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(self.clock)
        self.hub = Hub(0)
        self.bus = LocalBus()
        self.signals = Signals(self.hub, self.bus, self.store.directory, self.clock)

    async def change(self, conversation: str, sender: str, change: Change) -> None:
        payload = encode_change(sender, "", change)
        [receipt] = await self.store.log.append([Draft(conversation, sender, "", payload, change)])
        assert not isinstance(receipt, TimewireError)
        stored = Stored(receipt.seq, receipt.time, conversation, payload)
        self.bus.publish([Delivery(stored, [])], receipt.seq)

    async def team(self, *members: str, name: str = "team") -> None:
        await self.change(name, members[0], Created("group", list(members)))

    async def come(self, user: str, device: str = "phone", *, text: bool = True) -> Ear:
        ear = Ear(user, device, text=text)
        self.hub.join(ear)
        self.signals.joined(user)
        await self.store.directory.seen(user, device, self.clock())
        return ear

    async def go(self, ear: Ear) -> None:
        self.hub.leave(ear)
        self.signals.left(ear)
        await self.store.directory.seen(ear.user, ear.device, self.clock())

    async def tell(self, after_ms: int = 0) -> None:
        self.clock.now += after_ms
        await self.signals.tell(self.clock())

    async def watch(self, ear: Ear, *users: str) -> list[tuple[str, bool, int]]:
        answer = await self.signals.watch(ear, Watch("w", list(users)))
        assert answer.id == "w"
        return states(answer)


def states(answer: Watching) -> list[tuple[str, bool, int]]:
    return [(one.user, one.online, one.seen) for one in answer.users]


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made = House()
    yield made
    await made.store.aclose()


# -- typing -------------------------------------------------------------------------------------


async def test_the_other_connections_of_members_are_told_who_types(house: House) -> None:
    await house.team("alice", "bob", "carol")
    alice, laptop = await house.come("alice"), await house.come("alice", "laptop")
    bob, eve = await house.come("bob", text=False), await house.come("eve")
    await house.signals.typing(alice, "team")
    told = [{"type": "typing", "conversation": "team", "user": "alice"}]
    assert (alice.heard, laptop.heard, bob.heard, eve.heard) == ([], told, told, [])


async def test_who_is_no_member_types_unheard(house: House) -> None:
    await house.team("alice", "bob")
    alice, bob = await house.come("alice"), await house.come("bob")
    eve = await house.come("eve")
    for conversation in ("team", "no such", "direct:alice:bob"):
        await house.signals.typing(eve, conversation)
    await house.change("team", "alice", Members(left=["bob"]))
    await house.signals.typing(bob, "team")
    assert alice.heard == bob.heard == []


async def test_typing_is_told_once_in_an_interval_for_each_device(house: House) -> None:
    await house.team("alice", "bob")
    await house.team("alice", "bob", name="other")
    phone, laptop = await house.come("alice"), await house.come("alice", "laptop")
    bob = await house.come("bob")

    async def heard(ear: Ear, conversation: str, after_ms: int) -> int:
        house.clock.now += after_ms
        before = len(bob.heard)
        await house.signals.typing(ear, conversation)
        return len(bob.heard) - before

    assert await heard(phone, "team", 0) == 1
    assert await heard(phone, "team", TYPING_INTERVAL_MS - 1) == 0
    assert await heard(phone, "other", 0) == 1
    assert await heard(laptop, "team", 0) == 1
    assert await heard(phone, "team", 1) == 0, "the conversation has just had one"
    assert await heard(phone, "team", TYPING_INTERVAL_MS) == 1


async def test_a_conversation_in_which_all_type_is_sampled(house: House) -> None:
    names = [f"u{number}" for number in range(50)]
    await house.team(*names)
    ears = [await house.come(name) for name in names]
    for ear in ears:
        await house.signals.typing(ear, "team")
    assert len(ears[1].heard) == 1
    house.clock.now += CONVERSATION_INTERVAL_MS
    await house.signals.typing(ears[2], "team")
    assert len(ears[1].heard) == 1, "it has used up its turn"


async def test_in_large_groups_nobody_is_told(house: House) -> None:
    names = [f"u{number}" for number in range(MAX_TYPING_MEMBERS)]
    await house.team("alice", *names[1:])
    alice, one = await house.come("alice"), await house.come("u1")
    await house.signals.typing(alice, "team")
    assert len(one.heard) == 1
    await house.change("team", "alice", Members(joined=["bob"]))
    house.clock.now += TYPING_INTERVAL_MS
    await house.signals.typing(alice, "team")
    assert len(one.heard) == 1


async def test_signals_pass_over_who_is_slow_or_catching_up(house: House) -> None:
    await house.team("alice", "bob", "carol", "dan")
    alice, bob, carol, dan = [await house.come(u) for u in ("alice", "bob", "carol", "dan")]
    bob.slow, carol.live = True, False
    await house.signals.typing(alice, "team")
    assert (len(bob.heard), len(carol.heard), len(dan.heard)) == (0, 0, 1)


async def test_a_signal_of_another_process_is_handed_on(house: House) -> None:
    await house.team("alice", "bob")
    bob = await house.come("bob")
    house.bus.signal(Signal(SomeoneTyping("team", "alice")))
    house.bus.signal(Signal(SomeoneTyping("unknown", "alice")))
    assert [one["conversation"] for one in bob.heard] == ["team"]


# -- presence -----------------------------------------------------------------------------------


async def test_a_watcher_is_told_how_things_stand_and_what_changes(house: House) -> None:
    await house.team("alice", "bob", "carol")
    alice, bob = await house.come("alice"), await house.come("bob")
    await house.tell()
    assert await house.watch(alice, "bob", "carol") == [("bob", True, 0), ("carol", False, 0)]

    carol = await house.come("carol")
    await house.tell()
    assert alice.presence() == [("carol", True, 0)]
    left = house.clock()
    await house.go(bob)
    await house.go(carol)
    await house.tell(LINGER_MS - 1)
    assert alice.presence() == []
    await house.tell(1)
    assert alice.presence() == [("bob", False, left), ("carol", False, left)]
    assert await house.watch(alice, "bob") == [("bob", False, left)]
    assert bob.heard == carol.heard == []


async def test_a_reconnect_does_not_flicker(house: House) -> None:
    await house.team("alice", "bob")
    alice, bob = await house.come("alice"), await house.come("bob")
    await house.tell()
    await house.watch(alice, "bob")
    for _ in range(3):
        await house.go(bob)
        await house.tell(LINGER_MS - 1)
        bob = await house.come("bob")
        await house.tell(LINGER_MS)
    assert alice.presence() == []


async def test_one_device_of_several_leaving_changes_nothing(house: House) -> None:
    await house.team("alice", "bob")
    alice = await house.come("alice")
    phone, laptop = await house.come("bob"), await house.come("bob", "laptop")
    await house.tell()
    await house.watch(alice, "bob")
    await house.go(phone)
    await house.tell(LINGER_MS)
    assert alice.presence() == []
    await house.go(laptop)
    await house.tell(LINGER_MS)
    assert [online for _, online, _ in alice.presence()] == [False]


async def test_only_users_of_a_shared_conversation_are_seen(house: House) -> None:
    await house.team("alice", "bob")
    await house.change("direct:alice:carol", "carol", Created("direct", ["alice", "carol"]))
    await house.team("eve", "dan", name="other")
    await house.team("alice", "fay", name="former")
    await house.change("former", "alice", Members(left=["fay"]))
    ears = {name: await house.come(name) for name in ("alice", "bob", "carol", "dan", "fay")}
    await house.tell()
    names = ["bob", "carol", "dan", "fay", "alice", "nobody"]
    found = await house.watch(ears["alice"], *names)
    assert [online for _, online, _ in found] == [True, True, False, False, True, False]
    assert [seen for _, _, seen in found] == [0] * 6
    await house.go(ears["dan"])
    await house.go(ears["fay"])
    await house.go(ears["bob"])
    await house.tell(LINGER_MS)
    assert [user for user, _, _ in ears["alice"].presence()] == ["bob"]


async def test_who_no_longer_shares_a_conversation_is_shown_as_gone(house: House) -> None:
    await house.team("alice", "bob", "carol")
    await house.team("alice", "carol", name="crew")
    await house.team("alice", "dan", "eve", name="third")
    ears = {name: await house.come(name) for name in ("alice", "bob", "carol", "dan", "eve")}
    alice = ears["alice"]
    await house.tell()
    await house.watch(alice, "bob", "carol", "dan", "eve", "alice")
    await house.watch(ears["bob"], "alice", "carol")

    await house.change("team", "alice", Members(left=["bob", "carol"]))
    await house.signals.look_again()
    assert alice.presence() == [("bob", False, 0)], "carol is in another one with her"
    assert sorted(ears["bob"].presence()) == [("alice", False, 0), ("carol", False, 0)]
    await house.change("self:dan", "dan", Blocked("alice"))
    await house.signals.look_again()
    assert alice.presence() == [("dan", False, 0)]
    await house.change("third", "alice", Banned(["eve"]))
    await house.signals.look_again()
    assert alice.presence() == [("eve", False, 0)]

    for name in ("bob", "dan", "eve", "carol"):
        await house.go(ears[name])
    await house.tell(LINGER_MS)
    assert [user for user, _, _ in alice.presence()] == ["carol"], "of the others nothing is told"


async def test_who_asks_again_after_parting_is_answered_once(house: House) -> None:
    await house.team("alice", "bob")
    alice, _ = await house.come("alice"), await house.come("bob")
    await house.tell()
    await house.watch(alice, "bob")
    await house.change("team", "alice", Members(left=["bob"]))
    assert [online for _, online, _ in await house.watch(alice, "bob")] == [False]
    await house.go(alice)
    await house.signals.look_again()
    assert alice.presence() == []


async def test_who_is_in_a_room_with_somebody_does_not_see_when_he_is_there(house: House) -> None:
    await house.change("party", "alice", Created("room", ["alice", "bob"]))
    await house.change("news", "alice", Created("channel", ["alice", "bob"]))
    alice, _ = await house.come("alice"), await house.come("bob")
    assert [online for _, online, _ in await house.watch(alice, "bob")] == [False]


async def test_the_search_for_shared_conversations_is_bounded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_SHARED_CONVERSATIONS >= 100
    monkeypatch.setattr(module, "MAX_SHARED_CONVERSATIONS", 3)
    for number in range(4):
        await house.team("alice", f"u{number}", name=f"g{number}")
    alice = await house.come("alice")
    for number in range(4):
        await house.come(f"u{number}")
    await house.tell()
    found = await house.watch(alice, "u0", "u1", "u2", "u3")
    assert [online for _, online, _ in found] == [True, True, True, False]


async def test_who_hides_is_offline_at_once_and_says_not_since_when(house: House) -> None:
    await house.team("alice", "bob")
    alice, bob = await house.come("alice"), await house.come("bob")
    await house.tell()
    await house.watch(alice, "bob")
    await house.change("self:bob", "bob", Settings("nobody"))
    await house.tell()
    assert alice.presence() == [("bob", False, 0)]
    assert await house.watch(alice, "bob") == [("bob", False, 0)]
    await house.go(bob)
    await house.tell(LINGER_MS)
    await house.come("bob")
    await house.tell()
    assert alice.presence() == []

    await house.change("self:bob", "bob", Settings("all"))
    await house.tell()
    assert alice.presence() == [("bob", True, 0)]


async def test_a_watch_replaces_the_one_before_and_ends_with_the_connection(house: House) -> None:
    await house.team("alice", "bob", "carol")
    alice = await house.come("alice")
    await house.watch(alice, "bob")
    await house.watch(alice, "carol")
    bob, carol = await house.come("bob"), await house.come("carol")
    await house.tell()
    assert alice.presence() == [("carol", True, 0)]
    await house.watch(alice)
    await house.go(carol)
    await house.tell(LINGER_MS)
    assert alice.presence() == []
    await house.watch(alice, "bob")
    await house.go(alice)
    await house.go(bob)
    await house.tell(LINGER_MS)
    assert alice.presence() == []
    assert house.signals._watchers == {}


async def test_a_connection_that_is_gone_is_told_nothing(house: House) -> None:
    await house.team("alice", "bob")
    alice = Ear("alice")
    assert await house.watch(alice, "bob") == [("bob", False, 0)]
    await house.come("bob")
    await house.tell()
    assert alice.presence() == []
    assert house.signals._watchers == {}


async def test_watchers_of_one_user_are_bounded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WATCHERS", 2)
    await house.team("alice", "bob", "carol", "dan", "star")
    await house.come("star")
    await house.tell()
    ears = [await house.come(name) for name in ("alice", "bob", "carol", "dan")]
    for ear in ears:
        assert await house.watch(ear, "star") == [("star", True, 0)]
    await house.change("self:star", "star", Settings("nobody"))
    await house.tell()
    assert [len(ear.presence()) for ear in ears] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("users", "code"),
    [
        ([f"u{number}" for number in range(MAX_WATCHED_USERS + 1)], "too_many_watched"),
        (["bob", "a b"], "bad_name"),
        ([""], "bad_name"),
    ],
)
async def test_what_cannot_be_watched(house: House, users: Sequence[str], code: str) -> None:
    alice = await house.come("alice")
    with pytest.raises(TimewireError) as refused:
        await house.watch(alice, *users)
    assert refused.value.code == code


async def test_changes_that_cannot_be_told_now_are_told_later(house: House) -> None:
    await house.team("alice", "bob")
    alice = await house.come("alice")
    await house.watch(alice, "bob")
    await house.come("bob")
    settings = house.store.directory.settings

    async def broken(user: str) -> Settings:
        raise TimewireError("storage_unavailable")

    house.store.directory.settings = broken
    with pytest.raises(TimewireError):
        await house.tell()
    house.store.directory.settings = settings
    await house.tell()
    assert ("bob", True, 0) in alice.presence()


async def test_presence_from_another_process_counts(house: House) -> None:
    await house.team("alice", "bob")
    alice = await house.come("alice")
    house.bus.signal(Signal(Presence("bob", True)))
    assert await house.watch(alice, "bob") == [("bob", True, 0)]
    house.bus.signal(Signal(Presence("bob", False, 17)))
    assert alice.presence() == [("bob", False, 17)]


# -- spacing ------------------------------------------------------------------------------------


def test_spacing_keeps_keys_apart_and_forgets_the_oldest() -> None:
    spacing = Spacing(2)
    assert spacing.take(("a",), 10, 0)
    assert spacing.take(("b",), 10, 1)
    assert not spacing.take(("a",), 10, 9)
    assert spacing.take(("a",), 10, 10)
    assert spacing.take(("c",), 10, 10)
    assert spacing.take(("b",), 10, 10), "it was forgotten"


def test_a_clock_that_goes_back_blocks_nothing() -> None:
    spacing = Spacing(2)
    assert spacing.take(("a",), 10, 1000)
    assert spacing.take(("a",), 10, 3)


# -- blocks -------------------------------------------------------------------------------------


async def test_who_is_blocked_sees_nothing_and_types_unheard(house: House) -> None:
    await house.change("direct:alice:bob", "alice", Created("direct", ["alice", "bob"]))
    await house.change("self:bob", "bob", Blocked("alice"))
    alice, bob = await house.come("alice"), await house.come("bob")
    await house.tell()
    assert await house.watch(alice, "bob") == [("bob", False, 0)]
    assert await house.watch(bob, "alice") == [("alice", True, 0)]
    await house.signals.typing(alice, "direct:alice:bob")
    assert bob.heard == []
