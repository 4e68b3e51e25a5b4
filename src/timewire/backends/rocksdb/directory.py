"""The directory: what the log's changes say, kept beside it, in the log's own batches.

One family, by the first byte of the key:

    c conversation               kind, title, SeqId of its creation
    m conversation 0 user        place in the order of joining, windows
    u user 0 conversation        nothing: the user's conversations
    r user 0 conversation        read mark, 8 bytes
    d user 0 device              time last seen, 8 bytes

Values are MessagePack where not said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from itertools import islice
from typing import Final

import msgspec
from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import DIRECTORY, Family
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import PAST, pack_seq, seq_of
from timewire.backends.rocksdb.lru import Lru
from timewire.directory import Device, Membership
from timewire.errors import TimewireError
from timewire.model import (
    Conversation,
    ConversationKind,
    Created,
    Draft,
    Members,
    Seq,
    Window,
)

MAX_CACHED_MEMBERS: Final = 500_000
"""In the conversations kept in memory, of all together."""

MAX_CACHED_MARKS: Final = 100_000


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a conversation itself."""

    kind: ConversationKind
    title: str
    created: Seq


class _Membership(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a user in a conversation."""

    place: int
    windows: list[Window]


_encode = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_membership = msgspec.msgpack.Decoder(_Membership).decode


class RocksDirectory:
    """A ``Directory`` in RocksDB.  The log stages changes into it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._conversations: Lru[str, Conversation] = Lru(MAX_CACHED_MEMBERS)
        self._marks: Lru[bytes, Seq] = Lru(MAX_CACHED_MARKS)
        engine.on_reload(self.forget)

    def known(self, name: str) -> Conversation | None:
        return self._conversations.get(name)

    async def conversation(self, name: str) -> Conversation | None:
        return self._conversation(name)

    async def members(self, name: str, *, after: str = "", limit: int = 100) -> list[str]:
        found = self._conversation(name)
        return nsmallest(limit, (u for u in found.present() if u > after)) if found else []

    async def memberships(
        self, user: str, *, after: str = "", limit: int = 100
    ) -> list[Membership]:
        start = _pair(b"u", user, "")
        past = start + after.encode() + b"\0"
        family = self._family()
        found = islice(family.forward_keys(past if after else start, _end(start)), limit)
        names = [key[len(start) :].decode() for key in found]
        stored = family.get_all([_pair(b"m", name, user) for name in names])
        return [
            Membership(name, _decode_membership(value).windows, self._mark(user, name))
            for name, value in zip(names, stored, strict=True)
            if value is not None
        ]

    async def read_mark(self, user: str, conversation: str) -> Seq:
        return self._mark(user, conversation)

    async def seen(self, user: str, device: str, time: int) -> None:
        """Not noted while the store cannot write: a note is no reason to refuse a device."""
        family = self._family()
        key = _pair(b"d", user, device)
        before = family.get(key)
        if before is None or seq_of(before) < time:
            batch = WriteBatch(raw_mode=True)
            batch.put(key, pack_seq(time), family.handle)
            try:
                self._engine.write(batch)
            except TimewireError:
                self._engine.check_open()

    async def devices(self, user: str, limit: int = 100) -> Sequence[Device]:
        start = _pair(b"d", user, "")
        found = islice(self._family().forward(start, _end(start)), limit)
        return [Device(key[len(start) :].decode(), seq_of(value)) for key, value in found]

    # -- for the log ----------------------------------------------------------------------------

    def stage(self, batch: WriteBatch, seq: Seq, draft: Draft) -> None:
        """Show what a message changes, and add it to the message's batch."""
        change = draft.change
        if isinstance(change, Created):
            self._create(batch, Conversation.make(draft.conversation, seq, change))
        elif isinstance(change, Members):
            self._change(batch, seq, draft.conversation, change)
        elif change is not None:
            key = _pair(b"r", draft.sender, change.conversation)
            mark = max(self._mark(draft.sender, change.conversation), change.seq)
            batch.put(key, pack_seq(mark), self._family().handle)
            self._marks.put(key, mark)

    def forget(self) -> None:
        """Drop what is in memory: it may show what never was written."""
        self._conversations.clear()
        self._marks.clear()

    def _create(self, batch: WriteBatch, made: Conversation) -> None:
        head = _encode(_Head(made.kind, made.title, made.created))
        batch.put(b"c" + made.name.encode(), head, self._family().handle)
        for place, user in enumerate(made.windows):
            self._put_member(batch, made, user, place)
        self._keep(made)

    def _change(self, batch: WriteBatch, seq: Seq, name: str, change: Members) -> None:
        found = self._conversation(name)
        if found is None:
            return
        known = len(found.windows)
        changed = set(found.apply(seq, change))
        family = self._family()
        for place, user in enumerate(islice(found.windows, known, None), known):
            self._put_member(batch, found, user, place)
            changed.discard(user)
        for user in changed:
            stored = family.get(_pair(b"m", name, user)) or b""
            self._put_member(batch, found, user, _decode_membership(stored).place)
        self._keep(found)

    def _put_member(self, batch: WriteBatch, found: Conversation, user: str, place: int) -> None:
        handle = self._family().handle
        value = _encode(_Membership(place, found.windows[user]))
        batch.put(_pair(b"m", found.name, user), value, handle)
        batch.put(_pair(b"u", user, found.name), b"", handle)

    # -- reading --------------------------------------------------------------------------------

    def _family(self) -> Family:
        return self._engine.family(DIRECTORY)

    def _conversation(self, name: str) -> Conversation | None:
        found = self._conversations.get(name)
        if found is None:
            found = self._load(name)
            if found is not None:
                self._keep(found)
        return found

    def _keep(self, conversation: Conversation) -> None:
        self._conversations.put(conversation.name, conversation, 1 + len(conversation.windows))

    def _load(self, name: str) -> Conversation | None:
        family = self._family()
        stored = family.get(b"c" + name.encode())
        if stored is None:
            return None
        head = _decode_head(stored)
        start = _pair(b"m", name, "")
        members = [
            (_decode_membership(value), key[len(start) :].decode())
            for key, value in family.forward(start, _end(start))
        ]
        members.sort(key=lambda member: member[0].place)
        windows = {user: stored.windows for stored, user in members}
        changed = max((max(w[-1].joined, w[-1].left) for w in windows.values()), default=0)
        return Conversation(
            name, head.kind, head.title, head.created, windows, max(head.created, changed)
        )

    def _mark(self, user: str, conversation: str) -> Seq:
        key = _pair(b"r", user, conversation)
        mark = self._marks.get(key)
        if mark is None:
            stored = self._family().get(key)
            mark = seq_of(stored) if stored else 0
            self._marks.put(key, mark)
        return mark


def _pair(kind: bytes, one: str, other: str) -> bytes:
    return b"%b%b\0%b" % (kind, one.encode(), other.encode())


def _end(start: bytes) -> bytes:
    """Past every key that begins like this: names hold no control characters."""
    return start[:-1] + PAST
