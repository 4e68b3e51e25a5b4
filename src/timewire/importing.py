"""Imports: an export's messages into a log that has none yet, under the same SeqIds.

The log that comes of it has an epoch of its own.  So every device starts again from history, and
finds the same there as before.  An import that broke off is gone on with: where it stands is what
the log holds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, Protocol

import msgspec

from timewire.errors import TimewireError, error
from timewire.exports import (
    FORMAT,
    IDS_MS,
    MAX_LINE_BYTES,
    End,
    Header,
    Line,
    Message,
    Piece,
    Told,
    decode,
)
from timewire.media import MediaStore, is_name, references
from timewire.model import CONTROL_KINDS, Change, Draft, Edited, Seq, decode_stored
from timewire.names import check_timeline

MAX_BATCH_MESSAGES: Final = 1000
MAX_FLIGHT_BYTES: Final = 1 << 20
"""Of payloads, on their way into the log at once."""

MAX_FLIGHT_MESSAGES: Final = 10_000
MAX_HOLE_SEQS: Final = 1 << 24
"""SeqIds that no message has, in one stretch: a crash leaves at most a million."""

HOLES: Final = "system:holes"
"""The conversation of empty messages that stand where the exported log had none."""

GONE: Final = bytes(16)
"""The digest of what nothing is known of."""

END_BYTES: Final = 4096
"""The last line is shorter."""


class Batch(NamedTuple):
    """Messages of one time (ms), whose SeqIds follow one another.  A change stands alone."""

    first: Seq
    time: int
    drafts: list[Draft]


class Target(Protocol):
    """A log that takes an import."""

    @property
    def position(self) -> Seq:
        """The SeqId up to which it has everything."""
        ...

    async def append(self, batches: Sequence[Batch]) -> None:
        """Have batches in the log, durably; the first follows ``position``."""
        ...


class Export:
    """An export that is read.  ``line``: the number of the newest line; ``done``: bytes read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path: Final = path
        self.bytes: Final = os.fstat(file.fileno()).st_size
        self.line = 0
        self.done = 0
        self._file = file
        self.end: Final = self._last()
        header = next(self.lines(), None)
        if not isinstance(header, Header):
            raise self.bad("it does not begin with what an export begins with")
        if header.format > FORMAT:
            raise error("export_newer", format=header.format, known=FORMAT)
        self.header: Final = header

    def lines(self) -> Iterator[Line]:
        """The lines from here on.  Raises ``Damaged`` (bad_export)."""
        while raw := self._file.readline(MAX_LINE_BYTES):
            self.line += 1
            self.done += len(raw)
            try:
                yield decode(raw)
            except (msgspec.MsgspecError, UnicodeError) as problem:
                raise self.bad(str(problem)) from None

    def bad(self, reason: str) -> TimewireError:
        """What is to be raised when the newest line is wrong."""
        return error("bad_export", path=str(self.path), reason=f"line {self.line}: {reason}")

    def _last(self) -> End:
        self._file.seek(max(0, self.bytes - END_BYTES))
        last = self._file.read().rstrip(b"\n").rpartition(b"\n")[2]
        self._file.seek(0)
        try:
            end = decode(last)
        except (msgspec.MsgspecError, UnicodeError):
            end = None
        if not isinstance(end, End):
            raise error("export_incomplete", path=str(self.path))
        return end


async def take_in(
    export: Export, target: Target, media: MediaStore | None, incoming: Path, told: Told
) -> End:
    """Bring an export into a log, and its media into their store; ``incoming`` is used on the way.

    Without a store there must be no media.  Raises ``Damaged`` (bad_export), ``Unusable``.
    """
    flight = _Flight(target)
    messages = _Messages(export, target.position)
    files = _Files(export, media, incoming)
    for line in export.lines():
        if isinstance(line, Message):
            for batch in messages.take(line):
                await flight.add(batch)
                told(export.done, export.bytes)
        elif isinstance(line, Piece):
            await files.take(line)
            told(export.done, export.bytes)
        elif isinstance(line, End):
            break
        else:
            raise export.bad("an export begins again in the middle")
    for batch in messages.rest():
        await flight.add(batch)
    await flight.land()
    if (messages.count, messages.seq) != (export.end.messages, export.end.head):
        raise export.bad(f"{messages.count} messages came before the end, up to {messages.seq}")
    return export.end


