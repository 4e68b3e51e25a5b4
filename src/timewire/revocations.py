"""What was taken back before its end: tokens by their name, and all older ones of a user or device.

A file of lines that only grows while the server runs: one revocation a line, on stable storage
before it counts as done.  At the start it is read, and written anew without what has expired.
"""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Final

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


class Revocations:
    """All that hold.  ``load`` one; ``add`` is durable when it returns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tokens: dict[str, Revocation] = {}
        self._users: dict[tuple[str, str], Revocation] = {}
        self._lock = asyncio.Lock()

    @classmethod
    def load(cls, directory: Path, now: int) -> Revocations:
        """Those of a data directory.  Raises ``Unusable`` (directory_unusable)."""
        made = cls(directory / FILE)
        try:
            data = made._path.read_bytes() if made._path.exists() else b""
            # The last line may be torn: nobody was told that it is done.
            for line in data.split(b"\n")[:-1]:
                one = msgspec.json.decode(line, type=Revocation)
                if one.until > now:
                    made._keep(one)
            if data:
                made._rewrite()
        except (OSError, msgspec.DecodeError, UnicodeError) as problem:
            reason = f"cannot read {made._path}: {problem}"
            raise error("directory_unusable", reason, path=str(made._path)) from None
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

        Raises ``Invalid`` (list_full) and ``Retryable`` (storage_unavailable).
        """
        if len(self._tokens) + len(self._users) >= MAX_REVOCATIONS:
            raise error("list_full", limit=MAX_REVOCATIONS)
        one = Revocation(now, now + KEPT_DAYS * DAY_MS, token, user, device)
        async with self._lock:
            try:
                await asyncio.to_thread(self._append, msgspec.json.encode(one) + b"\n")
            except OSError as problem:
                logger.error("a revocation could not be stored", reason=problem.strerror)
                raise error("storage_unavailable") from None
            self._keep(one)

    def _keep(self, one: Revocation) -> None:
        if one.token:
            self._tokens[one.token] = one
        else:
            self._users[one.user, one.device] = one

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

    def _rewrite(self) -> None:
        draft = self._path.with_suffix(".new")
        kept = [*self._tokens.values(), *self._users.values()]
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
