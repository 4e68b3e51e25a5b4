"""The hub: who gets a push, and who waits for it."""

import asyncio
from collections.abc import Iterator, Set

import msgspec
import pytest

from timewire.hub import Hub
from timewire.inbox import Delivery
from timewire.model import Seq, Stored, StoredBody, decode_message, encode_body, encode_stored


class Ear:
    """A receiver that keeps what it is handed."""

    def __init__(self, user: str, device: str = "phone", *, text: bool = True) -> None:
        self.user = user
        self.device = device
        self.live = True
        self.position = 0
        self.text = text
        self.pushed: list[Seq] = []
        self.frames: list[bytes] = []
        self.replaced = self.dropped = 0

    def push(self, data: bytes, seq: Seq) -> None:
        self.pushed.append(seq)
        self.frames.append(data)

    def signal(self, data: bytes) -> bool:
        raise AssertionError("the hub hands over no signals")

    def drop(self) -> None:
        self.dropped += 1

    def replace(self) -> None:
        self.replaced += 1


def delivery(seq: Seq, *users: str, origin: object = None) -> Delivery:
    payload = encode_stored("carol", "1", "text", {"n": seq})
    return Delivery(Stored(seq, 1000, "team", payload, origin), users)


@pytest.fixture
def hub() -> Hub:
    return Hub(10)


def join(hub: Hub, *ears: Ear) -> None:
    for ear in ears:
        hub.join(ear)


def test_everything_goes_to_those_it_is_for(hub: Hub) -> None:
    phone, laptop, bob = Ear("alice"), Ear("alice", "laptop"), Ear("bob")
    join(hub, phone, laptop, bob)
    hub.publish([delivery(11, "alice", "bob"), delivery(12, "alice"), delivery(13, "eve")], 13)
    assert (phone.pushed, laptop.pushed, bob.pushed) == ([11, 12], [11, 12], [11])
    assert hub.position == 13


def test_what_has_expired_on_its_way_is_pushed_without_its_words() -> None:
    now = 99
    hub = Hub(10, lambda: now)
    ear = Ear("alice")
    join(hub, ear)
    payload = encode_body(StoredBody("carol", "1", "text", {"text": "secret"}, expires=100))
    hub.publish([Delivery(Stored(11, 1000, "team", payload), ["alice"])], 11)
    now = 100
    hub.publish([Delivery(Stored(12, 1000, "team", payload), ["alice"])], 12)
    assert [b"secret" in frame for frame in ear.frames] == [True, False]
    assert ear.pushed == [11, 12]


def test_only_those_who_have_everything_before_are_pushed_to(hub: Hub) -> None:
    behind = Ear("alice")
    join(hub, behind)
    behind.live = False
    hub.publish([delivery(11, "alice")], 11)
    behind.live = True
    hub.publish([delivery(12, "alice")], 12)
    assert behind.pushed == [12]


def test_one_who_falls_behind_in_a_batch_gets_no_more_of_it(hub: Hub) -> None:
    class Slow(Ear):
        def push(self, data: bytes, seq: Seq) -> None:
            super().push(data, seq)
            self.live = False

    slow, quick = Slow("alice"), Ear("alice", "laptop")
    join(hub, slow, quick)
    hub.publish([delivery(11, "alice"), delivery(12, "alice")], 12)
    assert (slow.pushed, quick.pushed) == ([11], [11, 12])


def test_the_connection_it_came_from_is_passed_over_and_no_other(hub: Hub) -> None:
    phone, laptop = Ear("alice"), Ear("alice", "laptop")
    join(hub, phone, laptop)
    hub.publish([delivery(11, "alice", origin=phone), delivery(12, "alice")], 12)
    assert (phone.pushed, laptop.pushed) == ([12], [11, 12])


def test_a_frame_holds_the_message_in_the_coding_of_its_connection(hub: Hub) -> None:
    text, binary = Ear("alice"), Ear("bob", text=False)
    join(hub, text, binary)
    hub.publish([delivery(11, "alice", "bob")], 11)
    assert (text.frames[0][0], binary.frames[0][0]) == (0x81, 0x82)
    as_json = msgspec.json.decode(
        text.frames[0][2:] if text.frames[0][1] < 126 else text.frames[0][4:]
    )
    as_msgpack = msgspec.msgpack.decode(
        binary.frames[0][2:] if binary.frames[0][1] < 126 else binary.frames[0][4:]
    )
    assert as_json == as_msgpack
    assert (as_json["type"], as_json["pos"]) == ("push", "11")
    message = decode_message(msgspec.json.encode(as_json["message"]))
    assert (message.seq, message.sender, message.body) == (11, "carol", {"n": 11})


