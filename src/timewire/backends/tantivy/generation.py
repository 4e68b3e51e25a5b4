"""One index on disk: a directory that Tantivy writes.  Everything here blocks."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import tantivy
from tantivy import FieldType, Query

from timewire.backends.tantivy.schema import EXPIRES, SCHEMA, SEQ, STATE, register, row, state_row
from timewire.errors import error
from timewire.finding import Document
from timewire.model import Seq

HEAP_BYTES: Final = 32_000_000
"""Documents that wait in memory for the next commit; with more, they go to disk earlier."""

MAX_UNWRITTEN_MESSAGES: Final = 10_000
"""How far the position may move in memory alone, where there was nothing to be indexed."""

NICENESS: Final = 10
"""Of the threads that write segments and merge them."""

_BUSY: Final = "LockBusy"


Result = TypeVar("Result")


class _State(msgspec.Struct):
    position: Seq = 0
    epoch: str = ""


class Generation:
    """An open index.  One thread may write (``stage``, ``commit``), many may read.

    The directory is made when it is missing.  Raises ``Unusable`` (directory_in_use), and what
    Tantivy says (ValueError, OSError) of a directory that it cannot read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._index = tantivy.Index(SCHEMA, str(path))
        register(self._index)
        self._index.config_reader("manual")
        self._index.reload()
        self._writer: tantivy.IndexWriter | None = self._open_writer()
        self._staged = False
        self.state = self._load()
        self._written = self.state.position
        self._highest = self._newest()

    def _open_writer(self) -> tantivy.IndexWriter:
        try:
            return _gently(lambda: self._index.writer(HEAP_BYTES, 1))
        except ValueError as problem:
            if _BUSY in str(problem):
                raise error("directory_in_use", path=str(self.path)) from None
            raise

    # -- writing --------------------------------------------------------------------------------

    def stage(self, documents: Sequence[Document], removed: Sequence[Seq]) -> None:
        """Prepare to show documents, after taking out others."""
        writer = self._writing()
        latest = {document.seq: document for document in documents}
        try:
            for seq in (*removed, *latest):
                if seq <= self._highest:
                    writer.delete_documents_by_term(SEQ, seq)
            for document in latest.values():
                writer.add_document(row(document))
        except (ValueError, OSError) as problem:
            raise self._failed(problem) from problem
        self._highest = max(self._highest, *latest, 0) if latest else self._highest
        self._staged = True

    def expire(self, now: int) -> None:
        """Prepare to take out documents whose life is over by a time."""
        over = Query.range_query(SCHEMA, EXPIRES, FieldType.Integer, 1, now)
        if self._staged or self._index.searcher().search(over, 1, count=False).hits:
            try:
                self._writing().delete_documents_by_query(over)
            except (ValueError, OSError) as problem:
                raise self._failed(problem) from problem
            self._staged = True

    def commit(self, position: Seq, epoch: str) -> None:
        """Show what was staged, and move the position."""
        state = _State(position, epoch)
        moved = abs(position - self._written)
        if self._staged or moved > MAX_UNWRITTEN_MESSAGES or epoch != self.state.epoch:
            self._write(state)
        self.state = state

    def _write(self, state: _State) -> None:
        writer = self._writing()
        try:
            writer.delete_documents_by_query(Query.regex_query(SCHEMA, STATE, ".+"))
            writer.add_document(state_row(msgspec.json.encode(state).decode()))
            writer.commit()
            self._index.reload()
        except (ValueError, OSError) as problem:
            raise self._failed(problem) from problem
        self._staged = False
        self._written = state.position

    def _writing(self) -> tantivy.IndexWriter:
        if self._writer is None:
            try:
                self._writer = self._open_writer()
            except (ValueError, OSError) as problem:
                raise error("storage_unavailable", reason=str(problem)) from problem
        return self._writer

    def _failed(self, problem: Exception) -> Exception:
        """After a failure a writer is of no use, and what it held is lost."""
        self._writer = None
        self._staged = False
        self.state = self._load()
        self._written = self.state.position
        return error("storage_unavailable", reason=str(problem))

    # -- reading --------------------------------------------------------------------------------

    def searcher(self) -> tantivy.Searcher:
        """What is shown now, for any thread to search in."""
        return self._index.searcher()

    def _load(self) -> _State:
        searcher = self._index.searcher()
        hits = searcher.search(Query.regex_query(SCHEMA, STATE, ".+"), 1, count=False).hits
        if not hits:
            return _State()
        return msgspec.json.decode(searcher.doc(hits[0][1])[STATE][0], type=_State)

    def _newest(self) -> Seq:
        """The highest SeqId of any document."""
        searcher = self._index.searcher()
        hits = searcher.search(Query.all_query(), 1, count=False, order_by_field=SEQ).hits
        return (hits[0][0] or 0) if hits else 0

    # -- ending ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop writing.  What was not committed is lost."""
        self._writer = None

    def remove(self) -> None:
        """Close it, and remove its directory."""
        self.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _gently(start: Callable[[], Result]) -> Result:
    """Start something whose threads give way to all others: they have the niceness of their maker.

    None of them ever holds Python's lock, so nobody waits for one that gives way.
    """

    def nice() -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)

    with ThreadPoolExecutor(1, "index-start", nice) as thread:
        return thread.submit(start).result()


def sync_directory(path: Path) -> None:
    """Make durable which files a directory holds."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
