"""What is known of media, in the directory's family and in the log's own batches.

By the first byte of the key:

    M name                       the medium, SeqId of its newest upload
    U name 0 user                nothing: who has uploaded it
    R name 0 seq                 conversation of a message that was sent with it

Values are MessagePack where not said otherwise.
"""

from __future__ import annotations

from itertools import islice

import msgspec
from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import DIRECTORY, Family
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import PAST, pack_seq, seq_of
from timewire.changes import target
from timewire.media import Kept
from timewire.model import MAX_SEQ, Draft, Media, Ref, Seq, Swept, Uploaded


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a medium."""

    bytes: int
    type: str
    width: int
    height: int
    uploaded: Seq


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


class RocksMediaIndex:
    """A ``MediaIndex`` in RocksDB.  The log stages into it; nothing is kept in memory."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find(self, name: str) -> Kept | None:
        stored = self._family().get(b"M" + name.encode())
        return None if stored is None else _kept(name, stored)

    async def is_uploader(self, user: str, name: str) -> bool:
        return self._family().get(_under(b"U", name) + user.encode()) is not None

    async def carriers(self, name: str, *, before: Seq | None = None, limit: int) -> list[Ref]:
        start = _under(b"R", name)
        last = MAX_SEQ if before is None else before - 1
        found = islice(self._family().backward(start, start + pack_seq(last)), limit)
        return [Ref(seq_of(key), value.decode()) for key, value in found]

    async def scan(self, *, after: str = "", limit: int = 100) -> list[Kept]:
        start = b"M" + after.encode() + (b"\0" if after else b"")
        found = islice(self._family().forward(start, b"N"), limit)
        return [_kept(key[1:].decode(), value) for key, value in found]

    # -- for the log ----------------------------------------------------------------------------

    def carry(self, batch: WriteBatch, seq: Seq, draft: Draft) -> None:
        """Add to a message's batch that it is sent with media, or has an earlier one carry them."""
        carrier = target(draft.change) or seq
        for name in draft.media:
            key = _under(b"R", name) + pack_seq(carrier)
            batch.put(key, draft.conversation.encode(), self._family().handle)

    def stage(self, batch: WriteBatch, seq: Seq, draft: Draft) -> None:
        """Add to a message's batch what it changes."""
        change = draft.change
        if isinstance(change, Uploaded):
            self._upload(batch, seq, draft.sender, change)
        elif isinstance(change, Swept):
            self._sweep(batch, change.media)

    def _upload(self, batch: WriteBatch, seq: Seq, user: str, change: Uploaded) -> None:
        family, key = self._family(), b"M" + change.media.encode()
        stored = family.get(key)
        if stored is None:
            made = _Kept(change.bytes, change.media_type, change.width, change.height, seq)
        else:
            made = msgspec.structs.replace(_decode(stored), uploaded=seq)
        batch.put(key, _encode(made), family.handle)
        batch.put(_under(b"U", change.media) + user.encode(), b"", family.handle)

    def _sweep(self, batch: WriteBatch, name: str) -> None:
        family = self._family()
        batch.delete(b"M" + name.encode(), family.handle)
        for kind in (b"U", b"R"):
            start = _under(kind, name)
            for key in family.forward_keys(start, start[:-1] + PAST):
                batch.delete(key, family.handle)

    def _family(self) -> Family:
        return self._engine.family(DIRECTORY)


def _under(kind: bytes, name: str) -> bytes:
    return b"%b%b\0" % (kind, name.encode())


def _kept(name: str, stored: bytes) -> Kept:
    found = _decode(stored)
    media = Media(name, found.bytes, found.type, found.width, found.height)
    return Kept(media, found.uploaded)
