"""What changes do, as pure functions: to conversations, to messages, for those who have left."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.changes import (
    Made,
    Revision,
    apply,
    as_left,
    change_in,
    revise,
    revisions,
    was_changed,
)
from timewire.conversation import Conversation
from timewire.model import (
    Appointed,
    Banned,
    Change,
    Created,
    Edited,
    Hidden,
    Members,
    Message,
    Pinned,
    Reacted,
    Read,
    Recalled,
    StoredBody,
    Updated,
    Window,
    decode_message,
    decode_stored,
    encode_body,
    encode_change,
    has_expired,
    message_head,
    message_json,
)

SAID = StoredBody("bob", "1", "text", {"text": "one"}, 7, reply=3, mentions=["eve"])
MESSAGE_CHANGES = st.one_of(
    st.builds(Edited, st.just(5), st.dictionaries(st.just("text"), st.sampled_from("abc"))),
    st.builds(Reacted, st.just(5), st.sampled_from("👍🎉"), st.booleans()),
)


def team(*members: str) -> Conversation:
    return Conversation.make("team", 1, Created("group", list(members)), members[0])


def test_a_change_says_whose_windows_it_changes() -> None:
    conversation = team("alice", "bob", "carol")
    assert apply(conversation, 2, 0, Members(joined=["dave", "bob"], left=["carol"])) == [
        "dave",
        "carol",
    ]
    assert apply(conversation, 3, 0, Banned(["bob", "eve"])) == ["bob"]
    assert apply(conversation, 4, 0, Banned(["bob"], on=False)) == []
    assert apply(conversation, 5, 0, Updated(title="x")) == []
    assert apply(conversation, 6, 0, Appointed("dave", "admin")) == []
    assert apply(conversation, 7, 0, Edited(1, {})) == []
    assert conversation.windows["bob"] == [Window(1, 3)]
    assert conversation.left("bob") == 3
    assert conversation.left("alice") == conversation.left("nobody") == 0


def test_what_members_may_read() -> None:
    conversation = team("alice", "bob")
    apply(conversation, 4, 0, Members(left=["bob"]))
    apply(conversation, 8, 0, Members(joined=["bob", "carol"]))
    assert conversation.readable("bob") == [Window(1, 4), Window(8)]
    apply(conversation, 9, 0, Updated(history="all"))
    assert conversation.readable("carol") == conversation.readable("bob") == [Window(1)]
    apply(conversation, 12, 0, Members(left=["carol"]))
    assert conversation.readable("carol") == [Window(1, 12)]
    apply(conversation, 13, 0, Updated(history="joined"))
    assert conversation.readable("carol") == [Window(8, 12)]


# Messages


def test_an_edit_leaves_the_rest_as_it_was() -> None:
    edited = revise(SAID, Edited(5, {"text": "two"}), Made("bob", 9, 900))
    assert edited == StoredBody(
        "bob",
        "1",
        "text",
        {"text": "two"},
        7,
        reply=3,
        mentions=["eve"],
        version=9,
        edited=900,
        edits=[9],
    )


def test_an_earlier_edit_that_comes_late_changes_no_words() -> None:
    late = revise(SAID, Edited(5, {"text": "three"}), Made("bob", 12, 1200))
    assert late
    both = revise(late, Edited(5, {"text": "two"}), Made("bob", 9, 900))
    assert both
    assert (both.body, both.edits, both.edited, both.version) == (
        {"text": "three"},
        [9, 12],
        1200,
        12,
    )
    assert revise(both, Edited(5, {"text": "two"}), Made("bob", 9, 900)) == both


def test_reactions_are_sorted_and_empty_ones_go() -> None:
    now: StoredBody | None = SAID
    for user, emoji, on in [("eve", "👍", True), ("al", "👍", True), ("al", "🎉", True)]:
        assert now
        now = revise(now, Reacted(5, emoji, on), Made(user, 9, 0))
    assert now
    assert now.reactions == {"👍": ["al", "eve"], "🎉": ["al"]}
    now = revise(now, Reacted(5, "🎉", on=False), Made("al", 10, 0))
    assert now
    assert now.reactions == {"👍": ["al", "eve"]}
    assert SAID.reactions == {}


@given(st.lists(MESSAGE_CHANGES, max_size=6))
def test_stored_and_shown_messages_change_alike(changes: list[Any]) -> None:
    payload = encode_body(SAID)
    shown = decode_message(message_json(message_head("team"), 5, 50, payload, 0))
    for seq, change in enumerate(changes, 6):
        made = Made("eve", seq, 10 * seq)
        own = encode_change("eve", "x", change)
        [revision] = revisions(change, made, payload, own)
        assert revision.seq == 5
        payload = revision.payload
        revised = revise(shown, change, made)
        assert revised
        shown = revised
    assert decode_message(message_json(message_head("team"), 5, 50, payload, 0)) == shown


def test_a_recall_takes_edits_with_it() -> None:
    was = encode_body(StoredBody("bob", "1", "text", {}, edits=[8, 9], version=9))
    found = revisions(Recalled(5), Made("bob", 11, 0), was, b"{}")
    assert found == [Revision(5, b""), Revision(8, b""), Revision(9, b"")]


def test_an_edit_inherits_the_end_of_life() -> None:
    was = encode_body(StoredBody("bob", "1", "text", {}, expires=77))
    change = Edited(5, {"text": "two"})
    own = encode_change("bob", "x", change)
    target, edit = revisions(change, Made("bob", 11, 0), was, own)
    assert (target.seq, target.expires, edit.seq, edit.expires) == (5, 0, 11, 77)
    assert decode_stored(target.payload).expires == decode_stored(edit.payload).expires == 77
    assert decode_stored(edit.payload).body == decode_stored(own).body


def test_when_a_life_is_over() -> None:
    payload = encode_body(StoredBody("bob", "1", "text", {"text": "x"}, expires=100))
    assert not has_expired(payload, 99)
    assert has_expired(payload, 100)
    assert decode_message(message_json(message_head("t"), 5, 6, payload, 100)) == Message("t", 5, 6)
    named_alike = encode_body(StoredBody("bob", "1", "text", {"expires": 1, "a": '"expires":1'}))
    assert not has_expired(named_alike, 2**60)
    assert not has_expired(b"", 2**60)


# Those who have left


@pytest.mark.parametrize(
    ("now", "seen"),
    [
        ({}, {}),
        (
            {"version": 9, "reactions": {"👍": ["eve"]}},
            {"version": 9, "reactions": {"👍": ["eve"]}},
        ),
        ({"version": 12, "reactions": {"👍": ["eve"]}}, {}),
        (
            {"version": 12, "edits": [9], "edited": 900, "reactions": {"👍": ["eve"]}},
            {"version": 9, "edits": [9], "edited": 900},
        ),
        ({"version": 12, "edits": [9, 12], "edited": 1200}, None),
    ],
)
def test_who_has_left_is_not_shown_what_came_after(
    now: dict[str, Any], seen: dict[str, Any] | None
) -> None:
    payload = encode_body(StoredBody("bob", "1", "text", {"text": "x"}, **now))
    expected = (
        b"" if seen is None else encode_body(StoredBody("bob", "1", "text", {"text": "x"}, **seen))
    )
    assert as_left(payload, 10) == expected
    assert as_left(payload, 0) == payload
    assert was_changed(payload) == bool(now)
    assert as_left(b"", 10) == b""


# Control messages


@pytest.mark.parametrize(
    "change",
    [
        Created("group", ["alice"], "title", "all", "admins"),
        Created("self", ["alice"]),
        Members(["a"], ["b"]),
        Updated(history="all"),
        Banned(["a"], on=False),
        Edited(5, {"type": "text", "text": "x"}),
        Recalled(5),
        Reacted(5, "👍", on=False),
        Pinned(5),
        Hidden("team", 5),
        Read("team", 5),
    ],
)
def test_a_control_message_says_what_it_changes(change: Change) -> None:
    payload = encode_change("bob", "1", change)
    message = decode_message(message_json(message_head("team"), 5, 6, payload, 0))
    assert change_in(message) == change


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text", {"seq": 5}),
        ("", {}),
        ("recalled", {}),
        ("recalled", {"seq": "5"}),
        ("edited", {"seq": 5, "body": []}),
        ("of-a-newer-server", {"seq": 5}),
    ],
)
def test_what_is_no_known_change_is_none(kind: str, body: dict[str, Any]) -> None:
    assert change_in(Message("team", 5, 6, "bob", "1", kind, body)) is None
