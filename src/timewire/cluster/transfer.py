"""A cluster as what exports are made of, and what they are imported into."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from timewire.backends import jetstream
from timewire.backends.jetstream import LogStream, Names, connect
from timewire.backends.jetstream.records import Carried, Group, decode, encode, pack
from timewire.backends.jetstream.stream import Overtaken
from timewire.cluster.worker import open_view
from timewire.config import Config
from timewire.errors import Retryable, error
from timewire.exports import End, Told
from timewire.importing import Batch, Export, take_in
from timewire.model import Seq
from timewire.parts import media_store
from timewire.transfer import INCOMING

RETRY_PAUSE_S: Final = 0.25
GIVE_UP_S: Final = 60.0
"""How long an append is tried while the cluster cannot take it."""


async def refresh(config: Config, names: Names | None = None) -> Path:
    """Bring a view in this data directory up to where the cluster is now; where it stands.

    No process may be running on it.
    """
    names = names or Names()
    client = await connect(config.nats, "timewire export")
    try:
        view = await open_view(config, client, names)
        await view.aclose()
    finally:
        await client.close()
    return Path(config.data) / "view"


async def import_cluster(
    config: Config, file: Path, told: Told, names: Names | None = None
) -> tuple[End, str]:
    """Bring an export into a cluster that has been made and holds nothing; its end and the epoch.

    Raises ``Unusable`` (cluster_not_empty, no_cluster), ``Damaged`` (bad_export).
    """
    media = media_store(config) if config.media_store else None
    client = await connect(config.nats, "timewire import")
    try:
        stream = LogStream(client, names or Names())
        shape = await jetstream.check(stream)
        with file.open("rb") as reading:
            export = Export(file, reading)
            target = await _Stream.open(stream, f"import-{export.header.id}")
            incoming = Path(config.data) / INCOMING
            return await take_in(export, target, media, incoming, told), shape.epoch
    finally:
        await client.close()


class _Stream:
    """A ``Target``: the stream that is a cluster's log.  Its records name the import as leader."""

    def __init__(self, stream: LogStream, name: str, at: int, position: Seq) -> None:
        self.position: Seq = position
        self._stream = stream
        self._name = name
        self._at = at

    @classmethod
    async def open(cls, stream: LogStream, name: str) -> _Stream:
        """Find out how far this import has come.  Raises ``Unusable`` (cluster_not_empty)."""
        first, last = await stream.bounds()
        if last < first:
            return cls(stream, name, last, 0)
        newest = decode((await stream.get(last)).data)
        if newest.leader != name:
            raise error("cluster_not_empty", stream=stream.names.stream)
        return cls(stream, name, last, newest.end)

    async def append(self, batches: Sequence[Batch]) -> None:
        """Store batches as records, one after the other."""
        groups = [
            Group(batch.first, batch.time, [Carried.of(draft) for draft in batch.drafts])
            for batch in batches
        ]
        for record in pack(self._name, groups):
            await self._append(encode(record))
            self.position = record.end

    async def _append(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + GIVE_UP_S
        while True:
            try:
                self._at = await self._stream.append(data, self._at, f"{self._name}.{self._at + 1}")
            except Overtaken:
                raise error("cluster_not_empty", stream=self._stream.names.stream) from None
            except Retryable:
                if loop.time() > until:
                    raise
                await asyncio.sleep(RETRY_PAUSE_S)
            else:
                return
