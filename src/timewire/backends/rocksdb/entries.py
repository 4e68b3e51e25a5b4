"""How an entry is written, and how families of entries are read.

    key     timeline, UTF-8 | 0 | SeqId, 8 bytes big-endian
    value   CRC-32 of key and rest | time, 8 bytes | flags, 1 byte | payload

Names hold no control characters, so keys are in the order of (name, SeqId).  With ``KEYED`` the
payload begins with the length (2 bytes) and bytes of the entry's idempotency key.  A ``REDACTED``
entry keeps of its payload only a digest, by which a repeat is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

from rocksdict import Rdict, ReadOptions

from timewire.errors import error
from timewire.model import MAX_SEQ, Entry, Seq

REDACTED: Final = 1
KEYED: Final = 2

SEQ_BYTES: Final = 8
END: Final = b"\xff" * SEQ_BYTES
"""Past every SeqId."""

pack_seq: Final = Struct(">Q").pack
_unpack_seq = Struct(">Q").unpack
pack_stamp: Final = Struct(">QB").pack
"""Time and flags: what is between checksum and payload."""

_pack_crc = Struct(">I").pack
_HEAD = Struct(">IQB")
_HEAD_BYTES: Final = _HEAD.size
_CRC_BYTES: Final = 4
_KEY_LENGTH = Struct(">H")


class Row(NamedTuple):
    """A stored entry, checked and taken apart."""

    time: int
    payload: bytes
    redacted: bool
    key: bytes | None
    digest: bytes


def prefix(timeline: str) -> bytes:
    """What the keys of a timeline begin with."""
    return timeline.encode() + b"\0"


def seq_of(key: bytes) -> Seq:
    """The SeqId at the end of a key."""
    return _unpack_seq(key[-SEQ_BYTES:])[0]


def timeline_of(key: bytes) -> str:
    """The name at the beginning of an entry's key."""
    return key[: -SEQ_BYTES - 1].decode()


def encode(key: bytes, stamp: bytes, payload: bytes) -> bytes:
    """The value of an entry."""
    rest = stamp + payload
    return _pack_crc(crc32(rest, crc32(key))) + rest


def keyed(key: bytes, payload: bytes) -> bytes:
    """The payload part of an entry that has an idempotency key."""
    return _KEY_LENGTH.pack(len(key)) + key + payload


def redacted(key: bytes, row: Row) -> bytes:
    """The value of an entry without its payload."""
    rest = row.digest or digest(key, row.payload)
    if row.key is None:
        return encode(key, pack_stamp(row.time, REDACTED), rest)
    return encode(key, pack_stamp(row.time, REDACTED | KEYED), keyed(row.key, rest))


def digest(key: bytes, payload: bytes) -> bytes:
    """By which a repeat of a redacted entry's payload is known, and of no other entry's."""
    return blake2b(payload, digest_size=16, salt=blake2b(key, digest_size=16).digest()).digest()


def decode(key: bytes, value: bytes) -> Row:
    """Check and take apart what is stored under a key.  Raises ``Damaged``."""
    time, flags, payload = _checked(key, value)
    own = None
    if flags & KEYED:
        (length,) = _KEY_LENGTH.unpack_from(payload)
        start = _KEY_LENGTH.size
        own, payload = payload[start : start + length], payload[start + length :]
    if flags & REDACTED:
        return Row(time, b"", True, own, payload)
    return Row(time, payload, False, own, b"")


def decode_message(key: bytes, value: bytes) -> tuple[int, bytes]:
    """Time and payload of an entry without key; b"" if redacted.  Raises ``Damaged``."""
    time, flags, payload = _checked(key, value)
    return time, b"" if flags else payload


def _checked(key: bytes, value: bytes) -> tuple[int, int, bytes]:
    if len(value) < _HEAD_BYTES:
        raise error("damaged", timeline=timeline_of(key), seq=seq_of(key))
    crc, time, flags = _HEAD.unpack_from(value)
    if crc32(value[_CRC_BYTES:], crc32(key)) != crc:
        raise error("damaged", timeline=timeline_of(key), seq=seq_of(key))
    return time, flags, value[_HEAD_BYTES:]


