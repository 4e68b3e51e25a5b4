"""What was taken back before its end: tokens by their name, and all older ones of a user or device.

A server keeps them in a file of lines that only grows while it runs: one revocation a line, on
stable storage before it counts as done.  At the start it is read, and written anew without what has
expired.  Several servers that are one keep them together.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from timewire.auth import Claims
from timewire.errors import error

FILE: Final = "revocations.jsonl"
MAX_REVOCATIONS: Final = 1_000_000
"""Some 200 bytes each in memory."""

DAY_MS: Final = 24 * 3600 * 1000
KEPT_DAYS: Final = 3650
"""Longer than any token lives."""

logger = structlog.get_logger("timewire.revocations")


class Revocation(msgspec.Struct, frozen=True, omit_defaults=True):
    """Either one ``token`` (its ``jti``), or all of ``user`` (of one ``device``) until ``time``.

    ``until``: when it can be forgotten, in ms.
    """

    time: int
    until: int
    token: str = ""
    user: str = ""
    device: str = ""


class Book(Protocol):
    """Where revocations are kept."""

    async def write(self, one: Revocation) -> None:
        """Keep one, durably.  Raises ``Retryable`` (storage_unavailable, cluster_unavailable)."""
        ...


class Revocations:
    """All that hold, in memory.  ``add`` is durable when it returns.

    ``on_kept`` is called with each one from when it holds.
    """

    def __init__(self, book: Book) -> None:
        self.on_kept: Callable[[Revocation], None] = lambda one: None
        self._book = book
        self._tokens: dict[str, Revocation] = {}
        self._users: dict[tuple[str, str], Revocation] = {}

    @classmethod
    def load(cls, directory: Path, now: int) -> Revocations:
        """Those of a data directory.  Raises ``Unusable`` (directory_unusable)."""
        book = _File(directory / FILE)
        made = cls(book)
        for one in book.open(now):
            made.keep(one)
        return made

    def check(self, claims: Claims, device: str | None) -> None:
        """Raises ``Forbidden`` (token_revoked).  ``device``: who presents the token, if told."""
        if not self._tokens and not self._users:
            return
        device = device or claims.device
        since = self.before(claims.user, device) if device else 0
        everybody = self._users.get((claims.user, ""))
        if everybody is not None:
            since = max(since, everybody.time)
        if (claims.id and claims.id in self._tokens) or (since and claims.issued_ms <= since):
            raise error("token_revoked")

    def before(self, user: str, device: str) -> int:
        """Up to when (ms) tokens of a device are void; 0: it was never logged out."""
        one = self._users.get((user, device))
        return one.time if one is not None else 0

    async def add(self, *, now: int, token: str = "", user: str = "", device: str = "") -> None:
        """Revoke a token, or everything of a user (or of one device) that was issued until now.

        Raises ``Invalid`` (list_full) and what the book raises.
        """
        if len(self._tokens) + len(self._users) >= MAX_REVOCATIONS:
            raise error("list_full", limit=MAX_REVOCATIONS)
        one = Revocation(now, now + KEPT_DAYS * DAY_MS, token, user, device)
        await self._book.write(one)
        self.keep(one)

    def keep(self, one: Revocation) -> None:
        """Have one hold that is in the book.  Twice is once; none takes a later one back."""
        if one.token:
            self._tokens[one.token] = one
        elif self.before(one.user, one.device) < one.time:
            self._users[one.user, one.device] = one
        self.on_kept(one)


class _File:
    """A book of one's own.  One write is under way at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()

    def open(self, now: int) -> list[Revocation]:
        """What holds still, after all else was left out.  Raises ``Unusable``."""
        try:
            data = self._path.read_bytes() if self._path.exists() else b""
            # The last line may be torn: nobody was told that it is done.
            lines = data.split(b"\n")[:-1]
            kept = [msgspec.json.decode(line, type=Revocation) for line in lines]
            newest = {(one.token, one.user, one.device): one for one in kept if one.until > now}
            kept = list(newest.values())
            if data:
                self._rewrite(kept)
        except (OSError, msgspec.DecodeError, UnicodeError) as problem:
            reason = f"cannot read {self._path}: {problem}"
            raise error("directory_unusable", reason, path=str(self._path)) from None
        return kept

    async def write(self, one: Revocation) -> None:
        """Append a line."""
        async with self._lock:
            try:
                await asyncio.to_thread(self._append, msgspec.json.encode(one) + b"\n")
            except OSError as problem:
                logger.error("a revocation could not be stored", reason=problem.strerror)
                raise error("storage_unavailable") from None

    def _append(self, line: bytes) -> None:
        new = not self._path.exists()
        with self._path.open("ab", buffering=0) as file:
            begin = file.tell()
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, "No space left on device")
                os.fsync(file.fileno())
            except OSError:
                # No half line may stand before the next one.
                os.truncate(self._path, begin)
                raise
        if new:
            _sync_directory(self._path.parent)

    def _rewrite(self, kept: Sequence[Revocation]) -> None:
        draft = self._path.with_suffix(".new")
        with draft.open("wb") as file:
            file.writelines(msgspec.json.encode(one) + b"\n" for one in kept)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        _sync_directory(self._path.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
