"""Message kinds: which may be sent, and what their bodies hold."""

from typing import Any

import msgspec
import pytest

from timewire.errors import Invalid
from timewire.kinds import MAX_BODY_DEPTH, SCHEMAS, check_body, check_content, check_kind
from timewire.model import CONTROL_KINDS, encode_stored


def test_what_kinds_clients_may_send() -> None:
    for good in ["text", "x", "image.v2", "a_b-c.d", "0", "x" * 32]:
        assert check_kind(good) == good
    for bad in ["", "Text", "a b", ".a", "é", "x" * 33, "text\n", *CONTROL_KINDS]:
        with pytest.raises(Invalid, match="bad_kind"):
            check_kind(bad)


GOOD = [
    ("text", {}),
    ("text", {"text": "hello", "more": [1, {"a": None}]}),
    ("image", {"ref": "abc", "width": 640, "height": 480, "type": "image/png"}),
    ("file", {"ref": "abc", "name": "a.pdf", "bytes": 17}),
    ("audio", {"ref": "abc", "duration_ms": 1500}),
    ("video", {"ref": "abc", "width": 1, "height": 1, "duration_ms": 0}),
    ("location", {"latitude": -90, "longitude": 179.9, "name": "here"}),
    ("of-my-own", {"latitude": "?"}),
]
BAD = [
    ("text", {"text": 1}),
    ("text", {"text": None}),
    ("image", {}),
    ("image", {"ref": ""}),
    ("image", {"ref": "x" * 1025}),
    ("image", {"ref": "abc", "width": -1}),
    ("image", {"ref": "abc", "height": "480"}),
    ("file", {"ref": "abc", "bytes": 2**53}),
    ("audio", {"ref": "abc", "duration_ms": 1.5}),
    ("video", {"duration_ms": 1}),
    ("location", {"latitude": 90.1, "longitude": 0}),
    ("location", {"latitude": 0}),
]


@pytest.mark.parametrize(("kind", "body"), GOOD)
def test_bodies_have_the_fields_of_their_kind_and_may_have_more(
    kind: str, body: dict[str, Any]
) -> None:
    check_content(kind, body, SCHEMAS)


@pytest.mark.parametrize(("kind", "body"), BAD)
def test_bodies_that_are_not_as_their_kind_wants_them(kind: str, body: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        check_content(kind, body, SCHEMAS)
    assert caught.value.code == "bad_body"
    assert caught.value.fields["kind"] == kind
    assert caught.value.fields["reason"]


def test_kinds_can_be_added() -> None:
    class Poll(msgspec.Struct):
        choices: list[str]

    schemas = {**SCHEMAS, "poll": Poll}
    check_content("poll", {"choices": ["a", "b"]}, schemas)
    with pytest.raises(Invalid, match="bad_body"):
        check_content("poll", {"choices": "a"}, schemas)


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