def peek(value: bytes) -> tuple[int, bytes | None]:
    """An entry's time and idempotency key, unchecked: for removing, which damage must not stop."""
    _, time, flags = _HEAD.unpack_from(value.ljust(_HEAD_BYTES, b"\0"))
    if not flags & KEYED:
        return time, None
    start = _HEAD_BYTES + _KEY_LENGTH.size
    length = int.from_bytes(value[_HEAD_BYTES:start], "big")
    return time, value[start : start + length]


def same(key: bytes, row: Row, payload: bytes) -> bool:
    """Whether an entry was written with this payload."""
    if row.redacted:
        return row.digest == digest(key, payload)
    return row.payload == payload


# Reading a family ------------------------------------------------------------------------------


def get(rows: Rdict, timeline: str, seqs: Sequence[Seq]) -> list[Entry | None]:
    """The entries with these SeqIds."""
    start = prefix(timeline)
    keys = [start + pack_seq(seq) for seq in seqs]
    found: list[bytes | None] = rows.get(keys) or []
    return [
        None if value is None else to_entry(timeline, key, decode(key, value))
        for key, value in zip(keys, found, strict=True)
    ]


def forward(rows: Rdict, timeline: str, first: Seq, last: Seq) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values with ``first <= seq <= last``, oldest first."""
    if first > last:
        return iter(())
    start = prefix(timeline)
    return between(rows, start + pack_seq(first), start + pack_seq(last) + b"\0")


def backward(rows: Rdict, timeline: str, first: Seq, last: Seq) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values with ``first <= seq <= last``, newest first."""
    if first > last:
        return
    start = prefix(timeline)
    lowest = start + pack_seq(first)
    for key, value in rows.items(backwards=True, from_key=start + pack_seq(last)):
        if key < lowest:  # type: ignore[operator]
            return
        yield key, value  # type: ignore[misc]


def between(rows: Rdict, first: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values with ``first <= key < end``, in order."""
    bound = ReadOptions()
    bound.set_iterate_upper_bound(end)
    # A generator, because the iterator does not keep the bound alive.
    yield from rows.items(from_key=first, read_opt=bound)  # type: ignore[misc]


def count(rows: Rdict, timeline: str, first: Seq, last: Seq, limit: int) -> tuple[int, Seq]:
    """How many entries with ``first <= seq <= last``, at most ``limit``; where to go on."""
    if first > last:
        return 0, first
    start = prefix(timeline)
    bound = ReadOptions()
    bound.set_iterate_upper_bound(start + pack_seq(last) + b"\0")
    keys = list(islice(rows.keys(from_key=start + pack_seq(first), read_opt=bound), limit))
    return len(keys), seq_of(keys[-1]) + 1 if keys else first  # type: ignore[arg-type]


def names(rows: Rdict, after: str) -> Iterator[tuple[str, Seq]]:
    """Each timeline past ``after``, in byte order, with the SeqId of its oldest entry."""
    found = rows.iter()
    found.seek(after.encode() + b"\1" if after else b"")
    while found.valid():
        key: bytes = found.key()
        yield timeline_of(key), seq_of(key)
        found.seek(key[: -SEQ_BYTES - 1] + b"\1")


def newest(rows: Rdict, timeline: str, upto: Seq = MAX_SEQ) -> Seq:
    """The largest SeqId at or below ``upto`` of a timeline; 0 if there is none."""
    for key, _ in islice(backward(rows, timeline, 1, upto), 1):
        return seq_of(key)
    return 0


def to_entry(timeline: str, key: bytes, row: Row) -> Entry:
    """An entry as the port gives it."""
    return Entry(timeline, seq_of(key), row.time, row.payload, row.redacted)
