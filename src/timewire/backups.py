"""Backups: a directory of copies of a data directory, each whole, each checked by checksums.

    backups/
      2026-05-01T120000Z/
        manifest.json      what it is, and every file with its size and SHA-256
        data/              a data directory, as the server had it at one moment
      2026-05-02T120000Z/  what has not changed is a hard link to the one before

Files of the store never change once they are written, nor do media; so a backup copies what is new
and links the rest.  One that broke off keeps the name ``.part`` and is no backup.

This module knows files only.  How a store makes a snapshot of itself is the backend's business; a
snapshot is a directory of hard links, gone when the backup is done.
"""

from __future__ import annotations

import asyncio
import fnmatch
import hashlib
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from timewire.errors import TimewireError, error

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
DATA: Final = "data"
MEDIA: Final = "media"
INCOMING: Final = "incoming"
SNAPSHOT: Final = "snapshot"
"""Where in a data directory the snapshot is, while there is one."""

STAMP: Final = "%Y-%m-%dT%H%M%SZ"
PIECE_BYTES: Final = 1 << 20

STORE_FILES: Final = (
    *("*.sst", "*.log", "*.dbtmp", "MANIFEST-*", "OPTIONS-*", "LOG", "LOG.old*"),
    *("CURRENT", "IDENTITY", "LOCK", "rocksdict-config.json"),
)
"""Files of the store: they come from the snapshot, not from the directory itself."""

PASSING_FILES: Final = ("*.new", "*.tmp", "*.lock")
"""Files that are no use to anyone later."""

Told = Callable[[int, int], None]
"""Called with the bytes that are done and those there are in all."""


class File(msgspec.Struct, frozen=True):
    """One file of a backup.  ``mtime_ns`` is that of its source."""

    path: str
    bytes: int
    sha256: str
    mtime_ns: int


class Manifest(msgspec.Struct, frozen=True):
    """What a backup is.  ``linked_bytes``: of files that are shared with the one before."""

    format: int
    made: str
    epoch: str
    head: int
    total_bytes: int
    linked_bytes: int
    files: list[File]


class Snapshot(msgspec.Struct, frozen=True):
    """A store at one moment: where its files are, and what they hold."""

    path: str
    epoch: str
    head: int


class Snapshots:
    """The one snapshot that a running server may have; making another removes it."""

    def __init__(self, data: Path, checkpoint: Callable[[Path], Awaitable[None]]) -> None:
        self._path = data / SNAPSHOT
        self._checkpoint = checkpoint

    async def make(self, epoch: str, head: int) -> Snapshot:
        """Make a snapshot of now that holds at least everything up to ``head``.

        Raises ``Retryable`` (storage_unavailable).
        """
        await self.remove()
        await self._checkpoint(self._path)
        return Snapshot(str(self._path.resolve()), epoch, head)

    async def remove(self) -> None:
        """Remove the snapshot, if there is one."""
        await asyncio.to_thread(shutil.rmtree, self._path, ignore_errors=True)


# Making one ------------------------------------------------------------------------------------


