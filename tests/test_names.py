"""The rules for names, and what names of direct conversations say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.errors import Invalid, NotFound
from timewire.names import (
    MAX_EMOJI_BYTES,
    MAX_ID_BYTES,
    MAX_NAME_BYTES,
    MAX_TIMELINE_BYTES,
    check_emoji,
    check_id,
    check_name,
    check_timeline,
    direct,
    implied_members,
)

NAMES = st.text(min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("check", "code", "limit"),
    [
        (check_id, "bad_id", MAX_ID_BYTES),
        (check_name, "bad_name", MAX_NAME_BYTES),
        (check_timeline, "bad_timeline", MAX_TIMELINE_BYTES),
        (check_emoji, "bad_emoji", MAX_EMOJI_BYTES),
    ],
    ids=["id", "name", "timeline", "emoji"],
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
