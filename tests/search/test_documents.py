"""What of a stored message can be found."""

from typing import Any

import pytest

from timewire.finding import Document
from timewire.model import (
    Created,
    Members,
    Read,
    Stored,
    encode_change,
    encode_stored,
)
from timewire.search.documents import (
    MAX_MENTIONS,
    MAX_TEXT_CHARS,
    TEXT_KEYS,
    audience_change,
    document,
    revised,
    stored_text,
    text_of,
)


def stored(kind: str = "text", **body: Any) -> Stored:
    return Stored(7, 70, "team", encode_stored("alice", "1", kind, body))


def raw(payload: str) -> Stored:
    return Stored(7, 70, "team", payload.encode())


def found(message: Stored, now: int = 0) -> Document:
    made = document(message, 3, now)
    assert made is not None
    return made


def test_a_message_with_all_its_fields() -> None:
    assert found(stored(text="Hello, Wörld 你好")) == Document(
        7, 70, "team", 3, "alice", "text", "hello world 你 好"
    )


def test_the_texts_of_a_body() -> None:
    body = {key: key.upper() for key in reversed(TEXT_KEYS)}
    assert text_of(body) == "\n".join(key.upper() for key in TEXT_KEYS)
    assert text_of({"text": "a", "name": "", "caption": 5, "other": "x", "url": ["y"]}) == "a"
    assert text_of({}) == ""
    assert found(stored("image", name="Cat.PNG", ref="sha", width=5)).words == "cat png"
    assert found(stored("custom", weird={"text": "x"})).words == ""
    assert stored_text(stored(text="a", url="b").payload) == "a\nb"


def test_a_long_text_is_searched_so_far() -> None:
    long = found(stored(text="x " * MAX_TEXT_CHARS))
    assert len(long.words.split()) == MAX_TEXT_CHARS // 2


@pytest.mark.parametrize("kind", ["image", "file", "audio", "video"])
def test_media_is_what_its_kind_says(kind: str) -> None:
    assert found(stored(kind)).media


def test_media_is_what_names_a_file() -> None:
    assert found(stored("card", ref="sha")).media
    assert not found(stored("card", ref=5)).media
    assert not found(stored(text="image")).media


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("@bob hello", ["bob"]),
        ("hello @bob, @carol! and (@dora) @eve.", ["bob", "carol", "dora", "eve"]),
        ("@bob @bob", ["bob"]),
        ("@all", ["*"]),
        ("@李雷 你好", ["李雷"]),
        ("me@example.com a@b", []),
        ("@ @@ @.", []),
        ("", []),
    ],
)
def test_whom_a_text_speaks_to(text: str, mentions: list[str]) -> None:
    assert list(found(stored(text=text)).mentions) == mentions


def test_whom_a_message_names_comes_first() -> None:
    message = raw(
        '{"from":"a","id":"","kind":"text","body":{"text":"@bob"},"mentions":["carol","*"]}'
    )
    assert found(message).mentions == ("carol", "*", "bob")


def test_mentions_are_bounded() -> None:
    text = " ".join(f"@user{n}" for n in range(2 * MAX_MENTIONS))
    assert len(found(stored(text=text)).mentions) == MAX_MENTIONS


def test_nobody_looks_for_what_the_server_writes() -> None:
    for change in (Created("group", ["a"], "Title"), Members(["b"]), Read("team", 5)):
        assert document(Stored(1, 1, "team", encode_change("a", "", change)), 1) is None
    assert document(stored("edited", seq=1, body={"text": "x"}), 1) is None
    assert document(stored("recalled", seq=1), 1) is None


def test_what_is_gone_is_not_found() -> None:
    assert document(Stored(1, 1, "team", b""), 1) is None
    message = raw('{"from":"a","id":"","kind":"text","body":{"text":"x"},"expires":1000}')
    assert found(message, 999).words == "x"
    assert document(message, 1, 1000) is None
    assert found(message).words == "x"


def test_who_came_in_with_a_message() -> None:
    def of(change: Created | Members | Read) -> list[str] | None:
        return audience_change(Stored(1, 1, "team", encode_change("a", "1", change)))

    assert of(Created("group", ["a", "b"], "Title")) == ["a", "b"]
    assert of(Members(["b"], ["c"])) == ["b"]
    assert of(Members(left=["c"])) == []
    assert of(Read("team", 5)) is None
    assert audience_change(stored("banned", users=["x"])) == []
    assert audience_change(stored(text='"kind":"members"')) is None
    assert audience_change(stored("text", where=[{"kind": "members"}], joined=["b"])) is None
    assert audience_change(stored("members", joined="b")) is None
    assert audience_change(Stored(1, 1, "team", b"")) is None


def test_what_a_message_changes() -> None:
    assert revised(stored("edited", seq=3, body={})) == 3
    assert revised(stored("recalled", seq=4)) == 4
    assert revised(stored(text='the "edited" and "recalled"')) == 0
    assert revised(stored("edited", seq="3")) == 0
    assert revised(stored("edited")) == 0
    assert revised(stored("text", seq=3)) == 0
    assert revised(Stored(1, 1, "team", b"")) == 0
