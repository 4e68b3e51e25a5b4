"""The directory: what the log's changes say, kept beside it, in the log's own batches.

One family, by the first byte of the key:

    c conversation               kind, title, SeqId of its creation, settings, roles, pins ...
    m conversation 0 user        place in the order of joining, windows
    u user 0 conversation        nothing: the user's conversations
    r user 0 conversation        read mark, 8 bytes
    h user 0 conversation 0 seq  nothing: a message that the user has hidden
    n user 0 conversation        how many there are, 8 bytes
    b user 0 user                nothing: the first takes no messages from the second
    s user                       settings
    d user 0 device              time last seen, 8 bytes
    e conversation               see ``epochs``

Values are MessagePack where not said otherwise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec
from rocksdict import WriteBatch

from timewire import changes
from timewire.backends.rocksdb.database import DIRECTORY, Family
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.entries import PAST, pack_seq, seq_of
from timewire.backends.rocksdb.epochs import Epochs
from timewire.backends.rocksdb.lru import Lru
from timewire.conversation import Conversation, Link
from timewire.directory import Device, Membership, Reading
from timewire.epochs import Mode, switched
from timewire.errors import TimewireError, error
from timewire.model import (
    MAX_PAGE_ENTRIES,
    Blocked,
    Change,
    ConversationKind,
    Created,
    Draft,
    Hidden,
    History,
    Inviters,
    Members,
    Read,
    Role,
    Seq,
    Settings,
    Window,
)
from timewire.names import direct

MAX_CACHED_MEMBERS: Final = 500_000
"""In the conversations kept in memory, of all together."""

MAX_CACHED_MARKS: Final = 100_000
PIECE_MEMBERS: Final = 500
"""Members, and such as have left, that are read for a list before everything else has its turn."""


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a conversation itself."""

    kind: ConversationKind
    title: str
    created: Seq
    history: History = "joined"
    invite: Inviters = "members"
    roles: dict[str, Role] = {}
    banned: set[str] = set()
    muted: dict[str, int] = {}
    pins: list[Seq] = []
    mention_all: Inviters = "members"
    links: dict[str, Link] = {}


class _Membership(msgspec.Struct, frozen=True, array_like=True):
    """What is stored of a user in a conversation."""

    place: int
    windows: list[Window]


_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_head = msgspec.msgpack.Decoder(_Head).decode
_decode_membership = msgspec.msgpack.Decoder(_Membership).decode
_decode_settings = msgspec.msgpack.Decoder(Settings).decode


