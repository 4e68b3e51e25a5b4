"""Frames and their coding, fuzzed."""

import json
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.asking import GetHistory
from timewire.coding import CODECS, JSON, MSGPACK, Codec
from timewire.commands import Frame, Send
from timewire.errors import CODES, Invalid, error
from timewire.model import decode_message, encode_stored, message_head, message_json
from timewire.protocol import (
    SUBPROTOCOLS,
    Ack,
    At,
    ClientFrame,
    CloseCode,
    ConversationPage,
    ConversationState,
    Credit,
    Cursor,
    Hello,
    HistoryPage,
    Live,
    Ping,
    Problem,
    Push,
    ServerFrame,
    SyncPage,
    advice,
    problem,
)

BOTH = pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
BODIES = st.dictionaries(TEXTS, VALUES, max_size=4)
MESSAGES = st.builds(
    lambda conversation, seq, body: message_json(
        message_head(conversation), seq, 5, encode_stored("alice", "1", "text", body), 0
    ),
    TEXTS,
    st.integers(1, 2**63 - 1),
    BODIES,
)
CLIENT_FRAMES = st.one_of(
    st.builds(Hello, TEXTS, TEXTS, st.none() | st.builds(Cursor, TEXTS, TEXTS), st.integers(1, 9)),
    st.builds(Send, TEXTS, TEXTS, BODIES, TEXTS, st.integers(0, 2**53 - 1)),
    st.builds(GetHistory, TEXTS, TEXTS, st.none() | st.integers(0, 9)),
    st.builds(Credit, st.integers(1, 9)),
)
SERVER_FRAMES = st.one_of(
    st.builds(Ack, TEXTS, st.integers(1, 2**63 - 1), st.integers(0, 2**53), st.booleans()),
    st.builds(Problem, TEXTS, TEXTS, TEXTS, st.booleans(), BODIES),
    st.builds(Live, TEXTS),
    st.builds(At, TEXTS),
)
LOOKS_LIKE_A_FRAME = st.dictionaries(
    st.sampled_from(["type", "id", "to", "body", "token", "device", "cursor", "seq", "sent"]),
    st.sampled_from(["hello", "send", "read", "ack", "page", "error"]) | VALUES,
)


def plain(frame: Frame) -> Any:
    """A frame as plain values: messages in it too, so that their coding does not matter."""
    return json.loads(JSON.encode(frame))


def verdict(decode: Callable[[bytes | str], Frame], data: bytes | str) -> object:
    """A frame as plain values, or the code and the id of its refusal."""
    try:
        return plain(decode(data))
    except Invalid as refused:
        return refused.code, refused.fields.get("id")


def assert_judged(decode: Callable[[bytes | str], Frame], data: bytes | str) -> None:
    """Decoding gives a frame, or refuses it; it raises nothing else."""
    match verdict(decode, data):
        case {"type": str()} | ("bad_frame" | "unknown_type", _):
            pass
        case other:
            pytest.fail(f"neither a frame nor a refusal: {other!r}")


def refusal(codec: Codec, data: bytes | str) -> tuple[str, str]:
    """The code and the id of the error that a frame from a device is answered with."""
    with pytest.raises(Invalid) as caught:
        codec.decode_client(data)
    return caught.value.code, caught.value.fields.get("id", "")


# Round trips


@BOTH
@given(frame=CLIENT_FRAMES)
def test_client_frames_arrive_as_they_were_sent(codec: Codec, frame: Frame) -> None:
    assert codec.decode_client(codec.encode(frame)) == frame


@BOTH
@given(frame=SERVER_FRAMES)
def test_server_frames_arrive_as_they_were_sent(codec: Codec, frame: Frame) -> None:
    assert codec.decode_server(codec.encode(frame)) == frame


@given(frame=CLIENT_FRAMES | SERVER_FRAMES)
def test_both_codecs_carry_the_same_object(frame: Frame) -> None:
    assert msgspec.msgpack.decode(MSGPACK.encode(frame)) == plain(frame)


