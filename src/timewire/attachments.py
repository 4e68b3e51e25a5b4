"""Attachments: files are taken in, handed out to those who may see them, and swept when unused.

    upload ──> incoming/ ──> media store ──> record in the log ──> answer
             hash, size, type   durable          durable

A file counts from its record on: a crash before it leaves a file that nobody can name, which the
second sweep that finds it removes.  By the second its record would be there, whoever has sent it:
several processes may have store and log in common, of which one sweeps.  The record is a message of
the internal conversation ``MEDIA_LOG``, so that index and uploaders are made of the log like
everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import structlog

from timewire.access import MediaAccess
from timewire.clock import Clock
from timewire.errors import TimewireError, error
from timewire.images import (
    HEAD_BYTES,
    IMAGE_TYPES,
    THUMBNAIL_SIZES,
    THUMBNAIL_TYPE,
    measure,
    shrink,
    sniff,
)
from timewire.log import MessageLog
from timewire.media import MediaIndex, MediaStore, is_name
from timewire.metrics import MEDIA_SWEPT
from timewire.model import (
    MEDIA_LOG,
    Draft,
    Media,
    MediaChange,
    Ref,
    Seq,
    Swept,
    Uploaded,
    encode_change,
)

UNKNOWN_TYPE: Final = "application/octet-stream"
WRITE_BYTES: Final = 256 * 1024
"""Handed to a thread at a time, to be hashed and written."""

IMAGE_THREADS: Final = 2
MAX_IMAGES_WAITING: Final = 64
"""Thumbnails that may wait for a thread; further ones are refused with too_busy."""

LOCKS: Final = 64
MAX_STRAYS: Final = 100_000
"""Files without a record that are remembered from one sweep to the next."""

SWEEP_PAUSE_S: Final = 3600.0
SWEEP_PAGE: Final = 200

_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")

logger = structlog.get_logger("timewire.attachments")


class Rules(msgspec.Struct, frozen=True):
    """What is taken, and how long a file is kept that no message refers to.

    ``types``: patterns such as ``image/*``.
    """

    max_bytes: int
    types: Sequence[str]
    orphan_ms: int


class File(msgspec.Struct, frozen=True):
    """A file to be handed out: its name in the store, its size, its type."""

    name: str
    bytes: int
    type: str


class Attachments:
    """Takes files in and hands them out.  ``incoming`` is a directory of its own.

    For a store in a directory it has to be on the same file system.
    """

    def __init__(
        self,
        store: MediaStore,
        incoming: Path,
        rules: Rules,
        clock: Clock,
        *,
        index: MediaIndex,
        access: MediaAccess,
        log: MessageLog,
    ) -> None:
        self.rules = rules
        self._store = store
        self._index = index
        self._access = access
        self._log = log
        self._clock = clock
        self._incoming = incoming
        self._images = ThreadPoolExecutor(IMAGE_THREADS, thread_name_prefix="timewire-image")
        self._waiting = 0
        # What is made and what is swept of one medium never happens at the same time.
        self._locks = [asyncio.Lock() for _ in range(LOCKS)]
        self._strays: set[str] = set()
        """Files without a record, when it was swept last."""

    # -- in -------------------------------------------------------------------------------------

    async def take(self, user: str, declared: str, pieces: AsyncIterator[bytes]) -> Media:
        """Keep a file that a user uploads.  ``declared``: the type it is said to be, or "".

        The file is on stable storage when this returns.  Raises ``Invalid`` (media_too_large,
        bad_media_type), ``Retryable`` (storage_unavailable) and what ``pieces`` raises.
        """
        type = _declared(declared)
        async with self._spool() as path:
            name, size, head = await self._receive(path, pieces)
            type = self._judge(type, head)
            width, height = await self._measure(path, type)
            async with self.lock(name):
                if await self._store.size(name) != size:
                    await self._store.put(name, path)
                await self._record(user, Uploaded(name, size, type, width, height))
                if await self._store.size(name) != size:  # swept elsewhere before its record
                    await self._store.put(name, path)
        kept = await self._index.find(name)
        if kept is None:
            raise error("storage_unavailable")
        return kept.media

    async def _receive(self, path: Path, pieces: AsyncIterator[bytes]) -> tuple[str, int, bytes]:
        """Write a file; the hash of its content, its size, its first bytes."""
        digest, size, head = hashlib.sha256(), 0, b""
        waiting = bytearray()

        def write(file: BinaryIO, data: bytes) -> None:
            digest.update(data)
            file.write(data)

        with path.open("wb", buffering=0) as file:
            async for piece in pieces:
                size += len(piece)
                if size > self.rules.max_bytes:
                    raise error("media_too_large", limit=self.rules.max_bytes)
                head = head if len(head) >= HEAD_BYTES else (head + piece)[:HEAD_BYTES]
                waiting += piece
                if len(waiting) >= WRITE_BYTES:
                    await asyncio.to_thread(write, file, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(write, file, bytes(waiting))
        return digest.hexdigest(), size, head

    def _judge(self, declared: str, head: bytes) -> str:
        """The type a file is kept as.  Images are what their content says."""
        found = sniff(head)
        if found is None and declared in IMAGE_TYPES:
            raise error("bad_media_type", reason=f"this is no {declared}")
        type = found or declared
        if not any(fnmatchcase(type, pattern) for pattern in self.rules.types):
            raise error("bad_media_type", type=type, allowed=list(self.rules.types))
        return type

    async def _measure(self, path: Path, type: str) -> tuple[int, int]:
        if type not in IMAGE_TYPES:
            return 0, 0
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._images, measure, path, type)

    async def _record(self, user: str, change: MediaChange) -> None:
        """Have what happened to a medium in the log."""
        payload = encode_change(user, "", change)
        [outcome] = await self._log.append([Draft(MEDIA_LOG, user, "", payload, change)])
        if isinstance(outcome, TimewireError):
            raise outcome

    # -- out ------------------------------------------------------------------------------------

    async def find(self, user: str | None, name: str, size: int | None = None) -> File:
        """A file that a user (None: the system) may see, or its thumbnail of a size in pixels.

        Raises ``NotFound`` (unknown_media), ``Invalid`` (bad_media_type: no thumbnail can be made)
        and ``Retryable`` (too_busy, storage_unavailable).
        """
        media = (await self._access.find(user, name)).media
        if size is None:
            return File(name, media.bytes, media.type)
        if media.type not in IMAGE_TYPES:
            raise error("bad_media_type", "there are thumbnails of images only", type=media.type)
        thumbnail = f"{name}.{next(one for one in THUMBNAIL_SIZES if one >= size)}"
        found = await self._store.size(thumbnail)
        if found is None:
            found = await self._make_thumbnail(media, thumbnail)
        return File(thumbnail, found, THUMBNAIL_TYPE)

    def read(self, file: File, start: int, stop: int) -> AsyncGenerator[bytes]:
        """The bytes of a file from ``start`` up to ``stop`` (excluded)."""
        return self._store.read(file.name, start, stop)

    async def _make_thumbnail(self, media: Media, thumbnail: str) -> int:
        if self._waiting >= MAX_IMAGES_WAITING:
            raise error("too_busy", limit=MAX_IMAGES_WAITING)
        self._waiting += 1
        try:
            async with self.lock(media.media):
                known = await self._store.size(thumbnail)
                return known if known is not None else await self._shrink(media, thumbnail)
        finally:
            self._waiting -= 1

    async def _shrink(self, media: Media, thumbnail: str) -> int:
        async with self._spool() as source, self._spool() as target:
            with source.open("wb") as file:
                async for piece in self._store.read(media.media, 0, media.bytes):
                    await asyncio.to_thread(file.write, piece)
            size = int(thumbnail.rpartition(".")[2])
            loop = asyncio.get_running_loop()
            arguments = source, media.type, size, target
            if not await loop.run_in_executor(self._images, shrink, *arguments):
                raise error("bad_media_type", "no thumbnail can be made of this image")
            found = target.stat().st_size
            await self._store.put(thumbnail, target)
        return found

    # -- sweeping -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Remove what nobody uses, now and then, for as long as this runs."""
        while True:
            await asyncio.sleep(SWEEP_PAUSE_S)
            try:
                await self.sweep()
            except TimewireError as fault:
                logger.warning("media are not swept", code=fault.code)

    async def sweep(self) -> int:
        """Remove media that no message refers to any more, and files without a record; how many."""
        return await self._sweep_records() + await self._sweep_files()

    async def _sweep_records(self) -> int:
        swept, after = 0, ""
        while page := await self._index.scan(after=after, limit=SWEEP_PAGE):
            times = await self._times([kept.uploaded for kept in page])
            for kept in page:
                name = after = kept.media.media
                if self._clock() - times.get(kept.uploaded, 0) >= self.rules.orphan_ms:
                    swept += await self._forget(name, kept.uploaded)
            await asyncio.sleep(0)
        return swept

    async def _times(self, seqs: Sequence[Seq]) -> dict[Seq, int]:
        found = await self._log.fetch([Ref(seq, MEDIA_LOG) for seq in seqs])
        return {record.seq: record.time for record in found}

    async def _forget(self, name: str, uploaded: Seq) -> bool:
        """Remove a medium, unless it is used, or was uploaded again just now."""
        async with self.lock(name):
            kept = await self._index.find(name)
            if kept is None or kept.uploaded != uploaded or await self._access.is_alive(name):
                return False
            # Nothing waits between this look and the record that makes it unknown to senders.
            if self._access.is_being_attached(name):
                return False
            await self._record("", Swept(name))
            for size in THUMBNAIL_SIZES:
                await self._store.delete(f"{name}.{size}")
            await self._store.delete(name)
        MEDIA_SWEPT.inc()
        return True

    async def _sweep_files(self) -> int:
        """What a crash left: files without a record, now and a sweep before."""
        swept, after, before = 0, "", self._strays
        self._strays = set()
        while page := await self._store.names(after, SWEEP_PAGE):
            for file in page:
                name, after = file.partition(".")[0], file
                if not is_name(name):
                    continue
                async with self.lock(name):
                    if await self._index.find(name) is not None:
                        continue
                    if file in before:
                        await self._store.delete(file)
                        swept += 1
                    elif len(self._strays) < MAX_STRAYS:
                        self._strays.add(file)
            await asyncio.sleep(0)
        return swept

    # -- inside ---------------------------------------------------------------------------------

    def lock(self, name: str) -> asyncio.Lock:
        """To be held while something is made of a medium; sweeping holds it too."""
        return self._locks[int(name[:4], 16) % LOCKS]

    @contextlib.asynccontextmanager
    async def _spool(self) -> AsyncGenerator[Path]:
        """A place for a file on its way; what is still there in the end is removed."""
        path = self._incoming / secrets.token_hex(16)
        try:
            await asyncio.to_thread(self._incoming.mkdir, parents=True, exist_ok=True)
            yield path
        except OSError as problem:
            raise error("storage_unavailable", reason=str(problem.strerror)) from None
        finally:
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what uploads have left that a crash broke off.  For the start."""
        shutil.rmtree(self._incoming, ignore_errors=True)

    def close(self) -> None:
        """End the threads; no further file is taken."""
        self._images.shutdown(wait=True, cancel_futures=True)


def _declared(header: str) -> str:
    """The type that an upload is said to have, without parameters."""
    type = header.partition(";")[0].strip().lower() or UNKNOWN_TYPE
    if not _TYPE.fullmatch(type) or type.startswith("multipart/"):
        reason = "send the bytes of the file, with its type"
        raise error("bad_media_type", reason, given=header[:80])
    return type
