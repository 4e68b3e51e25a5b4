"""Media in a directory of this machine.

ab/abcd...          the file of this name; the first two letters are its directory
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeVar

from timewire.errors import error

PIECE_BYTES: Final = 256 * 1024

T = TypeVar("T")


class LocalMediaStore:
    """A ``MediaStore`` in a directory, which is made when the first file comes.

    ``put`` moves a file in when it is on the same file system, so give it one that is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, name: str, source: Path) -> None:
        await _off_loop(_move, source, self._path(name))

    async def size(self, name: str) -> int | None:
        try:
            return (await _off_loop(os.stat, self._path(name))).st_size
        except FileNotFoundError:
            return None

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes]:
        try:
            file = await _off_loop(_open, self._path(name), start)
        except FileNotFoundError:
            raise error("unknown_media", media=name) from None
        try:
            while start < stop:
                piece = await _off_loop(file.read, min(PIECE_BYTES, stop - start))
                if not piece:
                    raise error("storage_unavailable", reason=f"{name} ends at {start}")
                start += len(piece)
                yield piece
        finally:
            file.close()

    async def delete(self, name: str) -> None:
        await _off_loop(_remove, self._path(name))

    async def names(self, after: str = "", limit: int = 1000) -> list[str]:
        return await _off_loop(self._names, after, limit)

    def _names(self, after: str, limit: int) -> list[str]:
        found: list[str] = []
        for shelf in sorted(_list(self._directory)):
            if len(shelf) == 2 and shelf >= after[:2] and len(found) < limit:
                found += sorted(name for name in _list(self._directory / shelf) if name > after)
        return found[:limit]

    def _path(self, name: str) -> Path:
        return self._directory / name[:2] / name


async def _off_loop(work: Callable[..., T], *arguments: Any) -> T:
    """Do something with files in a thread.  Raises ``Retryable`` (storage_unavailable)."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except FileNotFoundError:
        raise
    except OSError as problem:
        raise error("storage_unavailable", reason=str(problem.strerror)) from None


def _open(path: Path, start: int) -> BinaryIO:
    file = path.open("rb")
    file.seek(start)
    return file


def _move(source: Path, target: Path) -> None:
    """Have a file under another name, on stable storage: first its content, then the name."""
    _sync(source)
    if not target.parent.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(target.parent.parent)
        _sync(target.parent.parent.parent)
    os.replace(source, target)
    _sync(target.parent)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _list(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
