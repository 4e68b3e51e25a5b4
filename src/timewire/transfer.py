"""Data directories as what exports are made of, and what they are imported into."""

from __future__ import annotations

import asyncio
import shutil
from asyncio import Future
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from timewire import durable, exports
from timewire.backends.rocksdb import RocksStore
from timewire.backends.rocksdb.copies import open_copy
from timewire.config import Config
from timewire.errors import TimewireError, error
from timewire.exports import End, Header, Told
from timewire.importing import Batch, Export, take_in
from timewire.model import Receipt, Seq
from timewire.parts import media_store

PART: Final = ".importing"
"""What a directory is called until its import is whole."""

MARK: Final = "import.json"
"""Where in it stands which export it is of: the export's first line."""

INCOMING: Final = "incoming"


async def write_export(
    config: Config, source: Path, file: Path, told: Told, *, with_media: bool
) -> End:
    """Export the directory ``source``, also while a server has it open; see ``exports.write``.

    Media come from where the configuration says that they are.
    """
    media = media_store(config) if with_media else None
    with open_copy(source) as log:
        return await exports.write(log, media, file, told)


async def import_directory(config: Config, file: Path, told: Told) -> tuple[End, str]:
    """Make the configured data directory from an export; its end and the new log's epoch.

    Raises ``Unusable`` (directory_not_empty), ``Damaged`` (bad_export, export_incomplete).
    """
    directory = Path(config.data)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise error("directory_not_empty", path=str(directory))
    part = directory.with_name(directory.name + PART)
    with file.open("rb") as reading:
        export = Export(file, reading)
        _prepare(part, export.header)
        target = await _Directory.open(config, part)
        try:
            here = msgspec.structs.replace(config, data=str(part))
            end = await take_in(export, target, media_store(here), part / INCOMING, told)
        finally:
            await target.aclose()
    shutil.rmtree(part / INCOMING, ignore_errors=True)
    if directory.exists():
        directory.rmdir()
    part.rename(directory)
    (directory / MARK).unlink()
    return end, target.epoch


def _prepare(part: Path, header: Header) -> None:
    """Go on with an import of this export that broke off; otherwise begin anew."""
    try:
        same = msgspec.json.decode((part / MARK).read_bytes(), type=Header) == header
    except (OSError, msgspec.MsgspecError):
        same = False
    if not same:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        durable.replace(part / MARK, msgspec.json.encode(header))


class _Clock:
    """The time of the messages that are being taken in."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class _Directory:
    """A ``Target``: the log of a new data directory."""

    def __init__(self, store: RocksStore, clock: _Clock) -> None:
        self.epoch: Final = store.log.epoch
        self._store = store
        self._clock = clock

    @classmethod
    async def open(cls, config: Config, path: Path) -> _Directory:
        """Open it, made if it is not there."""
        clock = _Clock()
        store = await RocksStore.open(
            path,
            clock=clock,
            inbox_days=config.inbox_days,
            keys_days=config.keys_days,
            cache_mb=config.cache_mb,
        )
        return cls(store, clock)

    @property
    def position(self) -> Seq:
        """The SeqId of the newest message."""
        return self._store.log.head

    async def append(self, batches: Sequence[Batch]) -> None:
        """Write batches, and wait until all are durable."""
        writing = [self._write(batch) for batch in batches]
        for batch, results in zip(batches, await asyncio.gather(*writing), strict=True):
            last = results[-1]
            if isinstance(last, TimewireError) or last.seq != batch.first + len(results) - 1:
                reason = f"an id is used twice, by message {batch.first} or one soon after it"
                raise error("bad_export", reason=reason)

    def _write(self, batch: Batch) -> Future[list[Receipt | TimewireError]]:
        self._clock.now = batch.time
        return self._store.log.append(batch.drafts)

    async def aclose(self) -> None:
        """Finish, release the directory."""
        await self._store.aclose()