@BOTH
@given(messages=st.lists(MESSAGES, max_size=3), pos=TEXTS)
def test_messages_in_pages_arrive_as_they_were_stored(
    codec: Codec, messages: list[bytes], pos: str
) -> None:
    raw = [msgspec.Raw(message) for message in messages]
    last = decode_message(raw[0]) if raw else None
    state = ConversationState("team", "group", "T", True, 1, 2, last)
    for frame in [
        SyncPage(raw, pos, True),
        HistoryPage("1", "team", raw, False),
        ConversationPage("1", [state], False),
    ]:
        assert plain(codec.decode_server(codec.encode(frame))) == plain(frame)
    page = codec.decode_server(codec.encode(SyncPage(raw, pos)))
    assert isinstance(page, SyncPage)
    assert [json.loads(bytes(raw)) for raw in page.messages] == [json.loads(m) for m in messages]


@BOTH
@given(message=MESSAGES, pos=st.integers(0, 2**63 - 1))
def test_a_push_is_the_encoded_push_frame(codec: Codec, message: bytes, pos: int) -> None:
    assert codec.push(str(pos), message) == codec.encode(Push(str(pos), msgspec.Raw(message)))


def test_defaults_are_left_out_and_filled_in() -> None:
    assert JSON.encode(Send("1", "team", {})) == b'{"type":"send","id":"1","to":"team","body":{}}'
    assert JSON.decode_client('{"type":"ping"}') == Ping()
    hello = JSON.decode_client('{"type":"hello","token":"t","device":"d"}')
    assert hello == Hello("t", "d", cursor=None, credit=4)


def test_unknown_fields_are_left_for_later_versions() -> None:
    assert JSON.decode_client('{"type":"ping","id":"1","new":[{}]}') == Ping("1")


# Refusals


@BOTH
@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_invalid(codec: Codec, data: bytes) -> None:
    assert_judged(codec.decode_client, data)
    assert_judged(codec.decode_server, data)


@BOTH
@given(data=st.text(max_size=60))
def test_any_text_is_a_frame_or_invalid(codec: Codec, data: str) -> None:
    assert_judged(codec.decode_client, data)
    assert_judged(codec.decode_server, data)


@given(frame=LOOKS_LIKE_A_FRAME)
def test_both_codecs_judge_alike(frame: dict[str, Any]) -> None:
    as_json, as_msgpack = msgspec.json.encode(frame), msgspec.msgpack.encode(frame)
    assert verdict(JSON.decode_client, as_json) == verdict(MSGPACK.decode_client, as_msgpack)
    assert verdict(JSON.decode_server, as_json) == verdict(MSGPACK.decode_server, as_msgpack)


@BOTH
@given(frame=CLIENT_FRAMES, cut=st.integers(1, 1000), noise=st.binary(min_size=1, max_size=3))
def test_a_broken_frame_is_not_half_understood(
    codec: Codec, frame: Frame, cut: int, noise: bytes
) -> None:
    whole = codec.encode(frame)
    assert refusal(codec, whole[: -min(cut, len(whole))])[0] == "bad_frame"
    at = cut % len(whole)
    assert_judged(codec.decode_client, whole[:at] + noise + whole[at:])