class RocksDirectory:
    """A ``Directory`` in RocksDB.  The log stages changes into it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._conversations: Lru[str, Conversation] = Lru(MAX_CACHED_MEMBERS)
        self._numbers: Lru[bytes, int] = Lru(MAX_CACHED_MARKS)
        """Read marks, and how many messages are hidden."""
        self._epochs = Epochs(engine)
        engine.on_reload(self.forget)

    def known(self, name: str) -> Conversation | None:
        return self._conversations.get(name)

    async def conversation(self, name: str) -> Conversation | None:
        return self._conversation(name)

    async def members(self, name: str, *, after: str = "", limit: int = 100) -> list[str]:
        start = _pair(b"m", name, "")
        first = start + after.encode() + b"\0" if after else start
        found: list[str] = []
        first = self._present(first, start, found, limit)
        while first and len(found) < limit:
            await asyncio.sleep(0)
            # Found anew for each piece: while others had their turn, members came and went.
            first = self._present(first, start, found, limit)
        return found

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
            Membership(
                name,
                _decode_membership(value).windows,
                self._number(_pair(b"r", user, name)),
                self._number(_pair(b"n", user, name)),
            )
            for name, value in zip(names, stored, strict=True)
            if value is not None
        ]

    async def reading(self, user: str) -> Reading:
        found = self._epochs.known_reading(user)
        if found is not None:
            return found
        start = _pair(b"u", user, "")
        keys = self._family().forward_keys(start, _end(start))
        return self._epochs.reading(user, [key[len(start) :].decode() for key in keys])

    async def read_mark(self, user: str, conversation: str) -> Seq:
        return self._number(_pair(b"r", user, conversation))

    async def hidden(self, user: str, conversation: str, seqs: Sequence[Seq]) -> set[Seq]:
        if len(seqs) > MAX_PAGE_ENTRIES:
            raise error("bad_limit", limit=MAX_PAGE_ENTRIES)
        if not self._number(_pair(b"n", user, conversation)):
            return set()
        keys = [_hidden_key(user, conversation, seq) for seq in seqs]
        stored = self._family().get_all(keys)
        return {seq for seq, value in zip(seqs, stored, strict=True) if value is not None}

    async def blocks(self, user: str, other: str) -> bool:
        return self._has_block(user, other)

    async def blocked(self, user: str, *, after: str = "", limit: int = 100) -> list[str]:
        start = _pair(b"b", user, "")
        past = start + after.encode() + b"\0"
        keys = self._family().forward_keys(past if after else start, _end(start))
        return [key[len(start) :].decode() for key in islice(keys, limit)]

    async def settings(self, user: str) -> Settings:
        stored = self._family().get(b"s" + user.encode())
        return Settings() if stored is None else _decode_settings(stored)

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

    def stage(self, batch: WriteBatch, seq: Seq, time: int, draft: Draft) -> None:
        """Show what a message changes, and add it to the message's batch."""
        name, sender = draft.conversation, draft.sender
        match draft.change:
            case None:
                pass
            case Created() as change:
                made = Conversation.make(name, seq, change, sender)
                if made.kind == "direct":
                    pairs = zip(change.members, change.members[::-1], strict=True)
                    made.banned.update(two for one, two in pairs if self._has_block(one, two))
                self._create(batch, made)
            case Read() as change:
                key = _pair(b"r", sender, change.conversation)
                self._put_number(batch, key, max(self._number(key), change.seq))
            case Hidden() as change:
                self._hide(batch, sender, change)
            case Blocked() as change:
                self._block(batch, sender, change)
            case Settings() as change:
                batch.put(b"s" + sender.encode(), _encode(change), self._family().handle)
            case Mode() as change:
                self._switch(batch, seq, change)
            case change:
                self._change(batch, seq, time, name, change)

    def forget(self) -> None:
        """Drop what is in memory: it may show what never was written."""
        self._conversations.clear()
        self._numbers.clear()
        self._epochs.clear()

    def _create(self, batch: WriteBatch, made: Conversation) -> None:
        self._put_head(batch, made.name, _head(made))
        for place, user in enumerate(made.windows):
            self._put_member(batch, made, user, place)
        self._epochs.stage(batch, made)
        self._keep(made)

    def _switch(self, batch: WriteBatch, seq: Seq, change: Mode) -> None:
        found = self._conversation(change.conversation)
        if found is not None:
            found.epochs = switched(found.epochs, seq, change)
            self._epochs.stage(batch, found)
            self._keep(found)

    def _change(self, batch: WriteBatch, seq: Seq, time: int, name: str, change: Change) -> None:
        found = self._conversation(name)
        if found is None:
            return
        known = len(found.windows)
        before = b"" if _keeps_head(found, change) else _head(found)
        changed = changes.apply(found, seq, time, change)
        if before and (head := _head(found)) != before:
            self._put_head(batch, name, head)
        # Who is new has one window, which begins here; new members come in the order of joining.
        new: list[str] = []
        for user in changed:
            if found.windows[user][0].joined == seq:
                place = known + len(new)
                new.append(user)
            else:
                stored = self._family().get(_pair(b"m", name, user)) or b""
                place = _decode_membership(stored).place
            self._put_member(batch, found, user, place)
        self._epochs.forget(new)
        self._keep(found)

    def _hide(self, batch: WriteBatch, user: str, change: Hidden) -> None:
        family, key = self._family(), _hidden_key(user, change.conversation, change.seq)
        if family.get(key) is None:
            batch.put(key, b"", family.handle)
            count = _pair(b"n", user, change.conversation)
            self._put_number(batch, count, self._number(count) + 1)

    def _block(self, batch: WriteBatch, user: str, change: Blocked) -> None:
        handle, key = self._family().handle, _pair(b"b", user, change.user)
        if change.on:
            batch.put(key, b"", handle)
        else:
            batch.delete(key, handle)
        found = self._conversation(direct(user, change.user))
        if found is not None:
            changes.block(found, change)
            self._put_head(batch, found.name, _head(found))
            self._keep(found)

    def _has_block(self, user: str, other: str) -> bool:
        return self._family().get(_pair(b"b", user, other)) is not None

    def _put_number(self, batch: WriteBatch, key: bytes, number: int) -> None:
        batch.put(key, pack_seq(number), self._family().handle)
        self._numbers.put(key, number)

    def _put_head(self, batch: WriteBatch, name: str, head: bytes) -> None:
        batch.put(b"c" + name.encode(), head, self._family().handle)

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

    def _present(self, first: bytes, start: bytes, found: list[str], limit: int) -> bytes:
        """Add members to a list, from a key on; the key to go on from, empty at the end."""
        rows = islice(self._family().forward(first, _end(start)), PIECE_MEMBERS)
        for read, (key, value) in enumerate(rows, 1):
            if not _decode_membership(value).windows[-1].left:
                found.append(key[len(start) :].decode())
            if len(found) == limit or read == PIECE_MEMBERS:
                return key + b"\0"
        return b""

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
            name,
            head.kind,
            head.title,
            head.created,
            windows,
            max(head.created, changed),
            head.history,
            head.invite,
            head.roles,
            head.banned,
            head.muted,
            head.pins,
            self._epochs.load(name),
            head.mention_all,
            head.links,
        )

    def _number(self, key: bytes) -> int:
        number = self._numbers.get(key)
        if number is None:
            stored = self._family().get(key)
            number = seq_of(stored) if stored else 0
            self._numbers.put(key, number)
        return number


def _keeps_head(found: Conversation, change: Change) -> bool:
    """Whether a change surely changes members alone, so that nothing else is to be compared."""
    if not isinstance(change, Members) or isinstance(change.link, str):
        return False
    return found.roles.keys().isdisjoint(change.left)


def _head(of: Conversation) -> bytes:
    return _encode(
        _Head(
            of.kind,
            of.title,
            of.created,
            of.history,
            of.invite,
            of.roles,
            of.banned,
            of.muted,
            of.pins,
            of.mention_all,
            of.links,
        )
    )


def _hidden_key(user: str, conversation: str, seq: Seq) -> bytes:
    return b"%b\0%b" % (_pair(b"h", user, conversation), pack_seq(seq))


def _pair(kind: bytes, one: str, other: str) -> bytes:
    return b"%b%b\0%b" % (kind, one.encode(), other.encode())


def _end(start: bytes) -> bytes:
    """Past every key that begins like this: names hold no control characters."""
    return start[:-1] + PAST
