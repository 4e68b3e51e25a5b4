"""What of a busy room is pushed to everybody, and what nobody misses."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire import sampling
from timewire.inbox import Delivery
from timewire.model import (
    Banned,
    Change,
    Members,
    Reacted,
    Recalled,
    Stored,
    encode_change,
    encode_stored,
)
from timewire.sampling import Sampler

VIEWERS = frozenset({"alice", "bob", "carol"})


class Room:
    """A sampler, a clock, and messages to thin out."""

    def __init__(self, per_second: int) -> None:
        self.now = 5_000
        self.sampler = Sampler(lambda: self.now, per_second)

    def said(self, name: str = "party", sender: str = "alice") -> frozenset[str]:
        """Who is pushed a comment."""
        return self.pushed(encode_stored(sender, "", "text", {"text": "hi"}), name)

    def change(self, change: Change, sender: str = "alice") -> frozenset[str]:
        return self.pushed(encode_change(sender, "", change))

    def pushed(self, payload: bytes, name: str = "party") -> frozenset[str]:
        thinned = self.sampler.thin(Delivery(Stored(7, 0, name, payload), VIEWERS, "push"))
        assert (thinned.message.seq, thinned.mode) == (7, "push")
        return frozenset(thinned.users)


def test_so_many_a_second_are_pushed_to_all_and_the_rest_to_their_senders() -> None:
    room = Room(per_second=2)
    assert [room.said() for _ in range(3)] == [VIEWERS, VIEWERS, {"alice"}]
    room.now += 500
    assert [room.said(sender="bob") for _ in range(2)] == [VIEWERS, {"bob"}]
    room.now += 60_000
    assert [room.said() for _ in range(3)] == [VIEWERS, VIEWERS, {"alice"}]


def test_a_sender_who_is_gone_gets_nothing() -> None:
    room = Room(per_second=1)
    room.said()
    assert room.said(sender="dave") == frozenset()


def test_rooms_do_not_take_from_each_other() -> None:
    room = Room(per_second=1)
    assert room.said("one") == room.said("two") == VIEWERS
    assert room.said("one") == {"alice"}


@pytest.mark.parametrize("change", [Recalled(3), Banned(["bob"])], ids=repr)
def test_what_must_not_be_missed_is_never_thinned(change: Change) -> None:
    room = Room(per_second=1)
    assert [room.change(change) for _ in range(3)] == [VIEWERS] * 3
    assert room.said() == VIEWERS, "and takes nothing from comments"


def test_reactions_are_thinned_like_comments() -> None:
    room = Room(per_second=1)
    assert room.change(Reacted(3, "🎉")) == VIEWERS
    assert room.change(Reacted(3, "🎉")) == {"alice"}


def test_who_comes_and_goes_is_told_to_those_whom_it_is_about() -> None:
    for per_second in (0, 1):
        room = Room(per_second)
        assert room.change(Members(joined=["bob", "dave"])) == {"alice", "bob"}
        assert room.change(Members(left=["carol"])) == {"alice", "carol"}
        assert room.said() == VIEWERS, "it takes nothing from comments"


def test_nothing_is_thinned_without_a_rate_nor_is_what_is_gone() -> None:
    room = Room(per_second=0)
    assert [room.said() for _ in range(100)] == [VIEWERS] * 100
    room = Room(per_second=1)
    assert [room.pushed(b"") for _ in range(3)] == [VIEWERS] * 3


def test_rates_of_few_rooms_are_remembered(monkeypatch: Any) -> None:
    monkeypatch.setattr(sampling, "MAX_ROOMS", 2)
    room = Room(per_second=1)
    for name in ("one", "two", "one", "three"):
        room.said(name)
    assert room.said("one") == {"alice"}
    assert room.said("two") == VIEWERS


@given(
    st.integers(1, 5),
    st.lists(st.integers(-100, 700), max_size=60),
)
def test_no_second_has_more_than_twice_the_rate(per_second: int, pauses: list[int]) -> None:
    room = Room(per_second)
    pushed: list[int] = []
    newest = room.now
    for pause in pauses:
        room.now += pause
        newest = max(newest, room.now)
        if room.said() == VIEWERS:
            pushed.append(newest)
    for start in pushed:
        assert sum(start <= at < start + 1000 for at in pushed) <= 2 * per_second
