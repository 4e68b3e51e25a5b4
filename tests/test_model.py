"""The nouns and the rules for their names."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.conversation import Conversation
from timewire.model import (
    CONTROL_KINDS,
    MAX_SEQ,
    Change,
    Created,
    Entry,
    Members,
    Message,
    Read,
    Stored,
    Window,
    decode_message,
    encode_change,
    encode_stored,
    message_head,
    message_json,
    shown_json,
)

USERS = st.sampled_from(["alice", "bob", "carol", "群"])
NAMES = st.text(min_size=1, max_size=20)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
BODIES = st.dictionaries(
    TEXTS,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXTS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


# Windows and conversations


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        (Window(3), [3, 4, MAX_SEQ], [0, 1, 2]),
        (Window(3, 5), [3, 4, 5], [2, 6, MAX_SEQ]),
        (Window(3, 3), [3], [2, 4]),
    ],
)
def test_a_window_holds_both_its_ends(
    window: Window, inside: list[int], outside: list[int]
) -> None:
    assert all(window.holds(seq) for seq in inside)
    assert not any(window.holds(seq) for seq in outside)


def test_a_conversation_begins_with_its_first_members() -> None:
    team = Conversation.make("team", 7, Created("group", ["bob", "alice"], "The team"), "alice")
    assert (team.name, team.kind, team.title) == ("team", "group", "The team")
    assert (team.created, team.changed) == (7, 7)
    assert team.present() == ["bob", "alice"]
    assert (team.is_member("bob"), team.is_member("carol")) == (True, False)
    assert team.members_at(6) == []
    assert team.members_at(7) == ["bob", "alice"]


def test_members_join_and_leave_once() -> None:
    team = Conversation.make("team", 1, Created("group", ["alice", "bob"]), "alice")

    assert team.apply(3, Members(joined=["carol", "alice", "carol"], left=["bob", "dave"])) == [
        "carol",
        "bob",
    ]
    assert team.windows == {
        "alice": [Window(1)],
        "bob": [Window(1, 3)],
        "carol": [Window(3)],
    }
    assert team.apply(5, Members(joined=["bob"])) == ["bob"]
    assert team.windows["bob"] == [Window(1, 3), Window(5)]
    assert team.present() == ["alice", "bob", "carol"]  # in the order of their first joining
    assert team.members_at(3) == ["alice", "bob", "carol"]
    assert team.members_at(4) == ["alice", "carol"]


@given(st.lists(st.tuples(st.lists(USERS, max_size=3), st.lists(USERS, max_size=3)), max_size=8))
def test_members_at_any_time_are_those_of_then(changes: list[tuple[list[str], list[str]]]) -> None:
    team = Conversation.make("team", 1, Created("group", ["alice"]), "alice")
    members, at = {"alice"}, {1: {"alice"}}
    for seq, (joined, left) in enumerate(changes, 2):
        members |= set(joined)
        at[seq] = set(members)  # the leaving still get the message that says so
        members -= set(left)
        before = team.windows.copy()
        changed = team.apply(seq, Members(joined, left))
        assert set(team.windows) - set(before) <= set(changed)
        assert set(team.present()) == set(team.members_at(seq + 1)) == members
        assert team.changed == seq
    assert {seq: set(team.members_at(seq)) for seq in at} == at


# What is stored of a message


@given(NAMES.filter(str.isprintable), st.integers(1, MAX_SEQ), st.integers(0, 2**53), BODIES, TEXTS)
def test_a_spliced_message_is_the_message(
    conversation: str, seq: int, time: int, body: dict[str, Any], sender: str
) -> None:
    payload = encode_stored(sender, "id 1", "text", body, sent=5)
    spliced = message_json(message_head(conversation), seq, time, payload, 0)

    assert decode_message(spliced) == Message(
        conversation, seq, time, sender, "id 1", "text", body, 5
    )
    assert json.loads(spliced) == {
        "conversation": conversation,
        "seq": seq,
        "time": time,
        "from": sender,
        "id": "id 1",
        "kind": "text",
        "body": body,
        "sent": 5,
    }


def test_a_damaged_message_has_its_place_and_says_why() -> None:
    for one in (
        Entry("team", 3, 9, b"", damaged=True),
        Stored(3, 9, "team", b"", damaged=True),
    ):
        shown = shown_json(message_head("team"), one, 0)
        assert decode_message(shown) == Message("team", 3, 9, damaged=True)
    whole = Entry("team", 3, 9, encode_stored("alice", "1", "text", {"text": "x"}))
    assert shown_json(message_head("team"), whole, 0) == message_json(
        message_head("team"), 3, 9, whole.payload, 0
    )


def test_a_redacted_message_has_its_place_only() -> None:
    spliced = message_json(message_head('a "team"'), 3, 9, b"", 0)
    assert json.loads(spliced) == {"conversation": 'a "team"', "seq": 3, "time": 9}
    assert decode_message(spliced) == Message('a "team"', 3, 9)


@pytest.mark.parametrize(
    ("change", "body"),
    [
        (
            Created("group", ["alice"], "T"),
            {"kind": "group", "members": ["alice"], "title": "T"},
        ),
        (Members(joined=["bob"]), {"joined": ["bob"], "left": []}),
        (Read("team", 5), {"conversation": "team", "seq": 5}),
    ],
)
def test_a_change_is_stored_as_a_control_message(change: Change, body: dict[str, Any]) -> None:
    payload = encode_change("alice", "1", change)
    message = decode_message(message_json(message_head("team"), 1, 2, payload, 0))
    assert (message.sender, message.id, message.body) == ("alice", "1", body)
    assert message.kind in CONTROL_KINDS
    assert message.kind == type(change).__struct_config__.tag
