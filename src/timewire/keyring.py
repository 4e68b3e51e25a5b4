"""The keys that may sign tokens, each for one algorithm, and how they are changed while running.

A server always has its own secret: it signs the tokens that the server makes, which name no key.
A key file adds others: a JWK Set (RFC 7517) with keys of two types,

    {"kty": "oct", "alg": "HS256", "kid": "2026-05", "k": "<base64url, 32 bytes or more>"}
    {"kty": "OKP", "alg": "EdDSA", "kid": "login-1", "crv": "Ed25519", "x": "<base64url>"}

A token names its key by ``kid``.  What a token says of its algorithm counts for nothing: each key
has its own.  To rotate, add the new key, let the tokens of the old one expire, take that away.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import jwt
import msgspec
import structlog

from timewire.errors import TimewireError, error

MAX_KEY_FILE_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 100
MAX_UNNAMED_KEYS: Final = 8
"""Keys without ``kid``: every token that names none is tried with each."""

MIN_SECRET_BYTES: Final = 32

Algorithm = Literal["HS256", "EdDSA"]
_TYPES: Final[dict[str, Algorithm]] = {"oct": "HS256", "OKP": "EdDSA"}

logger = structlog.get_logger("timewire.keyring")


class TokenKey(msgspec.Struct, frozen=True):
    """A key and the one algorithm it is for.  ``kid`` empty: for tokens that name no key."""

    kid: str
    algorithm: Algorithm
    key: Any

    def __repr__(self) -> str:
        """Without the key, so that a log line may hold it."""
        return f"TokenKey({self.kid!r}, {self.algorithm})"


class Keyring:
    """All keys that may sign tokens.  ``audience``: what tokens must be for; empty: nothing."""

    def __init__(self, secret: str, path: Path | None = None, audience: str = "") -> None:
        self.audience = audience
        self._own = TokenKey("", "HS256", secret.encode())
        self._path = path
        self._stamp: object = None
        self._keys: Sequence[TokenKey] = (self._own,)

    @classmethod
    def load(cls, secret: str, path: str = "", audience: str = "") -> Keyring:
        """With the keys of a file.  Raises ``Unusable`` (bad_config) when it cannot be read."""
        ring = cls(secret, Path(path) if path else None, audience)
        ring._read()
        return ring

    def find(self, kid: str) -> list[TokenKey]:
        """The keys that may have signed a token naming this one, from the file as it is now."""
        try:
            self._read()
        except TimewireError as fault:
            # Who is in must not be locked out by a slip of the pen: the last good file holds.
            logger.warning("the key file was not read again", reason=fault.message)
        return [key for key in self._keys if key.kid == kid]

    def _read(self) -> None:
        """Read the file, if it has changed since."""
        if self._path is None:
            return
        try:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            with self._path.open("rb") as file:
                data = file.read(MAX_KEY_FILE_BYTES + 1)
        except OSError as problem:
            raise _unreadable(self._path, str(problem.strerror)) from None
        self._keys = (self._own, *_parse(self._path, data))


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


def _parse(path: Path, data: bytes) -> list[TokenKey]:
    if len(data) > MAX_KEY_FILE_BYTES:
        raise _unreadable(path, f"larger than {MAX_KEY_FILE_BYTES} bytes")
    try:
        keys = [_key(path, one) for one in msgspec.json.decode(data, type=_Set).keys]
    except (msgspec.DecodeError, UnicodeError) as reason:
        raise _unreadable(path, f"no JWK Set: {reason}") from None
    named = [key.kid for key in keys if key.kid]
    if len(set(named)) < len(named):
        raise _unreadable(path, "two keys have the same `kid`")
    if len(keys) > MAX_KEYS or len(keys) - len(named) > MAX_UNNAMED_KEYS:
        raise _unreadable(
            path, f"more than {MAX_KEYS} keys, or more than {MAX_UNNAMED_KEYS} without `kid`"
        )
    return keys


def _key(path: Path, told: dict[str, Any]) -> TokenKey:
    kid, kind = told.get("kid", ""), told.get("kty")
    algorithm = _TYPES.get(kind) if isinstance(kind, str) else None
    if not isinstance(kid, str) or algorithm is None or told.get("alg", algorithm) != algorithm:
        raise _unreadable(path, "keys are `oct` for HS256 or `OKP` for EdDSA, with a text as `kid`")
    if kind == "OKP" and (told.get("crv") != "Ed25519" or "d" in told):
        raise _unreadable(path, f"key {kid!r} is not the public part of an Ed25519 key")
    try:
        key = jwt.PyJWK(told, algorithm).key
    except (jwt.PyJWTError, LookupError, ValueError, TypeError, AttributeError) as reason:
        raise _unreadable(path, f"key {kid!r}: {reason}") from None
    if isinstance(key, bytes) and len(key) < MIN_SECRET_BYTES:
        raise _unreadable(path, f"key {kid!r} is shorter than {MIN_SECRET_BYTES} bytes")
    return TokenKey(kid, algorithm, key)


def _unreadable(path: Path, reason: str) -> TimewireError:
    message = f"the token keys in {path} cannot be used: {reason}"
    return error("bad_config", message, key="token_keys")