def test_a_frame_is_made_once_for_all(hub: Hub) -> None:
    ears = [Ear("alice", f"d{n}") for n in range(5)]
    join(hub, *ears)
    hub.publish([delivery(11, "alice")], 11)
    assert len({id(ear.frames[0]) for ear in ears}) == 1


def test_of_very_many_only_those_who_are_here_are_looked_at(hub: Hub) -> None:
    class Crowd(set[str]):
        """Ten thousand, whom nobody should go through one by one."""

        def __iter__(self) -> Iterator[str]:
            raise AssertionError

        def __and__(self, other: Set[object]) -> set[str]:
            return {user for user in other if isinstance(user, str) and user in self}

    crowd = Crowd(f"u{n}" for n in range(10_000))
    ears = [Ear(f"u{n}") for n in range(0, 10_000, 10)]
    stranger = Ear("eve")
    join(hub, *ears, stranger)
    message = delivery(11).message
    hub.publish([Delivery(message, crowd, "read"), delivery(12, "eve")], 12)
    assert {tuple(ear.pushed) for ear in ears} == {(11,)}
    assert len({id(ear.frames[0]) for ear in ears}) == 1
    assert stranger.pushed == [12]


def test_of_a_few_each_is_looked_for(hub: Hub) -> None:
    ears = [Ear("alice"), Ear("bob"), Ear("carol")]
    join(hub, *ears)
    hub.publish([Delivery(delivery(11).message, frozenset(["alice", "eve"]), "push")], 11)
    assert [ear.pushed for ear in ears] == [[11], [], []]


def test_a_device_has_one_connection(hub: Hub) -> None:
    old, new, other = Ear("alice"), Ear("alice"), Ear("bob")
    join(hub, old, other, new)
    assert (old.replaced, new.replaced, other.replaced) == (1, 0, 0)
    # The older one is gone; that it leaves once more changes nothing for the newer.
    hub.leave(old)
    hub.publish([delivery(11, "alice", "bob")], 11)
    assert (old.pushed, new.pushed) == ([], [11])
    assert set(hub.receivers()) == {new, other}


class Broken(Ear):
    """A receiver that takes one push and no more."""

    def push(self, data: bytes, seq: Seq) -> None:
        if self.pushed:
            raise OSError("no more")
        super().push(data, seq)


def test_a_push_that_fails_ends_that_connection_and_keeps_nothing_from_the_others(hub: Hub) -> None:
    broken, alice, bob = Broken("alice"), Ear("alice", "laptop"), Ear("bob")
    join(hub, broken, alice, bob)
    hub.publish([delivery(seq, "alice", "bob") for seq in (11, 12, 13)], 13)
    # It was live up to 11; past the message that it did not get it gets none.
    assert (broken.pushed, broken.live, broken.dropped) == ([11], False, 1)
    assert alice.pushed == bob.pushed == [11, 12, 13]
    assert hub.position == 13


def test_who_has_left_is_forgotten(hub: Hub) -> None:
    ear = Ear("alice")
    join(hub, ear)
    hub.leave(ear)
    hub.leave(ear)
    hub.publish([delivery(11, "alice")], 11)
    assert ear.pushed == []
    assert list(hub.receivers()) == []
    assert list(hub.of("alice")) == []


async def test_a_position_can_be_waited_for(hub: Hub) -> None:
    await asyncio.wait_for(hub.reached(10), 10)
    reached: list[int] = []

    async def wait(position: Seq) -> None:
        await hub.reached(position)
        reached.append(position)

    waiting = [asyncio.create_task(wait(position)) for position in (13, 11, 12)]
    await asyncio.sleep(0)
    waiting[2].cancel()
    await asyncio.sleep(0)
    hub.publish([], 11)
    await asyncio.sleep(0)
    assert reached == [11]
    hub.publish([delivery(12, "eve"), delivery(14, "eve")], 14)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert reached == [11, 13]
