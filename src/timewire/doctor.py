"""A checkup of a whole data directory: the store, and what stands beside it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from timewire.backends.rocksdb import checkup as rocksdb
from timewire.backends.tantivy import TantivyIndex
from timewire.backups import INCOMING, MEDIA, PASSING_FILES, SNAPSHOT
from timewire.checkup import Checkup, Finding, Notes, Told
from timewire.clock import wall_clock
from timewire.config import Config
from timewire.errors import TimewireError
from timewire.parts import DAY_MS, SEARCH
from timewire.webhooks.ledger import FILE, read_progress

GRACE_MS: Final = DAY_MS
"""How late retention may be: a server need not have run all the time."""

MIN_FREE_BYTES: Final = 1 << 30
"""With less free space than this, a disk is soon full."""


def examine(
    config: Config,
    told: Told,
    *,
    repair: bool = False,
    deep: bool = False,
    erased: str = "",
    clock: Callable[[], int] = wall_clock,
) -> Checkup:
    """Look at everything in a data directory; with ``deep`` also at the content of media.
    ``erased``: a user of whom nothing should be left.

    Reads only, also while a server has it open.  With ``repair`` it puts right what is safe to be;
    then no server may have it open.  Raises ``Unusable`` (directory_unusable, directory_newer,
    directory_in_use).
    """
    path = Path(config.data)
    medium = _unasked if config.media_store else _Files(path / MEDIA, deep).problem
    days = config.message_days
    oldest = clock() - round(days * DAY_MS) - GRACE_MS if days else 0
    found = rocksdb.examine(
        path, clock(), told, repair=repair, medium=medium, erased=erased, oldest=oldest
    )
    notes = Notes()
    for check in (_check_webhooks, _check_leftovers, _check_space):
        check(path, found, notes, repair)
    if repair:
        _check_search(path, found, notes)
    return msgspec.structs.replace(
        found,
        checked=found.checked | notes.checked,
        findings=found.findings + notes.findings,
    )


class _Files:
    """The media of this machine."""

    def __init__(self, directory: Path, deep: bool) -> None:
        self._directory = directory
        self._deep = deep

    def problem(self, name: str, bytes: int) -> str:
        """What is wrong with a medium's file; empty when nothing is."""
        path = self._directory / name[:2] / name
        try:
            size = path.stat().st_size
            if size != bytes:
                return f"its file has {size} bytes, not {bytes}"
            if self._deep:
                with path.open("rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != name:
                        return "the content of its file has changed"
        except OSError as fault:
            return f"its file cannot be read: {fault.strerror}"
        return ""


def _unasked(name: str, bytes: int) -> str:
    """Media elsewhere are not looked at."""
    return ""


def _check_webhooks(path: Path, found: Checkup, notes: Notes, repair: bool) -> None:
    try:
        kept = read_progress(path / FILE)
    except TimewireError as fault:
        notes.add(Finding("webhooks", "error", fault.message))
        return
    notes.count("webhooks", len(kept))
    for name, progress in kept.items():
        if progress.position > found.head:
            what = f"{name} stands at {progress.position}, past the log's head {found.head}"
            notes.add(Finding("webhooks", "warning", f"{what}; the server will set it back"))


def _check_leftovers(path: Path, found: Checkup, notes: Notes, repair: bool) -> None:
    """What a crash has left.  A running server may be using it: only a repair removes it."""
    leftovers = [path / SNAPSHOT, *(path / MEDIA / INCOMING).glob("*")]
    leftovers += [one for pattern in PASSING_FILES for one in path.glob(pattern)]
    there = [one for one in leftovers if one.exists() and not one.name.endswith(".lock")]
    notes.count("leftovers", len(there))
    for one in there if repair else ():
        if one.is_dir():
            shutil.rmtree(one)
        else:
            one.unlink()
        what = f"{one.relative_to(path)} was left by something that broke off"
        notes.add(Finding("leftovers", "warning", what, "remove it", repaired=True))


def _check_space(path: Path, found: Checkup, notes: Notes, repair: bool) -> None:
    notes.count("space")
    free = shutil.disk_usage(path).free
    if free < MIN_FREE_BYTES:
        notes.add(Finding("space", "warning", f"only {free:,} bytes are free on its disk"))


def _check_search(path: Path, found: Checkup, notes: Notes) -> None:
    """The search index can be made anew: one that cannot be opened is removed."""
    if not (path / SEARCH).exists():
        return
    notes.count("search")
    try:
        asyncio.run(_open_index(path / SEARCH))
    except TimewireError as fault:
        if (path / SEARCH).is_dir():
            shutil.rmtree(path / SEARCH)
        else:
            (path / SEARCH).unlink()
        what = f"the search index cannot be opened: {fault.fields.get('reason', fault.message)}"
        repair = "remove it; the server makes it anew"
        notes.add(Finding("search", "error", what, repair, repaired=True))


async def _open_index(path: Path) -> None:
    await (await TantivyIndex.open(path)).aclose()
