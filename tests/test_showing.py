import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.errors import Invalid
from timewire.model import Message
from timewire.names import direct
from timewire.showing import MAX_NAMES, content, label, line, marked, moment, printable, resolve

NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


def message(kind: str = "text", /, **body: Any) -> Message:
    return Message("team", 7, 1_800_000_000_000, "alice", "id", kind, body)


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    for char in printable(text):
        assert unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")
        assert unicodedata.bidirectional(char) not in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI")


def test_text_stays_as_it_is_and_lines_become_one() -> None:
    assert printable("你好, мир 👩‍👩‍👧 = “ok”") == "你好, мир 👩‍👩‍👧 = “ok”"
    assert printable("a\nb\r\nc\td") == "a ⏎ b ⏎ c    d"
    assert printable("\x1b[2J\x9b1m") == "�[2J�1m"


@given(NAMES, NAMES)
def test_a_direct_conversation_is_called_by_the_other(user: str, other: str) -> None:
    name = direct(user, other)
    assert label(name, user) == "@" + other
    assert resolve("@" + other, user) == name


def test_a_group_is_called_by_its_name_and_cannot_pass_for_a_user() -> None:
    assert label("team", "alice") == "team"
    assert resolve("team", "alice") == "team"
    assert label("@bob", "alice") == "group @bob"
    assert resolve("group @bob", "alice") == "@bob"


def test_a_direct_conversation_of_others_keeps_its_name() -> None:
    assert label("direct:bob:carol", "alice") == "direct:bob:carol"
    assert label("direct:odd", "alice") == "direct:odd"


def test_a_name_that_no_user_has_is_refused() -> None:
    with pytest.raises(Invalid):
        resolve("@", "alice")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (message(text="hi\x07"), "hi�"),
        (message(text=5), '[text] {"text":5}'),
        (message("image", url="x"), '[image] {"url":"x"}'),
        (
            message("created", kind="group", members=["alice", "bob"]),
            "made this group: alice, bob",
        ),
        (
            message("created", kind="group", members=["a"], title="Ops"),
            "made this group “Ops”: a",
        ),
        (message("created", kind="direct", members=["a", "b"]), "started this conversation"),
        (message("members", joined=["carol"], left=[]), "added carol"),
        (message("members", left=["bob"]), "removed bob"),
        (message("members", left=["alice"]), "left"),
        (message("members"), "changed nothing"),
        (message("members", joined="x"), "added ?"),
        (message("read", conversation="team", seq=3), "has read team up to 3"),
        (Message("team", 7, 0), "(removed)"),
        (
            message("updated", title="Ops", history="all"),
            "changed the group: title Ops, history all",
        ),
        (message("updated"), "changed the group: nothing"),
        (message("role", user="bob", role="admin"), "made bob admin"),
        (message("banned", users=["bob", "eve"], on=True), "banned bob, eve"),
        (message("banned", users=["bob"], on=False), "unbanned bob"),
        (message("banned"), "unbanned ?"),
        (message("muted", user="bob", until=9), "muted bob"),
        (message("muted", user="bob", until=0), "unmuted bob"),
        (message("edited", seq=3, body={"text": "x"}), "edited 3: text x"),
        (message("edited", seq=3), "edited 3: ?"),
        (message("recalled", seq=3), "recalled 3"),
        (message("reaction", seq=3, emoji="👍", on=True), "put 👍 to 3"),
        (message("reaction", seq=3, emoji="👍", on=False), "took 👍 from 3"),
        (message("pinned", seq=3, on=True), "pinned 3"),
        (message("hidden", seq=3, conversation="team"), "hid 3 of team"),
        (message("blocked", user="eve\x07", on=True), "blocked eve�"),
        (
            Message("t", 7, 0, "a", "", "text", {"text": "x"}, edits=[8], reactions={"👍": ["b"]}),
            "x (edited) 👍1",
        ),
    ],
)
def test_every_kind_of_message_reads_as_a_line(shown: Message, expected: str) -> None:
    assert content(shown) == expected


def test_many_names_are_counted() -> None:
    names = [f"u{n}" for n in range(MAX_NAMES + 3)]
    assert content(message("members", joined=names)).endswith("u9 and 3 more")


def test_a_line_says_when_where_who_and_what() -> None:
    shown = message(text="hello")
    assert line(shown, "bob") == f"{moment(shown.time)}  team  alice: hello"
    assert line(message("members", joined=["bob"]), "bob").endswith("  team  alice added bob")
    assert line(Message("team", 7, 0), "bob").endswith("  team  ?: (removed)")


def test_a_snippet_in_pieces_of_which_some_were_searched_for() -> None:
    assert marked("the deploy failed", [(4, 10)]) == [
        ("the ", False),
        ("deploy", True),
        (" failed", False),
    ]
    assert marked("a\tb\x1b\nc", [(0, 1), (5, 6)]) == [
        ("a", True),
        ("    b\N{REPLACEMENT CHARACTER} ⏎ ", False),
        ("c", True),
    ]
    assert marked("all", [(0, 3)]) == [("all", True)]
    assert marked("none", []) == [("none", False)]
    assert marked("", []) == []
