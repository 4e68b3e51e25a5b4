"""Media in an object store: S3 and what is compatible with it, and all else that obstore reaches.

Credentials and the address come from the environment (``AWS_ACCESS_KEY_ID``,
``AWS_SECRET_ACCESS_KEY``, ``AWS_REGION``, ``AWS_ENDPOINT`` ...), as obstore documents them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from timewire.errors import TimewireError, error

PIECE_BYTES: Final = 256 * 1024


class ObjectMediaStore:
    """A ``MediaStore`` in an object store.  An object is there whole, or not at all."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> ObjectMediaStore:
        """The store at a URL such as ``s3://bucket/folder``.  Raises ``Unusable`` (bad_config)."""
        try:
            return cls(from_url(url))
        except (BaseError, ValueError) as problem:
            raise error("bad_config", f"media_store: {problem}", key="media_store") from None

    async def put(self, name: str, source: Path) -> None:
        try:
            await obstore.put_async(self._store, name, source)
        except (BaseError, OSError) as problem:
            raise _unavailable(problem) from None

    async def size(self, name: str) -> int | None:
        try:
            return (await obstore.head_async(self._store, name))["size"]
        except FileNotFoundError:
            return None
        except BaseError as problem:
            raise _unavailable(problem) from None

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        if start == stop:
            return
        try:
            found = await obstore.get_async(self._store, name, options={"range": (start, stop)})
            async for piece in found.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)
        except FileNotFoundError:
            raise error("unknown_media", media=name) from None
        except BaseError as problem:
            raise _unavailable(problem) from None

    async def delete(self, name: str) -> None:
        try:
            await obstore.delete_async(self._store, name)
        except FileNotFoundError:
            return
        except BaseError as problem:
            raise _unavailable(problem) from None

    async def names(self, after: str = "", limit: int = 1000) -> list[str]:
        found: list[str] = []
        try:
            offset = after or None
            pages = obstore.list(self._store, offset=offset, return_arrow=False)  # pyright: ignore[reportUnknownMemberType]
            async for page in pages:
                found += [one["path"] for one in page]
                # What comes in order may be cut; other stores are small.
                if len(found) > limit and found == sorted(found):
                    break
        except BaseError as problem:
            raise _unavailable(problem) from None
        return sorted(name for name in found if name > after)[:limit]


def _unavailable(problem: Exception) -> TimewireError:
    return error("storage_unavailable", reason=str(problem)[:200])