def take(snapshot: Snapshot, data: Path, target: Path, told: Told) -> tuple[Path, Manifest]:
    """Make a backup from a snapshot and what stands beside it in the data directory.

    Raises ``OSError``, also when the snapshot was removed meanwhile.
    """
    target.mkdir(parents=True, exist_ok=True)
    made = datetime.now(UTC)
    path = _fresh(target, made)
    before = newest(target)
    sources = list(_sources(Path(snapshot.path), data))
    part = path.with_name(path.name + ".part")
    copier = _Copier(before, part / DATA, sum(stat.st_size for _, _, stat in sources), told)
    part.mkdir()
    try:
        for name, source, stat in sources:
            copier.add(name, source, stat)
        manifest = Manifest(
            FORMAT,
            made.isoformat(timespec="seconds"),
            snapshot.epoch,
            snapshot.head,
            sum(file.bytes for file in copier.files),
            copier.linked_bytes,
            copier.files,
        )
        _write(part / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
        _sync_tree(part)
        part.rename(path)
        _sync(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return path, manifest


def prune(target: Path, keep: int) -> list[Path]:
    """Remove all but the newest ``keep`` backups, and what broke off; which."""
    gone = complete(target)[:-keep] + sorted(target.glob("*.part"))
    for path in gone:
        shutil.rmtree(path)
    return gone


class _Copier:
    """Brings files into a new backup, by a link to the one before where that holds the same."""

    def __init__(self, before: Path | None, into: Path, total: int, told: Told) -> None:
        self._before = before
        self._known = {file.path: file for file in read(before).files} if before else {}
        self._into = into
        self._total = total
        self._told = told
        self._done = 0
        self.files: list[File] = []
        self.linked_bytes = 0

    def add(self, name: str, source: Path, stat: os.stat_result) -> None:
        to = self._into / name
        to.parent.mkdir(parents=True, exist_ok=True)
        known = self._known.get(name)
        same = known is not None and _immutable(name) and _matches(known, stat)
        if known is not None and same and self._link(name, to):
            self.files.append(known)
            self.linked_bytes += known.bytes
            self._tell(known.bytes)
        else:
            bytes, sha256 = copy(source, to, self._tell)
            self.files.append(File(name, bytes, sha256, stat.st_mtime_ns))

    def _link(self, name: str, to: Path) -> bool:
        assert self._before is not None
        try:
            os.link(self._before / DATA / name, to)
        except OSError:  # another file system, too many links, or the file is gone
            return False
        return True

    def _tell(self, bytes: int) -> None:
        self._done += bytes
        self._told(self._done, max(self._total, self._done))


def _matches(known: File, stat: os.stat_result) -> bool:
    return (known.bytes, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def _immutable(name: str) -> bool:
    return name.endswith(".sst") or name.startswith(MEDIA + "/")


def _sources(snapshot: Path, data: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    """What belongs into a backup: its name there, where it is, and its size and time.

    The search index is left out: it is made anew from the log.
    """
    for path in sorted(snapshot.iterdir()):
        yield path.name, path, path.stat()
    for path in sorted(data.iterdir()):
        passing = any(fnmatch.fnmatch(path.name, one) for one in (*STORE_FILES, *PASSING_FILES))
        if path.is_file() and not passing:
            yield path.name, path, path.stat()
    for folder in sorted((data / MEDIA).glob("*")):
        if folder.is_dir() and folder.name != INCOMING:
            for path in sorted(folder.iterdir()):
                with suppress(FileNotFoundError):  # nothing refers to what was swept
                    yield f"{MEDIA}/{folder.name}/{path.name}", path, path.stat()


def _fresh(target: Path, made: datetime) -> Path:
    """A name that no backup has; two in one second are rare."""
    path = target / made.strftime(STAMP)
    number = 1
    while path.exists():
        number += 1
        path = target / f"{made.strftime(STAMP)}.{number}"
    return path


# Reading one -----------------------------------------------------------------------------------


def complete(target: Path) -> list[Path]:
    """The backups in a directory, oldest first."""
    if not target.is_dir():
        return []
    return sorted(
        path.parent for path in target.glob(f"*/{MANIFEST}") if path.parent.suffix != ".part"
    )


def newest(target: Path) -> Path | None:
    """The newest backup in a directory, or None."""
    found = complete(target)
    return found[-1] if found else None


def find(path: Path) -> Path:
    """A backup: this directory, or the newest one in it.  Raises ``Unusable`` (no_backup)."""
    found = path if (path / MANIFEST).is_file() else newest(path)
    if found is None:
        raise error("no_backup", path=str(path))
    return found


def read(backup: Path) -> Manifest:
    """What a backup is.  Raises ``Damaged`` (backup_damaged)."""
    try:
        manifest = msgspec.json.decode((backup / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, UnicodeError) as problem:
        raise _damaged(backup / MANIFEST, str(problem)) from None
    if manifest.format > FORMAT:
        raise error("directory_newer", format=manifest.format, known=FORMAT)
    return manifest


def verify(backup: Path, told: Told) -> list[TimewireError]:
    """Read every file of a backup; what is wrong with it."""
    manifest = read(backup)
    wrong: list[TimewireError] = []
    done = 0
    for file in manifest.files:
        path = backup / DATA / file.path
        try:
            bytes, sha256 = _digest(path)
        except OSError as problem:
            wrong.append(_damaged(path, str(problem)))
        else:
            if (bytes, sha256) != (file.bytes, file.sha256):
                wrong.append(_damaged(path, "its content has changed"))
        done += file.bytes
        told(done, manifest.total_bytes)
    return wrong


def restore(backup: Path, part: Path, told: Told) -> Manifest:
    """Copy a backup's data directory to a new directory, checking every file.

    Raises ``Damaged`` (backup_damaged), ``OSError``; then nothing is left of the copy.
    """
    manifest = read(backup)
    done = 0

    def tell(bytes: int) -> None:
        nonlocal done
        done += bytes
        told(done, manifest.total_bytes)

    part.mkdir(parents=True)
    try:
        for file in manifest.files:
            source, to = backup / DATA / file.path, part / file.path
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                copied = copy(source, to, tell)
            except FileNotFoundError as problem:
                raise _damaged(source, str(problem)) from None
            if copied != (file.bytes, file.sha256):
                raise _damaged(source, "its content has changed")
            os.utime(to, ns=(file.mtime_ns, file.mtime_ns))
        _sync_tree(part)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return manifest


def _damaged(path: Path, reason: str) -> TimewireError:
    return error("backup_damaged", path=str(path), reason=reason)


# Files -----------------------------------------------------------------------------------------


def copy(source: Path, to: Path, told: Callable[[int], None]) -> tuple[int, str]:
    """Copy a file, durably, with its mode; its size and the SHA-256 of what was read."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reading, to.open("xb") as writing:
        os.fchmod(writing.fileno(), os.fstat(reading.fileno()).st_mode & 0o777)
        while piece := reading.read(PIECE_BYTES):
            digest.update(piece)
            writing.write(piece)
            size += len(piece)
            told(len(piece))
        writing.flush()
        os.fsync(writing.fileno())
    return size, digest.hexdigest()


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_tree(root: Path) -> None:
    for directory, _, _ in os.walk(root):
        _sync(Path(directory))


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
