"""The log of a data directory, read to be taken elsewhere; also while a server has it open.

What a message said is read as it is now.  Of what it said first there is a digest, and of one that
is redacted the id, as long as ids live: so a repeat of its send is known elsewhere too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rocksdict import Cache

from timewire.backends.rocksdb.database import (
    DIRECTORY,
    LOG,
    MESSAGES,
    META,
    Database,
    open_readonly,
)
from timewire.backends.rocksdb.entries import (
    REDACTED,
    decode,
    get_near,
    pack_seq,
    peek_flags,
    prefix,
    seq_of,
)
from timewire.backends.rocksdb.keys import KEYS, known
from timewire.backends.rocksdb.store import EPOCH_KEY, FORMAT, FORMAT_KEY
from timewire.errors import TimewireError, error
from timewire.model import MAX_SEQ, Seq

CACHE_BYTES: Final = 32 << 20
MAX_TRIES: Final = 3
"""A server may remove a file between our reading of its name and of itself."""

BATCH_KEYS: Final = 1000


class Logged(NamedTuple):
    """A message in the log.  Of a redacted one the payload is empty; sender and id may be known."""

    seq: Seq
    time: int
    conversation: str
    payload: bytes
    digest: bytes
    sender: str = ""
    id: str = ""


class _Record(msgspec.Struct, frozen=True, array_like=True):
    time: int
    conversations: list[str]


class _Medium(msgspec.Struct, frozen=True, array_like=True):
    bytes: int


_decode_record = msgspec.msgpack.Decoder(_Record).decode
_decode_medium = msgspec.msgpack.Decoder(_Medium).decode


class LogCopy:
    """What a directory held when it was opened."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.epoch: Final = (database[META].get(EPOCH_KEY) or b"").decode()
        newest = next(database[LOG].backward(pack_seq(1), pack_seq(MAX_SEQ)), None)
        self.head: Final[Seq] = seq_of(newest[0]) if newest else 0
        self.time: Final = _decode_record(newest[1]).time if newest else 0
        """Of the newest message, in ms."""

    def messages(self, after: Seq, ids_since: int) -> Iterator[Logged]:
        """All messages past a SeqId, in order.  ``ids_since``: from when on ids are wanted (ms).

        Raises ``Damaged`` at one that fails its checksum.
        """
        with closing(self._redacted_ids(ids_since)) as ids:
            log = self._database[LOG].forward(pack_seq(after + 1), pack_seq(MAX_SEQ) + b"\0")
            for key, value in log:
                record = _decode_record(value)
                yield from self._read(record, seq_of(key), after, ids)

    def media(self, after: str) -> Iterator[tuple[str, int]]:
        """The media that are known, past a name in order: names and sizes."""
        start = b"M" + after.encode() + (b"\0" if after else b"")
        for key, value in self._database[DIRECTORY].forward(start, b"N"):
            yield key[1:].decode(), _decode_medium(value).bytes

    def _read(
        self, record: _Record, last: Seq, after: Seq, ids: sqlite3.Connection
    ) -> Iterator[Logged]:
        first = last - len(record.conversations) + 1
        places = [(seq, name) for seq, name in enumerate(record.conversations, first)]
        places = [place for place in places if place[0] > after]
        keys = [prefix(name) + pack_seq(seq) for seq, name in places]
        values = get_near(self._database[MESSAGES], keys)
        for (seq, name), key, value in zip(places, keys, values, strict=True):
            row = None if value is None else decode(key, value)
            if row is not None and row.payload:
                yield Logged(seq, record.time, name, row.payload, row.digest)
                continue
            found = ids.execute("SELECT sender, id FROM ids WHERE seq = ?", (seq,)).fetchone()
            digest = row.digest if row is not None else b""
            yield Logged(seq, record.time, name, b"", digest, *(found or ("", "")))

    def _redacted_ids(self, since: int) -> sqlite3.Connection:
        """Senders and ids of redacted messages, by SeqId: in a file that is gone when closed."""
        found = sqlite3.connect("")
        found.execute("CREATE TABLE ids (seq INTEGER PRIMARY KEY, sender TEXT, id TEXT)")
        for family in self._database.names(KEYS):
            rows = self._database[family].forward(b"", b"\xff")
            while batch := list(islice(rows, BATCH_KEYS)):
                found.executemany(
                    "INSERT OR REPLACE INTO ids VALUES (?, ?, ?)", self._gone(batch, since)
                )
        return found

    def _gone(self, batch: list[tuple[bytes, bytes]], since: int) -> Iterator[tuple[Seq, str, str]]:
        places = [known(value) for _, value in batch]
        wanted = [
            (key, one) for (key, _), one in zip(batch, places, strict=True) if one.time >= since
        ]
        keys = [prefix(one.conversation) + pack_seq(one.seq) for _, one in wanted]
        values = self._database[MESSAGES].get_all(keys)
        for (key, one), value in zip(wanted, values, strict=True):
            if value is not None and peek_flags(value) & REDACTED:
                sender, _, id = key.decode().partition("\0")
                yield one.seq, sender, id


@contextmanager
def open_copy(path: Path) -> Generator[LogCopy]:
    """Open a data directory for reading its log.

    Raises ``Unusable`` (directory_unusable, directory_newer).
    """
    database = _open(path)
    try:
        stored = database[META].get(FORMAT_KEY) or b""
        if stored.isdigit() and int(stored) > FORMAT:
            raise error("directory_newer", format=int(stored), known=FORMAT)
        yield LogCopy(database)
    finally:
        database.close()


def _open(path: Path) -> Database:
    for _ in range(MAX_TRIES - 1):
        with suppress(TimewireError):
            return open_readonly(path, Cache(CACHE_BYTES))
        if not (path / "CURRENT").exists():
            break
    return open_readonly(path, Cache(CACHE_BYTES))