@pytest.mark.parametrize(
    ("data", "code", "id"),
    [
        ('{"type":"sned","id":"7"}', "unknown_type", "7"),
        ('{"type":"welcome","id":"7"}', "unknown_type", "7"),  # the server's to say
        ('{"type":"send","id":"7"}', "bad_frame", "7"),
        ('{"type":"send","id":"7","to":"team","body":[]}', "bad_frame", "7"),
        ('{"type":"send","id":"7","to":"team","body":{},"sent":"now"}', "bad_frame", "7"),
        ('{"type":"send","id":"7","to":"t","body":{},"sent":9007199254740992}', "bad_frame", "7"),
        ('{"type":"send","id":"7","to":"t","body":{},"sent":-1}', "bad_frame", "7"),
        ('{"type":"send","id":"7","to":"team","body":{},"ack":"perhaps"}', "bad_frame", "7"),
        ('{"type":"send","id":7,"to":"team","body":{}}', "bad_frame", ""),
        ('{"id":"7"}', "bad_frame", "7"),
        ('{"type":"send","id":"' + "7" * 500 + '"}', "bad_frame", "7" * 128),
        ("[]", "bad_frame", ""),
        ("null", "bad_frame", ""),
        ("", "bad_frame", ""),
        ('{"type":"ping"} {}', "bad_frame", ""),
        ('{"type":"ping","id":"\\ud800"}', "bad_frame", ""),
        ('{"type":"ping","id":"\ud800"}', "bad_frame", ""),
        (b'{"type":"ping","id":"\xff"}', "bad_frame", ""),
        ('{"type":"send","id":"7","to":"team","body":{"n":1e999}}', "bad_frame", "7"),
        ('{"type":"credit","pages":' + "9" * 5000 + "}", "bad_frame", ""),
        ('{"type":"send","id":"7","to":"t","body":{"a":' + "[" * 100_000, "bad_frame", ""),
    ],
    ids=lambda value: ascii(value[:40]),
)
def test_a_refusal_says_why_and_to_what(data: bytes | str, code: str, id: str) -> None:
    assert refusal(JSON, data) == (code, id)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * 100_000,  # nested beyond all measure
        b"\xc1",  # never used
        b"\xc0\xc0",  # two values
        b"\xa1\xff",  # not UTF-8
        b"\xdd\xff\xff\xff\xff",  # four billion elements promised
        msgspec.msgpack.encode({"type": "ping", "more": {(1, 2): 3}}),
        msgspec.msgpack.encode({"type": "ping", "more": msgspec.msgpack.Ext(5, b"x")}),
        '{"type":"ping"}',
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_what_is_not_messagepack_of_json_is_refused(data: bytes | str) -> None:
    assert refusal(MSGPACK, data) == ("bad_frame", "")


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30, 10**400, -(10**400)])
def test_numbers_too_large_for_messagepack_become_floats(number: int) -> None:
    """One such number in a message must not keep it, and all after it, from anybody."""
    message = b'{"conversation":"t","seq":1,"time":2,"body":{"n":[%d,%d],"x":1}}' % (
        number,
        2**64 - 1,
    )
    pushed = msgspec.msgpack.decode(MSGPACK.push("1", message))
    found, exact = pushed["message"]["body"]["n"]
    assert found == pytest.approx(float(f"{number}"))
    assert (exact, pushed["message"]["body"]["x"]) == (2**64 - 1, 1)
    assert msgspec.json.decode(JSON.push("1", message))["message"]["body"]["n"][0] == number


def test_bytes_in_messagepack_become_base64_text() -> None:
    data = msgspec.msgpack.encode({"type": "send", "id": "1", "to": "t", "body": {"a": b"x"}})
    assert MSGPACK.decode_client(data) == Send("1", "t", {"a": "eA=="})


# Around the frames


def test_codecs_are_found_by_their_subprotocols() -> None:
    assert tuple(CODECS) == SUBPROTOCOLS
    assert [codec.name for codec in CODECS.values()] == list(SUBPROTOCOLS)
    assert (JSON.text, MSGPACK.text) == (True, False)


def test_types_are_unique_and_documented() -> None:
    frames = [*get_args(ClientFrame), *get_args(ServerFrame)]
    for side in (ClientFrame, ServerFrame):
        tags = [frame.__struct_config__.tag for frame in get_args(side)]
        assert len(set(tags)) == len(tags)
    assert all(frame.__doc__ for frame in frames)


@pytest.mark.parametrize("code", CODES)
def test_every_error_has_a_frame(code: str) -> None:
    fault = error(code, limit=5, names=["a"])
    frame = problem(fault, "7")
    assert frame == Problem(code, fault.message, "7", fault.retry, {"limit": 5, "names": ["a"]})
    assert JSON.decode_server(JSON.encode(frame)) == frame


def test_close_codes_say_whether_to_come_back() -> None:
    advised = {code.name: advice(code) for code in CloseCode}
    assert {name for name, what in advised.items() if what == "renew"} == {
        "BAD_TOKEN",
        "TOKEN_EXPIRED",
        "TOKEN_REVOKED",
    }
    assert {name for name, what in advised.items() if what == "stop"} == {
        "REPLACED",
        "VIOLATION",
        "LOGGED_OUT",
        "DISPLACED",
        "TOO_MANY_DEVICES",
    }
    assert [advice(code) for code in (1000, 1001, 1006, 1011, 4199, 4300)] == [
        "reconnect",
        "reconnect",
        "reconnect",
        "reconnect",
        "renew",
        "reconnect",
    ]
