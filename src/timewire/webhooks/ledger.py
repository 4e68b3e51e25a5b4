"""What webhooks remember over restarts: how far each endpoint has come, and what it would not take.

It is written whole, so that a position and what was parked before it become durable together.  A
server has one small file for it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

import msgspec

from timewire import durable
from timewire.errors import error
from timewire.model import Seq

FILE: Final = "webhooks.json"
MAX_PARKED: Final = 1000
"""Events of one endpoint that may be parked; beyond it the endpoint waits for the one it is at."""


class Parked(msgspec.Struct, omit_defaults=True):
    """An event that an endpoint has not taken: of which message, how often tried, and why not."""

    id: str
    type: str
    seq: Seq
    attempts: int
    reason: str
    time: int


class Progress(msgspec.Struct):
    """One endpoint: everything up to ``position`` was delivered or is parked."""

    epoch: str
    position: Seq
    parked: list[Parked] = []


class Ledger(ABC):
    """The progress of all endpoints, by name.  Those that are configured no more are kept.

    ``save_pause_s``: between two looks whether something is to be written; a crash may have so much
    told twice.
    """

    save_pause_s: float = 0.5

    def __init__(self, kept: dict[str, Progress]) -> None:
        self._kept = kept

    def progress(self, name: str, epoch: str, head: Seq) -> Progress:
        """How far an endpoint has come; a new one begins at the log's head.

        In a log of another life it goes on from where both can agree, and tells some things twice.
        """
        known = self._kept.get(name)
        if known is None:
            known = self._kept[name] = Progress(epoch, head)
        elif known.epoch != epoch:
            known.parked = [one for one in known.parked if one.seq <= head]
            for one in known.parked:
                one.id = epoch + one.id.removeprefix(known.epoch)
            known.epoch = epoch
        known.position = min(known.position, head)
        return known

    def encode(self) -> bytes:
        """What is to be written."""
        return msgspec.json.format(msgspec.json.encode(self._kept))

    @abstractmethod
    async def keep(self, data: bytes) -> None:
        """Make it durable; one call is under way at a time.  Raises OSError, ``TimewireError``."""


class FileLedger(Ledger):
    """A ledger in a file.  Raises ``Unusable`` (directory_unusable) when that cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__(read_progress(path))
        self._path = path

    def write(self, data: bytes) -> None:
        """Make it durable.  Blocks."""
        durable.replace(self._path, data)

    async def keep(self, data: bytes) -> None:
        """As ``write``, in a thread."""
        await asyncio.to_thread(self.write, data)


def read_progress(path: Path) -> dict[str, Progress]:
    """The progress of all endpoints as a file has it.  Raises ``Unusable`` (directory_unusable)."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Progress])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeError) as problem:
        reason = f"cannot read {path}: {problem}"
        raise error("directory_unusable", reason, path=str(path)) from None
