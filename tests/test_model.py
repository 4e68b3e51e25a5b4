"""The nouns and the rules for their names."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.errors import Invalid, NotFound
from timewire.kinds import MAX_BODY_DEPTH, check_body, check_kind
from timewire.model import (
    CONTROL_KINDS,
    MAX_SEQ,
    Change,
    Conversation,
    Created,
    Members,
    Message,
    Read,
    Window,
    decode_message,
    encode_change,
    encode_stored,
    message_head,
    message_json,
)
from timewire.names import (
    MAX_ID_BYTES,
    MAX_NAME_BYTES,
    MAX_TIMELINE_BYTES,
    check_id,
    check_name,
    check_timeline,
    direct,
    implied_members,
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


# Names


@pytest.mark.parametrize(
    ("check", "code", "limit"),
    [
        (check_id, "bad_id", MAX_ID_BYTES),
        (check_name, "bad_name", MAX_NAME_BYTES),
        (check_timeline, "bad_timeline", MAX_TIMELINE_BYTES),
    ],
    ids=["id", "name", "timeline"],
)
def test_what_ids_and_names_may_be(check: Any, code: str, limit: int) -> None:
    for good in ["a", "é", "群聊", "😀" * (limit // 4), "x" * limit, "a-b_c.d@e", "🙂"]:
        assert check(good) == good
    bad = [
        "",
        "x" * (limit + 1),
        "é" * (limit // 2 + 1),
        "a\x00",
        "\x7f",
        "a\x85",
        "\u2028",
        "\ud800",
    ]
    for name in bad:
        with pytest.raises(Invalid) as caught:
            check(name)
        assert caught.value.code == code
        assert len(next(iter(caught.value.fields.values()))) <= 40


@pytest.mark.parametrize("mark", [":", "/", " ", "\u00a0"])
def test_only_names_are_free_of_marks_that_mean_something(mark: str) -> None:
    assert check_id(f"a{mark}b") == f"a{mark}b"
    assert check_timeline(f"a{mark}b") == f"a{mark}b"
    with pytest.raises(Invalid, match="bad_name"):
        check_name(f"a{mark}b")


def test_what_kinds_clients_may_send() -> None:
    for good in ["text", "x", "image.v2", "a_b-c.d", "0", "x" * 32]:
        assert check_kind(good) == good
    for bad in ["", "Text", "a b", ".a", "é", "x" * 33, "text\n", *CONTROL_KINDS]:
        with pytest.raises(Invalid, match="bad_kind"):
            check_kind(bad)


# Bodies


def nested(depth: int, kind: str) -> dict[str, Any]:
    """A body with this many levels, its own included."""
    value: Any = 1
    for level in range(depth - 1):
        value = [value] if kind == "lists" or (kind == "both" and level % 2) else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("kind", ["lists", "objects", "both"])
def test_bodies_are_nested_only_so_deep(kind: str) -> None:
    fits, deep = nested(MAX_BODY_DEPTH, kind), nested(MAX_BODY_DEPTH + 1, kind)
    check_body(fits, encode_stored("a", "1", "text", fits), 10_000)
    with pytest.raises(Invalid, match="bad_body"):
        check_body(deep, encode_stored("a", "1", "text", deep), 10_000)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    body = {"a": [{}] * 1000, "b": "[" * 1000}
    check_body(body, encode_stored("a", "1", "text", body), 10_000)


def test_the_size_of_a_body_is_that_of_its_json() -> None:
    body = {"t": "é" * 46}  # with {"t":""}, 100 bytes
    payload = encode_stored("a" * 100, "1" * 100, "text", body)
    check_body(body, payload, 100)
    with pytest.raises(Invalid) as caught:
        check_body(body, payload, 99)
    assert (caught.value.code, caught.value.fields) == ("body_too_large", {"limit": 99})


# Names of conversations


@pytest.mark.parametrize("name", [".", ".."])
def test_names_stand_in_url_paths(name: str) -> None:
    with pytest.raises(Invalid, match="bad_name"):
        check_name(name)
    assert check_name(name + ".a") == name + ".a"


def test_a_direct_conversation_has_one_name() -> None:
    assert direct("bob", "alice") == direct("alice", "bob") == "direct:alice:bob"
    assert direct("alice", "alice") == "self:alice"
    for one, other in [("a:b", "c"), ("c", "a:b"), ("", "a"), ("a b", "a b")]:
        with pytest.raises(Invalid, match="bad_name"):
            direct(one, other)


@given(NAMES, NAMES)
def test_its_members_are_read_from_its_name(one: str, other: str) -> None:
    try:
        name = direct(one, other)
    except Invalid:
        return
    assert implied_members(name) == sorted({one, other})


def test_a_groups_members_are_not_in_its_name() -> None:
    for name in ["team", "directly", "selfless", "群"]:
        assert implied_members(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "direct:",
        "direct:alice",
        "direct:alice:",
        "direct::bob",
        "direct:bob:alice",
        "direct:alice:alice",
        "direct:a:b:c",
        "direct:a b:c",
        "direct:a:" + "b" * (MAX_NAME_BYTES + 1),
        "self:",
        "self:a:b",
        "self:a\x00",
        "self:\ud800",
    ],
    ids=ascii,
)
def test_a_malformed_name_names_nothing(name: str) -> None:
    with pytest.raises(NotFound) as caught:
        implied_members(name)
    assert caught.value.code == "unknown_conversation"
