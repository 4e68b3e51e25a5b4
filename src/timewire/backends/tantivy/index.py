"""A ``SearchIndex`` in Tantivy: generations on disk, one of them current, and threads to work in.

current      the name of the generation that answers
g1 g2 ...    the generations; any but the current one is a renewal that is not done yet
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
import structlog
from msgspec import Meta

from timewire.backends.tantivy.generation import Generation, sync_directory
from timewire.backends.tantivy.reading import search, shares
from timewire.backends.tantivy.schema import FORMAT
from timewire.errors import error
from timewire.finding import Document, Found, Inquiry, Phrase, Scope
from timewire.index import MAX_FOUND, MAX_STAGE_DOCUMENTS, SearchIndex
from timewire.model import Seq

SEARCH_THREADS: Final = 2

MAX_SEARCHES_WAITING: Final = 256
"""Searches that may wait for a thread; further ones are refused with too_busy."""

CURRENT: Final = "current"

_log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class _Current(msgspec.Struct):
    """What the file says: the generation's name, and the format it was written in."""

    name: Annotated[str, Meta(pattern=r"^g\d+\Z")]
    format: int


class _Threads:
    """The threads of all generations of one directory: one writes, some search."""

    def __init__(self) -> None:
        self.writing = ThreadPoolExecutor(1, "index-write")
        self.searching = ThreadPoolExecutor(SEARCH_THREADS, "index-search")
        self.waiting = 0

    async def write(self, work: Callable[[], Result]) -> Result:
        """Do what changes something, after all that was to be done before."""
        return await asyncio.get_running_loop().run_in_executor(self.writing, work)

    async def search(self, work: Callable[[], Result]) -> Result:
        """Do what only reads.  Raises ``Retryable`` (too_busy)."""
        if self.waiting >= MAX_SEARCHES_WAITING:
            raise error("too_busy")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.searching, work)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        self.writing.shutdown(wait=False)
        self.searching.shutdown(wait=False)


class TantivyIndex:
    """A ``SearchIndex`` in a directory of its own."""

    def __init__(self, path: Path, generation: Generation, threads: _Threads) -> None:
        self._path = path
        self._generation = generation
        self._threads = threads
        self._renewal = False
        self._closed = False

    @classmethod
    async def open(cls, path: str | Path) -> TantivyIndex:
        """Open an index, made when it is missing, and made anew when it cannot be read.

        Raises ``Unusable`` (directory_in_use, directory_unusable).
        """
        threads = _Threads()
        try:
            generation = await threads.write(lambda: _open(Path(path)))
        except BaseException:
            threads.close()
            raise
        return cls(Path(path), generation, threads)

    @property
    def position(self) -> Seq:
        return self._generation.state.position

    @property
    def epoch(self) -> str:
        return self._generation.state.epoch

    async def stage(self, documents: Sequence[Document], removed: Sequence[Seq] = ()) -> None:
        generation = self._open_generation()
        if len(documents) + len(removed) > MAX_STAGE_DOCUMENTS:
            raise error("batch_too_large", limit=MAX_STAGE_DOCUMENTS)
        await self._threads.write(lambda: generation.stage(documents, removed))

    async def expire(self, now: int) -> None:
        generation = self._open_generation()
        await self._threads.write(lambda: generation.expire(now))

    async def commit(self, position: Seq, epoch: str) -> None:
        generation = self._open_generation()
        await self._threads.write(lambda: generation.commit(position, epoch))

    async def search(
        self, inquiry: Inquiry, *, limit: int, after: Found | None = None
    ) -> list[Found]:
        generation = self._open_generation()
        if not 1 <= limit <= MAX_FOUND:
            raise error("bad_limit", limit=limit, largest=MAX_FOUND)
        if inquiry.scope == Scope():
            return []
        return await self._threads.search(
            lambda: search(generation.searcher(), inquiry, limit, after)
        )

    async def shares(self, phrases: Sequence[Phrase]) -> list[float]:
        generation = self._open_generation()
        return await self._threads.search(lambda: shares(generation.searcher(), phrases))

    async def renew(self) -> TantivyIndex:
        self._open_generation()
        path = self._path / _next_name(self._path)
        generation = await self._threads.write(lambda: Generation(path))
        fresh = TantivyIndex(self._path, generation, self._threads)
        fresh._renewal = True
        return fresh

    async def replace(self, fresh: SearchIndex) -> None:
        assert isinstance(fresh, TantivyIndex)
        before, generation = self._open_generation(), fresh._open_generation()
        await self._threads.write(lambda: _set_current(self._path, generation.path.name))
        self._generation, fresh._closed = generation, True
        await self._threads.write(before.remove)

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        generation = self._generation
        await self._threads.write(generation.remove if self._renewal else generation.close)
        if not self._renewal:
            self._threads.close()

    def _open_generation(self) -> Generation:
        if self._closed:
            raise error("closed")
        return self._generation


# The directory ---------------------------------------------------------------------------------


def _open(path: Path) -> Generation:
    """The current generation; a new one when there is none that can be read."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        generation = _open_current(path)
        if generation is None:
            generation = Generation(path / _next_name(path))
            _set_current(path, generation.path.name)
        _tidy(path, generation.path.name)
    except OSError as problem:
        raise error("directory_unusable", reason=str(problem)) from None
    return generation


def _open_current(path: Path) -> Generation | None:
    try:
        current = msgspec.json.decode((path / CURRENT).read_bytes(), type=_Current)
        if current.format == FORMAT and (path / current.name).is_dir():
            return Generation(path / current.name)
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as problem:
        _log.warning("the search index cannot be read and is made anew", reason=str(problem))
    return None


def _set_current(path: Path, name: str) -> None:
    """Make a generation the one that is opened next time.  One or the other, after any crash."""
    made = path / f"{CURRENT}.new"
    with made.open("wb") as file:
        file.write(msgspec.json.encode(_Current(name, FORMAT)))
        file.flush()
        os.fsync(file.fileno())
    made.replace(path / CURRENT)
    sync_directory(path)


def _next_name(path: Path) -> str:
    numbers = [int(one.name[1:]) for one in path.glob("g*") if one.name[1:].isdecimal()]
    return f"g{max(numbers, default=0) + 1}"


def _tidy(path: Path, current: str) -> None:
    """Remove what a crash has left of other generations."""
    for other in path.glob("g*"):
        if other.name != current:
            shutil.rmtree(other, ignore_errors=True)
