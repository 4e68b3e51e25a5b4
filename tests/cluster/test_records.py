"""Records: messages in, bytes, messages out."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timewire.backends.jetstream.records import (
    FORMAT,
    MAX_RECORD_BYTES,
    Carried,
    Group,
    Record,
    decode,
    encode,
    pack,
)
from timewire.errors import TimewireError
from timewire.model import Created, Draft, Edited, Members, Read, Uploaded

SIZES = st.lists(st.lists(st.integers(0, MAX_RECORD_BYTES), min_size=1, max_size=5), max_size=6)


def carried(size: int = 10, **fields: object) -> Carried:
    return Carried("team", "alice", "1", b"x" * size, **fields)  # pyright: ignore[reportArgumentType]


def test_a_draft_arrives_without_its_origin() -> None:
    change = Created("group", ["alice", "bob"], "The team")
    draft = Draft("team", "alice", "1", b"{}", change, object(), 7, ("a", "b"))

    arrived = decode(encode(Record(FORMAT, "me", 4, [Group(5, 99, [Carried.of(draft)])])))

    found = arrived.groups[0].messages[0].draft()
    assert (arrived.leader, arrived.position, arrived.end) == ("me", 4, 5)
    expected = Draft("team", "alice", "1", b"{}", change, None, 7, ("a", "b"))
    assert msgspec.structs.astuple(found) == msgspec.structs.astuple(expected)


@pytest.mark.parametrize(
    "change",
    [
        Members(["bob"], ["carol"]),
        Read("team", 7),
        Edited(3, {"text": "no"}),
        Uploaded("f" * 64, 9, "text/plain"),
        None,
    ],
)
def test_every_kind_of_change_arrives(change: object) -> None:
    record = Record(FORMAT, "me", 0, [Group(1, 0, [carried(change=change)])])
    assert decode(encode(record)) == record


@given(SIZES)
def test_packing_keeps_every_message_in_its_place(sizes: list[list[int]]) -> None:
    groups, seq = list[Group](), 1
    for time, group in enumerate(sizes):
        groups.append(Group(seq, time, [carried(size) for size in group]))
        seq += len(group)

    records = list(pack("me", groups))

    placed = [
        (group.first + n, group.time, len(message.payload))
        for record in records
        for group in record.groups
        for n, message in enumerate(group.messages)
    ]
    flat = [(time, size) for time, group in enumerate(sizes) for size in group]
    assert placed == [(n, time, size) for n, (time, size) in enumerate(flat, 1)]
    assert [record.position for record in records] == [0, *(r.end for r in records)][: len(records)]
    for record in records:
        held = [message for group in record.groups for message in group.messages]
        assert len(held) == 1 or sum(map(Carried.size, held)) <= MAX_RECORD_BYTES


@pytest.mark.parametrize("data", [b"", b"{}", b"\x93\x01\x02", msgspec.msgpack.encode([1, 2])])
def test_garbage_is_damage(data: bytes) -> None:
    with pytest.raises(TimewireError) as raised:
        decode(data)
    assert raised.value.code == "damaged"


@pytest.mark.parametrize("rest", [["me", 0, []], ["another", "shape"]])
def test_a_newer_format_is_told(rest: list[object]) -> None:
    with pytest.raises(TimewireError) as raised:
        decode(msgspec.msgpack.encode([FORMAT + 1, *rest]))
    assert raised.value.code == "cluster_newer"
