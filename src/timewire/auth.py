"""Who may come in: tokens for users, a key for administrators.

A token is a JWT signed by whoever holds one of the keys in the ``Keyring``: usually the
application's own backend, which knows its users.  Claims: ``sub`` the user's name, ``exp`` the end
of its life (s); optionally ``nbf`` its beginning (s), ``device`` the only device that may use it,
``aud`` what it is for, ``iat`` when it was made (s) and ``jti`` its own name, by which it can be
revoked.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Final

import jwt
import msgspec

from timewire.clock import Clock, wall_clock
from timewire.config import Config
from timewire.errors import TimewireError, error
from timewire.keyring import Keyring, TokenKey
from timewire.names import check_name

MAX_TOKEN_BYTES: Final = 4096
KEY_BYTES: Final = 32
TOKEN_LIFE_S: Final = 30 * 24 * 3600
TOKEN_ID_BYTES: Final = 8
MAX_TOKEN_ID_CHARS: Final = 128
CLOCK_SKEW_S: Final = 60
"""How far the clock of whoever makes tokens may be ahead of ours, for ``nbf``."""

SECRET_FILE: Final = "secret"  # noqa: S105 - the name of a file
ADMIN_KEY_FILE: Final = "admin-key"


class Claims(msgspec.Struct, frozen=True):
    """What a token says.  ``expires_s``: seconds since 1970-01-01 UTC.

    ``issued_ms``: when it was made, 0 when it does not say; ``id``: its own name, or empty.
    """

    user: str
    device: str | None
    expires_s: int
    issued_ms: int = 0
    id: str = ""


class Keys(msgspec.Struct, frozen=True):
    """The secret that signs tokens and the admin key.  ``made``: files that had to be made."""

    secret: str
    admin_key: str
    made: tuple[Path, ...] = ()

    @classmethod
    def load(cls, config: Config, directory: Path) -> Keys:
        """The keys from the configuration, or else from the data directory, made when missing.

        Raises ``Unusable`` (directory_unusable) when a key can neither be read nor made.
        """
        made: list[Path] = []

        def key(configured: str, name: str) -> str:
            path = directory / name
            if configured:
                return configured
            if not path.exists() and _make_key(path):
                made.append(path)
            return _read_key(path)

        secret = key(config.secret, SECRET_FILE)
        admin_key = key(config.admin_key, ADMIN_KEY_FILE)
        return cls(secret, admin_key, tuple(made))

    def ring(self, config: Config) -> Keyring:
        """All keys that may sign tokens.  Raises ``Unusable`` (bad_config)."""
        return Keyring.load(self.secret, config.token_keys, config.audience)

    def __repr__(self) -> str:
        """Without the keys, so that a log line may hold it."""
        return f"Keys(made={self.made!r})"


def find_secret(config: Config, directory: Path) -> str:
    """The secret of a server that has run here before; makes nothing.

    Raises ``Unusable`` (directory_unusable) when there is none.
    """
    return _find(config.secret, directory / SECRET_FILE)


def find_admin_key(config: Config, directory: Path) -> str:
    """The admin key of a server that has run here before; makes nothing.

    Raises ``Unusable`` (directory_unusable) when there is none.
    """
    return _find(config.admin_key, directory / ADMIN_KEY_FILE)


def load_key(path: Path) -> str:
    """The key in a file, made when missing.  Raises ``Unusable`` (directory_unusable)."""
    if not path.exists():
        _make_key(path)
    return _read_key(path)


def _find(given: str, path: Path) -> str:
    if not given and not path.exists():
        reason = f"no {path.name} in {path.parent}: no server has run there yet"
        raise error("directory_unusable", reason)
    return given or _read_key(path)


def mint(
    secret: str,
    user: str,
    device: str | None = None,
    *,
    life_s: int = TOKEN_LIFE_S,
    audience: str = "",
    clock: Clock = wall_clock,
) -> str:
    """A token for a user, for one device or for all.  Raises ``Invalid`` (bad_name)."""
    now = clock()
    claims: dict[str, Any] = {
        "sub": check_name(user),
        "exp": now // 1000 + life_s,
        "iat": now / 1000,
        "jti": secrets.token_hex(TOKEN_ID_BYTES),
    }
    if device is not None:
        claims["device"] = check_name(device)
    if audience:
        claims["aud"] = audience
    return jwt.encode(claims, secret, algorithm="HS256")


def verify(ring: Keyring, token: str, device: str | None, now_ms: int) -> Claims:
    """What a valid token says.  ``device``: who presents it; None where no device is named (HTTP).

    Raises ``Forbidden``: bad_token, token_expired, bad_device.
    """
    claims = _decode(ring, token)
    try:
        user = check_name(claims.sub)
    except TimewireError:
        raise error("bad_token", reason="`sub` is not a valid user name") from None
    if claims.nbf is not None and claims.nbf - CLOCK_SKEW_S > now_ms / 1000:
        raise error("bad_token", reason="the token is not valid yet")
    if claims.exp * 1000 <= now_ms:
        raise error("token_expired", expired=int(claims.exp))
    if claims.device is not None and device is not None and claims.device != device:
        raise error("bad_device", device=device[:128])
    issued_ms = round(claims.iat * 1000) if claims.iat is not None else 0
    return Claims(user, claims.device, int(claims.exp), issued_ms, claims.jti)


_Time = Annotated[float, msgspec.Meta(ge=0, le=2**53)]


class _Payload(msgspec.Struct, frozen=True):
    sub: str
    exp: _Time
    nbf: _Time | None = None
    iat: _Time | None = None
    jti: Annotated[str, msgspec.Meta(max_length=MAX_TOKEN_ID_CHARS)] = ""
    device: str | None = None


_UNCHECKED: Final = dict.fromkeys(
    ("verify_exp", "verify_nbf", "verify_iat", "verify_sub", "verify_jti"), False
)
"""What is left to ``verify``: it has the clock, and says what is wrong."""


def _decode(ring: Keyring, token: str) -> _Payload:
    """The claims of a token whose signature holds.  Times are the caller's to check."""
    if len(token) > MAX_TOKEN_BYTES:
        raise error("bad_token", reason=f"longer than {MAX_TOKEN_BYTES} bytes")
    try:
        kid = jwt.get_unverified_header(token).get("kid", "")
        return msgspec.convert(_signed(ring, token, ring.find(kid)), _Payload)
    except (jwt.InvalidTokenError, msgspec.ValidationError, UnicodeError) as problem:
        raise error("bad_token", reason=str(problem)) from None


def _signed(ring: Keyring, token: str, keys: list[TokenKey]) -> dict[str, Any]:
    """The claims as the first of the keys that has signed them says."""
    wrong: jwt.InvalidTokenError = jwt.InvalidTokenError("no such key as its `kid` names")
    for key in keys:
        try:
            return jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=ring.audience or None,
                options=_UNCHECKED,  # pyright: ignore[reportArgumentType]
            )
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as problem:
            wrong = problem
    raise wrong


# Files -----------------------------------------------------------------------------------------


def _make_key(path: Path) -> bool:
    """Make a key file that only the owner can read, whole or not at all.

    Returns False when another process was first: its key holds.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)  # fails where rename would overwrite
        finally:
            draft.unlink(missing_ok=True)
        _sync_directory(path.parent)
    except FileExistsError:
        return False
    except OSError as problem:
        raise error("directory_unusable", f"cannot make {path}: {problem.strerror}") from None
    return True


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read_key(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise error("directory_unusable", f"cannot read the key in {path}: {reason}") from None
    if len(key) < KEY_BYTES:
        reason = f"the key in {path} is too short; remove the file to have another made"
        raise error("directory_unusable", reason)
    return key
