"""What is in a data directory, read without changing it, also while a server has it open."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from rocksdict import Cache

from timewire.backends.rocksdb.database import ENTRIES, LOG, MESSAGES, META, Database, open_readonly
from timewire.backends.rocksdb.entries import count, names, newest, pack_seq, seq_of
from timewire.backends.rocksdb.inbox import STATE_KEY, InboxState
from timewire.backends.rocksdb.store import EPOCH_KEY, FORMAT_KEY
from timewire.errors import TimewireError, error
from timewire.inbox import Traffic
from timewire.model import MAX_SEQ, Seq

CACHE_BYTES: Final = 8 << 20
MAX_COUNTED_ENTRIES: Final = 1_000_000
"""Entries of one timeline that are counted: bounds how long an inspection takes."""

Found = TypeVar("Found")

MAX_TRIES: Final = 3
"""A server may remove a file between our reading of its name and of itself."""


class TimelineSize(msgspec.Struct, frozen=True):
    """A timeline: its entries (at most ``MAX_COUNTED_ENTRIES``), the oldest and the newest."""

    name: str
    entries: int
    oldest: Seq
    newest: Seq


class FamilySize(msgspec.Struct, frozen=True):
    """A part of the store: about how many keys, and the bytes of its files."""

    name: str
    keys: int
    bytes: int


class Inspection(msgspec.Struct, frozen=True):
    """A data directory at one moment.

    ``head``: the SeqId of the newest message.  ``floor``: the lowest one that inboxes still keep.
    ``consumers``: how far each has come in the log.  ``conversations`` are timelines of messages,
    ``timelines`` those of the library; of each the first ones by name, with ``more`` if there are
    others.  ``disk_bytes``: all files of the directory.
    """

    path: str
    format: int
    epoch: str
    head: Seq
    floor: Seq
    consumers: dict[str, Seq]
    conversations: list[TimelineSize]
    timelines: list[TimelineSize]
    more: bool
    families: list[FamilySize]
    disk_bytes: int


def inspect(path: Path, limit: int) -> Inspection:
    """What is in a data directory, with at most ``limit`` timelines of each kind.

    Raises ``Unusable`` (directory_unusable).
    """
    return _look(path, lambda database: _read(path, database, limit))


def traffic(path: Path) -> Traffic:
    """What was delivered and synced since the data directory was made.

    Raises ``Unusable`` (directory_unusable).
    """
    return _look(path, lambda database: _inboxes(database).traffic)


def _look(path: Path, read: Callable[[Database], Found]) -> Found:
    for _ in range(MAX_TRIES - 1):
        try:
            return _look_once(path, read)
        except TimewireError:
            if not (path / "CURRENT").exists():
                raise
    return _look_once(path, read)


def _look_once(path: Path, read: Callable[[Database], Found]) -> Found:
    database = open_readonly(path, Cache(CACHE_BYTES))
    try:
        return read(database)
    except TimewireError:
        raise
    except Exception as fault:
        raise error("directory_unusable", path=str(path), reason=str(fault)) from None
    finally:
        database.close()


def _inboxes(database: Database) -> InboxState:
    state = database[META].get(STATE_KEY)
    return msgspec.msgpack.decode(state, type=InboxState) if state else InboxState()


def _read(path: Path, database: Database, limit: int) -> Inspection:
    meta = database[META]
    inbox = _inboxes(database)
    head = next(
        (seq_of(key) for key, _ in database[LOG].backward(pack_seq(1), pack_seq(MAX_SEQ))), 0
    )
    conversations = _timelines(database, MESSAGES, limit + 1)
    timelines = _timelines(database, ENTRIES, limit + 1)
    return Inspection(
        path=str(path),
        format=int(meta.get(FORMAT_KEY) or 0),
        epoch=(meta.get(EPOCH_KEY) or b"").decode(),
        head=head,
        floor=inbox.floor,
        consumers={"fan-out": inbox.position},
        conversations=conversations[:limit],
        timelines=timelines[:limit],
        more=max(len(conversations), len(timelines)) > limit,
        families=[FamilySize(name, *database[name].size()) for name in database.names()],
        disk_bytes=sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
    )


def _timelines(database: Database, name: str, limit: int) -> list[TimelineSize]:
    if name not in database:
        return []
    family = database[name]
    found: list[TimelineSize] = []
    for timeline, oldest in islice(names(family, ""), limit):
        entries, _ = count(family, timeline, 1, MAX_SEQ, MAX_COUNTED_ENTRIES)
        found.append(TimelineSize(timeline, entries, oldest, newest(family, timeline)))
    return found
