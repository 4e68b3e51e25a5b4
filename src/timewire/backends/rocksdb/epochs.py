"""The modes of conversations, and what each user's sync has to read because of them.

In the family of the directory:

    e conversation               its epochs, MessagePack; nothing for one that always was ``write``
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from rocksdict import WriteBatch

from timewire.backends.rocksdb.database import DIRECTORY
from timewire.backends.rocksdb.engine import Engine
from timewire.backends.rocksdb.lru import Lru
from timewire.conversation import Conversation
from timewire.directory import Reading
from timewire.epochs import Epoch, was_read

MAX_CACHED_READING: Final = 500_000
"""Users, and conversations that they read, of all together."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Epoch]).decode


class Epochs:
    """Epochs as they are staged, and the ``Reading`` of users who have synced lately."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading: Lru[str, Reading] = Lru(MAX_CACHED_READING)
        engine.on_reload(self._reading.clear)

    def load(self, name: str) -> list[Epoch]:
        """The epochs of a conversation."""
        stored = self._engine.family(DIRECTORY).get(_key(name))
        return _decode(stored) if stored else []

    def stage(self, batch: WriteBatch, conversation: Conversation) -> None:
        """Add a conversation's epochs to a batch."""
        handle = self._engine.family(DIRECTORY).handle
        if conversation.epochs:
            batch.put(_key(conversation.name), _encode(conversation.epochs), handle)
        else:
            batch.delete(_key(conversation.name), handle)
        self.forget(conversation.windows)

    def forget(self, users: Iterable[str]) -> None:
        """What these users have to read has changed."""
        for user in users:
            self._reading.drop(user)

    def clear(self) -> None:
        """Forget what is in memory of everybody."""
        self._reading.clear()

    def known_reading(self, user: str) -> Reading | None:
        """What a user has to read, when it is at hand."""
        return self._reading.get(user)

    def reading(self, user: str, names: list[str]) -> Reading:
        """What a user has to read, of all conversations that the user is or was in."""
        stored = self._engine.family(DIRECTORY).get_all([_key(name) for name in names])
        read = [
            name
            for name, value in zip(names, stored, strict=True)
            if value is not None and was_read(_decode(value))
        ]
        found = Reading(read, len(names))
        self._reading.put(user, found, 1 + len(read))
        return found


def _key(name: str) -> bytes:
    return b"e" + name.encode()
