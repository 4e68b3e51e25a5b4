"""The ids by which repeated messages are known, kept in time buckets that are dropped whole.

    family  keys.<start, ms>.<life, ms>
    key     sender, UTF-8 | 0 | id, UTF-8
    value   SeqId, 8 bytes | time, 8 bytes | conversation, UTF-8

A bucket takes ids for as long as an id has to live, and is kept for as long again.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from timewire.backends.rocksdb.database import Family
from timewire.backends.rocksdb.engine import Engine
from timewire.model import Seq

KEYS: Final = "keys."
"""What the names of the families begin with."""

_PLACE = Struct(">QQ")
_PLACE_BYTES: Final = _PLACE.size

pack_place: Final = _PLACE.pack
"""SeqId and time: what precedes the conversation in a value."""


class Known(NamedTuple):
    """Where the message of an id is."""

    seq: Seq
    time: int
    conversation: str


class Keys:
    """The ids of as many time buckets as are alive, usually two."""

    def __init__(self, engine: Engine, life_ms: int) -> None:
        self._engine = engine
        self._life_ms = life_ms
        self._names: list[str] = []
        engine.on_reload(self._load)

    def bucket(self, time: int) -> Family:
        """The family for ids of this time, which never is before that of an earlier call."""
        name = f"{KEYS}{time - time % self._life_ms:015d}.{self._life_ms}"
        if name not in self._names:
            self._engine.create(name)
            for old in self._names:
                if _end(old) <= time:
                    self._engine.drop(old)
            self._load()
        return self._engine.family(name)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        """Where the messages of these ids are, of those that are known."""
        found: dict[bytes, Known] = {}
        if keys:
            wanted = list(keys)
            for name in self._names:
                values = self._engine.family(name).get_all(wanted)
                if any(values):
                    pairs = zip(wanted, values, strict=True)
                    found |= {key: known(value) for key, value in pairs if value is not None}
        return found

    def _load(self) -> None:
        self._names = self._engine.families(KEYS)


def _end(name: str) -> int:
    """When the last id in a bucket has lived for its life (ms)."""
    _, start, life_ms = name.split(".")
    return int(start) + 2 * int(life_ms)


def known(value: bytes) -> Known:
    """What is stored of an id."""
    seq, time = _PLACE.unpack_from(value)
    return Known(seq, time, value[_PLACE_BYTES:].decode())
