"""Ports: media, the files that messages refer to: where they are kept, and what is known of them.

A medium's name is the SHA-256 of its content in hex.  A message refers to media by ``media`` in its
body: one name, or a list of them.

What every ``MediaStore`` promises:

- *Whole or not at all.*  Under a name there is all of a file or nothing, whatever crashes when.
- *Durable.*  When ``put`` has returned, the file is on stable storage.
- *In pieces.*  Nothing is held in memory whole.

What every ``MediaIndex`` promises: it is a projection of the log, as the directory is, and as that
one it shows what the log has staged.  It names the messages that were sent with a medium; whether
they still refer to it (some are recalled) only they can say.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final, Protocol, cast

import msgspec

from timewire.errors import error
from timewire.model import Media, Ref, Seq

MAX_MEDIA_A_MESSAGE: Final = 32

_NAME: Final = re.compile(r"[0-9a-f]{64}")


class Kept(msgspec.Struct, frozen=True):
    """A medium that is kept, and the SeqId of the record of its newest upload."""

    media: Media
    uploaded: Seq


class MediaStore(Protocol):
    """Where files are kept.  See the module for what holds.

    Names are made of a-z, 0-9, ``.`` and ``-``.  Methods raise ``Retryable`` (storage_unavailable)
    when the store cannot be read or written.
    """

    async def put(self, name: str, source: Path) -> None:
        """Keep a file, in place of what was there.  ``source`` may be gone afterwards."""
        ...

    async def size(self, name: str) -> int | None:
        """The size of a file in bytes; None when there is none of this name."""
        ...

    def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        """The bytes from ``start`` up to ``stop`` (excluded), which a file must have.

        Raises ``NotFound`` (unknown_media) when there is none of this name.
        """
        ...

    async def delete(self, name: str) -> None:
        """Remove a file, if it is there.  Who reads it now may go on."""
        ...

    async def names(self, after: str = "", limit: int = 1000) -> list[str]:
        """Names of files past ``after``, in order."""
        ...


class MediaIndex(Protocol):
    """What is known of media.  See the module for what holds."""

    async def find(self, name: str) -> Kept | None:
        """A medium, as it was uploaded first."""
        ...

    async def is_uploader(self, user: str, name: str) -> bool:
        """Whether the user has uploaded this medium."""
        ...

    async def carriers(self, name: str, *, before: Seq | None = None, limit: int) -> list[Ref]:
        """Messages that were sent with this medium, below ``before``, newest first."""
        ...

    async def scan(self, *, after: str = "", limit: int = 100) -> list[Kept]:
        """Media past a name, in order."""
        ...


def is_name(name: str) -> bool:
    """Whether this could be the name of a medium."""
    return _NAME.fullmatch(name) is not None


def references(body: dict[str, Any]) -> tuple[str, ...]:
    """The media that a body refers to.  Raises ``Invalid`` (bad_body), ``NotFound``."""
    given = body.get("media")
    if given is None:
        return ()
    names = cast(list[Any], given) if isinstance(given, list) else [given]
    if len(names) > MAX_MEDIA_A_MESSAGE or not all(isinstance(name, str) for name in names):
        reason = f"`media` is a name, or a list of at most {MAX_MEDIA_A_MESSAGE}"
        raise error("bad_body", reason=reason)
    for name in names:
        if not is_name(name):
            raise error("unknown_media", media=name[:64])
    return tuple(dict.fromkeys(names))
