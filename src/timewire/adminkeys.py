"""Keys of administrators: each with a name and scopes, kept as hashes, beside the one that has all.

The server's own admin key may do everything.  Others are made for one purpose each: their file in
the data directory holds names, scopes and hashes, and is read again when it changes, so that a key
that was revoked is refused at once.  A key is 32 random bytes: nobody finds it from its SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec
import structlog

from timewire import durable
from timewire.errors import error
from timewire.names import check_name

FILE: Final = "admin-keys.json"
MAX_KEYS: Final = 1000
KEY_BYTES: Final = 32
PREFIX: Final = "twk_"
"""What these keys begin with, so that a leaked one is recognised."""

Scope = Literal["act", "tokens", "search", "explorer", "webhooks", "backups"]
"""``act``: do something for a user; ``tokens``: make and revoke them; ``search``: the index."""

SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

logger = structlog.get_logger("timewire.adminkeys")


class AdminKey(msgspec.Struct, frozen=True):
    """A key as it is kept.  ``hash``: SHA-256 of it, in hex; ``created``: ms since 1970."""

    name: str
    scopes: tuple[Scope, ...]
    hash: str
    created: int


_decode = msgspec.json.Decoder(list[AdminKey]).decode


class AdminKeys:
    """Who may do what: by ``all_scopes``, the key that may do everything, and by a directory's."""

    def __init__(self, directory: Path, all_scopes: str) -> None:
        self._all_scopes = all_scopes.encode()
        self._path = directory / FILE
        self._stamp: object = None
        self._keys: dict[str, AdminKey] = {}

    def check(self, given: str, scope: Scope) -> None:
        """Raises ``Forbidden``: bad_admin_key for no key, missing_scope for one without this."""
        scopes = self.scopes(given)
        if scopes is None:
            raise error("bad_admin_key")
        if scope not in scopes:
            raise error("missing_scope", scope=scope, scopes=list(scopes))

    def scopes(self, given: str) -> Sequence[Scope] | None:
        """What a key may do; None: it is none.  In constant time for the key that has all."""
        key = given.encode(errors="surrogatepass")
        if hmac.compare_digest(key, self._all_scopes):
            return SCOPES
        if not given.startswith(PREFIX):
            return None
        self._read_if_changed()
        found = self._keys.get(hashlib.sha256(key).hexdigest())
        return found.scopes if found is not None else None

    def _read_if_changed(self) -> None:
        try:
            status = self._path.stat()
            stamp = status.st_mtime_ns, status.st_ino, status.st_size
        except FileNotFoundError:
            stamp = None
        except OSError as problem:
            # What cannot be read lets nobody in.
            logger.warning("admin keys cannot be read", reason=problem.strerror)
            self._keys, self._stamp = {}, None
            return
        if stamp == self._stamp:
            return
        try:
            self._keys = {one.hash: one for one in read(self._path.parent)}
        except Exception as problem:
            logger.warning("admin keys cannot be read", reason=str(problem))
            self._keys = {}
        self._stamp = stamp


def read(directory: Path) -> list[AdminKey]:
    """The keys of a data directory.  Raises ``Unusable`` (directory_unusable)."""
    path = directory / FILE
    try:
        return _decode(path.read_bytes())
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError, UnicodeError) as problem:
        raise error("directory_unusable", f"the keys in {path} cannot be read: {problem}") from None


def create(directory: Path, name: str, scopes: Sequence[str], now: int) -> str:
    """Make a key with these scopes; it is told once, here.

    Raises ``Invalid`` (bad_name, list_full, bad_scope), ``Unusable`` (directory_unusable).
    """
    keys = read(directory)
    wanted: tuple[Scope, ...] = tuple(one for one in SCOPES if scopes.count(one))
    if not wanted or len(wanted) != len(set(scopes)):
        raise error("bad_scope", scopes=list(SCOPES))
    if any(one.name == check_name(name) for one in keys):
        raise error("bad_name", f"there is a key named {name}; revoke it, or take another name")
    if len(keys) >= MAX_KEYS:
        raise error("list_full", limit=MAX_KEYS)
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    hashed = hashlib.sha256(key.encode()).hexdigest()
    _write(directory, [*keys, AdminKey(name, wanted, hashed, now)])
    return key


def revoke(directory: Path, name: str) -> None:
    """Make a key void.  Raises ``NotFound`` (unknown_key), ``Unusable`` (directory_unusable)."""
    keys = read(directory)
    left = [one for one in keys if one.name != name]
    if len(left) == len(keys):
        raise error("unknown_key", name=name[:128])
    _write(directory, left)


def _write(directory: Path, keys: Sequence[AdminKey]) -> None:
    path = directory / FILE
    try:
        durable.replace(path, msgspec.json.format(msgspec.json.encode(keys), indent=1))
    except OSError as problem:
        raise error("directory_unusable", f"cannot write {path}: {problem.strerror}") from None
