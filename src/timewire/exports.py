"""Exports: a whole log in one file of JSON lines, to be taken to another directory or cluster.

    {"type":"export","format":1,"id":"5f0c...","epoch":"a1b2c3d4","made":"2026-05-01T12:00:00+00:00"}
    {"type":"message","seq":1,"time":1777636800000,"conversation":"team","message":{...}}
    {"type":"media","media":"9f86...","at":0,"size":12,"data":"aGVsbG8gd29ybGQh"}
    {"type":"end","messages":1,"head":1,"time":1777636800000,"media":1}

First a line that says what it is, then every message in the order of the log, then media in pieces,
then a line without which the file is not whole.  Who was a member when, marks, settings, modes: all
of that is said by messages.  ``docs/CLUSTER.md`` describes the fields.

An export that broke off keeps the name ``.part`` and is gone on with.  What has happened to earlier
messages meanwhile is said by later ones, so the whole is right wherever it broke off.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec

from timewire.errors import error
from timewire.media import MediaStore
from timewire.model import Seq

FORMAT: Final = 1
DAY_MS: Final = 24 * 60 * 60 * 1000
IDS_MS: Final = 30 * DAY_MS
"""Ids of messages that are older than this, against the newest one, are not taken along."""

MAX_LINE_BYTES: Final = 32 << 20
PIECE_BYTES: Final = 256 << 10
"""Of a medium, in one line."""

TELL_MESSAGES: Final = 1000

Told = Callable[[int, int], None]
"""Called with how much is done and how much there is in all."""


class Header(msgspec.Struct, frozen=True, tag="export"):
    """The first line.  ``id`` names this export, ``epoch`` the life of the log it is from."""

    format: int
    id: str
    epoch: str
    made: str


class Message(msgspec.Struct, frozen=True, tag="message", omit_defaults=True):
    """One message.  ``message``: its stored JSON as it is now; null for one that is redacted.

    ``first``: in hex, what is kept of what it said first, when it has changed since.  ``sender``,
    ``id``: of a redacted one.
    """

    seq: Seq
    time: int
    conversation: str
    message: msgspec.Raw
    first: str = ""
    sender: str = ""
    id: str = ""


class Piece(msgspec.Struct, frozen=True, tag="media"):
    """Some of a medium, from byte ``at`` on; in JSON it is base64.

    ``size``: how many bytes the medium has in all.
    """

    media: str
    at: int
    size: int
    data: bytes


class End(msgspec.Struct, frozen=True, tag="end"):
    """The last line: how many messages and media there are, and the newest message."""

    messages: int
    head: Seq
    time: int
    media: int


class Logged(Protocol):
    """A message as a store gives it; see ``Message``."""

    @property
    def seq(self) -> Seq: ...
    @property
    def time(self) -> int: ...
    @property
    def conversation(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def sender(self) -> str: ...
    @property
    def id(self) -> str: ...


class Source(Protocol):
    """A log that is exported, as it was when it was opened."""

    @property
    def epoch(self) -> str: ...
    @property
    def head(self) -> Seq: ...
    @property
    def time(self) -> int: ...
    def messages(self, after: Seq, ids_since: int) -> Iterable[Logged]:
        """All messages past a SeqId, in order; ids of those that are newer than a time (ms)."""
        ...

    def media(self, after: str) -> Iterable[tuple[str, int]]:
        """Names and sizes of media past a name, in order."""
        ...


Line = Header | Message | Piece | End
_encode = msgspec.json.Encoder().encode
decode: Final = msgspec.json.Decoder(Line).decode
"""A line.  Raises ``msgspec.MsgspecError``."""


async def write(source: Source, media: MediaStore | None, path: Path, told: Told) -> End:
    """Write an export, or go on with it.  ``media``: where files are; None leaves them out.

    Raises ``Unusable`` (export_exists), ``Damaged`` (damaged).
    """
    if path.exists():
        raise error("export_exists", path=str(path))
    part = path.with_name(path.name + ".part")
    done = _read_part(part, source.epoch)
    with part.open("r+b" if done.bytes else "wb") as file:
        file.truncate(done.bytes)
        file.seek(done.bytes)
        if not done.bytes:
            made = datetime.now(UTC).isoformat(timespec="seconds")
            _put(file, Header(FORMAT, secrets.token_hex(8), source.epoch, made))
        if not done.medium:
            _write_messages(source, file, done, told)
        if media is not None:
            await _write_media(source, media, file, done)
        end = End(done.messages, done.seq, source.time, done.media)
        _put(file, end)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return end


def _write_messages(source: Source, file: BinaryIO, done: _Done, told: Told) -> None:
    for one in source.messages(done.seq, source.time - IDS_MS):
        line = Message(
            one.seq,
            one.time,
            one.conversation,
            msgspec.Raw(one.payload or b"null"),
            one.digest.hex(),
            one.sender,
            one.id,
        )
        _put(file, line)
        done.count(line)
        if done.messages % TELL_MESSAGES == 0:
            told(done.seq, source.head)
    told(source.head, source.head)


async def _write_media(source: Source, media: MediaStore, file: BinaryIO, done: _Done) -> None:
    """What is not there, or no more, is left out: nothing refers to it, or it is lost already."""
    if done.medium:
        await _write_medium(media, done.medium, done.size, file, done)
    for name, size in source.media(done.medium):
        if await media.size(name) == size:
            await _write_medium(media, name, size, file, done)


async def _write_medium(
    media: MediaStore, name: str, size: int, file: BinaryIO, done: _Done
) -> None:
    """The pieces of a medium that are not written yet; one at least, of one that is empty."""
    while (at := done.at if done.medium == name else 0) < size or done.medium != name:
        stop = min(size, at + PIECE_BYTES)
        data = b"".join([piece async for piece in media.read(name, at, stop)])
        line = Piece(name, at, size, data)
        _put(file, line)
        done.count(line)


def _put(file: BinaryIO, line: Line) -> None:
    file.write(_encode(line) + b"\n")


class _Done:
    """How much of an export is written."""

    def __init__(self) -> None:
        self.bytes = 0
        self.messages = 0
        self.seq: Seq = 0
        self.media = 0
        self.medium = ""
        """The newest medium; of its ``size`` bytes those before ``at`` are written."""
        self.at = 0
        self.size = 0

    def count(self, line: Line) -> None:
        """A line more."""
        if isinstance(line, Message):
            self.seq, self.messages = line.seq, self.messages + 1
        elif isinstance(line, Piece):
            self.medium, self.at, self.size = line.media, line.at + len(line.data), line.size
            self.media += self.at == self.size


def _read_part(part: Path, epoch: str) -> _Done:
    """What is sound of an export that broke off; nothing when it is of another log."""
    done = _Done()
    if not part.exists():
        return done
    with part.open("rb") as file:
        while raw := file.readline(MAX_LINE_BYTES):
            try:
                line = decode(raw)
            except msgspec.MsgspecError:
                break
            other = not done.bytes and (not isinstance(line, Header) or line.epoch != epoch)
            if other or isinstance(line, End) or not raw.endswith(b"\n"):
                break
            done.bytes += len(raw)
            done.count(line)
    return done
