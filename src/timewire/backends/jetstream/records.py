"""What stands in the stream: records, each with the messages that were written together.

A record is MessagePack, its fields in an array.  Its messages have SeqIds without holes: those of
the first group follow ``position``.  A record without groups says that another leader has begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from timewire.errors import error
from timewire.model import Change, Draft, Seq

FORMAT: Final = 1
"""Of records; a larger one was written by a newer Timewire."""

MAX_RECORD_BYTES: Final = 512 * 1024
"""Of the payloads in one record, unless a single one has more.  NATS takes 1 MiB by default."""

MESSAGE_BYTES: Final = 64
"""What a message takes in a record beside its payload and its names, at most about."""


class Carried(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message on its way: a ``Draft`` without what concerns one process only."""

    conversation: str
    sender: str
    id: str
    payload: bytes
    change: Change | None = None
    expires: int = 0
    media: tuple[str, ...] = ()
    digest: bytes = b""

    @classmethod
    def of(cls, draft: Draft) -> Carried:
        """What is carried of a draft."""
        return cls(
            draft.conversation,
            draft.sender,
            draft.id,
            draft.payload,
            draft.change,
            draft.expires,
            draft.media,
            draft.digest,
        )

    def draft(self) -> Draft:
        """The draft again."""
        return Draft(
            self.conversation,
            self.sender,
            self.id,
            self.payload,
            self.change,
            None,
            self.expires,
            self.media,
            self.digest,
        )

    def size(self) -> int:
        """Bytes in a record, about, and rather more than less."""
        return len(self.payload) * (2 if self.change is not None else 1) + MESSAGE_BYTES


class Group(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Messages of one time (ms), of which only the last may carry a change."""

    first: Seq
    time: int
    messages: list[Carried]


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entry of the stream.  ``position``: the SeqId before its first message."""

    format: int
    leader: str
    position: Seq
    groups: list[Group]

    @property
    def end(self) -> Seq:
        """The SeqId of its last message."""
        return self.position + sum(len(group.messages) for group in self.groups)


encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Record)


def decode(data: bytes) -> Record:
    """A record from its bytes.  Raises ``Damaged``, and ``Unusable`` for one of a newer format."""
    try:
        record = _decoder.decode(data)
    except msgspec.MsgspecError as problem:
        try:
            newer = msgspec.msgpack.decode(data)[0] > FORMAT
        except (msgspec.MsgspecError, TypeError, LookupError):
            raise error("damaged", reason=str(problem)) from None
        if not newer:
            raise error("damaged", reason=str(problem)) from None
        raise error("cluster_newer") from None
    if record.format > FORMAT:
        raise error("cluster_newer", format=record.format, known=FORMAT)
    return record


def pack(leader: str, groups: Sequence[Group]) -> Iterator[Record]:
    """Records for groups whose SeqIds follow one another, none much too large."""
    room, fill = MAX_RECORD_BYTES, list[Group]()
    for group in groups:
        for part in _parts(group):
            size = sum(message.size() for message in part.messages)
            if fill and size > room:
                yield Record(FORMAT, leader, fill[0].first - 1, fill)
                room, fill = MAX_RECORD_BYTES, []
            fill.append(part)
            room -= size
    if fill:
        yield Record(FORMAT, leader, fill[0].first - 1, fill)


def _parts(group: Group) -> Iterator[Group]:
    """A group in pieces of at most ``MAX_RECORD_BYTES``."""
    first, room, fill = group.first, MAX_RECORD_BYTES, list[Carried]()
    for message in group.messages:
        if fill and message.size() > room:
            yield Group(first, group.time, fill)
            first, room, fill = first + len(fill), MAX_RECORD_BYTES, []
        fill.append(message)
        room -= message.size()
    yield Group(first, group.time, fill)