class _Messages:
    """Makes batches of lines, past what is there already."""

    def __init__(self, export: Export, position: Seq) -> None:
        self.count = 0
        self.seq: Seq = 0
        self._export = export
        self._position = position
        self._ids_since = export.end.time - IDS_MS
        self._time = 0
        self._batch = Batch(0, 0, [])

    def take(self, line: Message) -> Iterator[Batch]:
        """The batches that a message completes."""
        if line.seq <= self.seq or line.time < self._time:
            raise self._export.bad("messages are in the order of SeqIds and times")
        if line.seq - self.seq > MAX_HOLE_SEQS:
            raise self._export.bad(f"too many SeqIds are missing after {self.seq}")
        for hole in range(max(self.seq, self._position) + 1, line.seq):
            yield from self._add(hole, line.time, Draft(HOLES, "", "", b"", digest=GONE))
        self.count, self.seq, self._time = self.count + 1, line.seq, line.time
        if line.seq > self._position:
            yield from self._add(line.seq, line.time, self._draft(line))

    def rest(self) -> Iterator[Batch]:
        """What is left at the end."""
        batch, self._batch = self._batch, Batch(0, 0, [])
        if batch.drafts:
            yield batch

    def _add(self, seq: Seq, time: int, draft: Draft) -> Iterator[Batch]:
        drafts = self._batch.drafts
        if (
            time != self._batch.time
            or len(drafts) >= MAX_BATCH_MESSAGES
            or draft.change is not None
        ):
            yield from self.rest()
        if not self._batch.drafts:
            self._batch = Batch(seq, time, [])
        self._batch.drafts.append(draft)
        if draft.change is not None:
            yield from self.rest()

    def _draft(self, line: Message) -> Draft:
        try:
            check_timeline(line.conversation)
            return _draft(line, line.time >= self._ids_since)
        except (msgspec.MsgspecError, ValueError) as problem:
            raise self._export.bad(str(problem)) from None
        except TimewireError as problem:
            raise self._export.bad(problem.message) from None


def _draft(line: Message, with_id: bool) -> Draft:
    digest = bytes.fromhex(line.first)
    if len(digest) not in (0, len(GONE)):
        raise ValueError("`first` has 32 hexadecimal digits, or none")
    payload = bytes(line.message)
    if payload == b"null":
        id = line.id if with_id else ""
        return Draft(line.conversation, line.sender, id, b"", digest=digest or GONE)
    stored = decode_stored(payload)
    change: Change | None = None
    if stored.kind in CONTROL_KINDS:
        change = msgspec.convert({**stored.body, "type": stored.kind}, Change)
    body = stored.body if change is None else change.body if isinstance(change, Edited) else {}
    return Draft(
        line.conversation,
        stored.sender,
        stored.id if with_id else "",
        payload,
        change,
        None,
        stored.expires,
        references(body),
        digest,
    )


class _Flight:
    """Batches on their way into the log: some at once, so that each costs little."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._batches: list[Batch] = []
        self._messages = 0
        self._bytes = 0

    async def add(self, batch: Batch) -> None:
        """One more; many are appended."""
        self._batches.append(batch)
        self._messages += len(batch.drafts)
        self._bytes += sum(len(draft.payload) for draft in batch.drafts)
        if self._messages >= MAX_FLIGHT_MESSAGES or self._bytes >= MAX_FLIGHT_BYTES:
            await self.land()

    async def land(self) -> None:
        """Append what is there."""
        if self._batches:
            await self._target.append(self._batches)
        self._batches, self._messages, self._bytes = [], 0, 0


class _Files:
    """Puts pieces together, and whole media into their store."""

    def __init__(self, export: Export, media: MediaStore | None, incoming: Path) -> None:
        self._export = export
        self._media = media
        self._incoming = incoming
        self._name = ""
        self._at = 0

    async def take(self, piece: Piece) -> None:
        """The next piece."""
        if self._media is None:
            message = "the export holds media: `media_store` says where the cluster keeps them"
            raise error("bad_config", message, key="media_store")
        if not is_name(piece.media):
            raise self._export.bad("no medium has such a name")
        if piece.at == 0:
            self._name, self._at = piece.media, 0
        if (piece.media, piece.at) != (self._name, self._at):
            raise self._export.bad("the pieces of a medium follow one another")
        self._at += len(piece.data)
        path = self._incoming / piece.media
        if piece.at == 0:
            self._incoming.mkdir(parents=True, exist_ok=True)
        with path.open("wb" if piece.at == 0 else "ab") as file:
            file.write(piece.data)
        if self._at >= piece.size:
            await self._keep(self._media, piece, path)

    async def _keep(self, media: MediaStore, piece: Piece, path: Path) -> None:
        with path.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == piece.media
        if not whole or self._at != piece.size:
            raise self._export.bad(f"the medium {piece.media} is not what its name says")
        if await media.size(piece.media) != piece.size:
            await media.put(piece.media, path)
        path.unlink(missing_ok=True)
