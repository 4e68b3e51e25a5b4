"""The roll: it says of every SeqId what the windows say, whatever was asked of it before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.conversation import MAX_COUNTED_MEMBERS, Conversation
from timewire.model import Created, Members
from timewire.roll import Roll

USERS = ["alice", "bob", "carol", "dave"]
SOME = st.lists(st.sampled_from(USERS), max_size=3)
CHANGES = st.lists(st.tuples(st.integers(1, 3), SOME, SOME), max_size=12)
ASKED = st.sets(st.sampled_from([*USERS, "nobody"]))


def group(*members: str) -> Conversation:
    return Conversation.make("team", 1, Created("group", list(members)), "")


def by_windows(conversation: Conversation, seq: int) -> set[str]:
    return {
        user
        for user, windows in conversation.windows.items()
        if any(window.holds(seq) for window in windows)
    }


def agrees(conversation: Conversation, roll: Roll, last: int, asked: set[str]) -> None:
    """Compare a roll with the windows, at every SeqId up to one past the last."""
    assert roll.size() == len(conversation.present())
    ends = {
        end for mine in conversation.windows.values() for w in mine for end in (w.joined, w.left)
    }
    assert list(roll.changes) == sorted((ends | {1}) - {0})
    for seq in range(1, last + 2):
        there, audience = by_windows(conversation, seq), roll.at(seq)
        assert len(audience) == len(there)
        assert sorted(audience) == sorted(there)
        assert audience & asked == there & asked
        assert audience & dict.fromkeys(asked).keys() == there & asked
        assert {user for user in [*USERS, "nobody"] if user in audience} == there


@given(first=SOME, changes=CHANGES, asked=ASKED, began=st.integers(0, 12))
def test_it_agrees_with_the_windows(
    first: list[str],
    changes: Sequence[tuple[int, list[str], list[str]]],
    asked: set[str],
    began: int,
) -> None:
    team, seq = group(*dict.fromkeys(first)), 1
    for number, (gap, joined, left) in enumerate(changes):
        if number >= began:
            agrees(team, team.roll(), seq, asked)
        seq += gap
        team.apply(seq, Members(joined, left))
    agrees(team, team.roll(), seq, asked)
    agrees(team, Roll(team.windows, team.created), seq, asked)


def test_an_audience_stays_true_whoever_comes_and_goes_later() -> None:
    team = group("alice", "bob")
    early, late = team.audience(1), team.audience(5)
    team.apply(6, Members(joined=["carol"], left=["bob"]))
    team.apply(7, Members(joined=["bob"], left=["alice"]))
    for audience in (early, late):
        assert set(audience) == {"alice", "bob"}
        assert audience & {"alice", "carol"} == {"alice"}
        assert audience & set(USERS) == {"alice", "bob"}
    assert set(team.audience(6)) == {"alice", "bob", "carol"}
    assert set(team.audience(8)) == {"bob", "carol"}
    assert 7 not in early


def test_who_comes_and_goes_with_one_message_was_there_for_it() -> None:
    team = group("alice")
    team.roll()
    team.apply(4, Members(joined=["bob"], left=["bob"]))
    assert set(team.audience(4)) == {"alice", "bob"}
    assert (team.size(), set(team.audience(5))) == (1, {"alice"})


@pytest.mark.parametrize("members", [1, MAX_COUNTED_MEMBERS, MAX_COUNTED_MEMBERS + 1, 500])
def test_the_size_is_known_without_and_with_a_roll(members: int) -> None:
    team = group(*(f"u{n}" for n in range(members)))
    assert team.size() == members
    team.apply(2, Members(joined=["another"], left=["u0", "nobody"]))
    assert team.size() == members
    team.roll()
    team.apply(3, Members(left=["another"]))
    assert team.size() == len(team.present()) == members - 1
