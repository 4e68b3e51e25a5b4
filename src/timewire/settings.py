"""Where settings come from.

Later wins: default, TOML file, environment (``TIMEWIRE_<KEY>``), command line.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from timewire.config import ENVELOPE_BYTES, KEYS, MIN_SECRET_CHARS, SECRETS, Config
from timewire.errors import error
from timewire.hosts import is_loopback

_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(Config)}

ENV_PREFIX: Final = "TIMEWIRE_"

_OTHER_VARIABLES: Final = frozenset({"config", "url", "token", "user"})
"""Read by the command line itself, not settings of a server."""

_KUBERNETES: Final = re.compile(r"service_(host|port)|service_port_\w+|port_\d+_\w+")
"""What Kubernetes sets in every pod beside a service that is called timewire."""


def load(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    path: str | Path | None = None,
) -> Config:
    """The settings from a TOML file, an environment and command line flags (None: not given).

    Raises ``Unusable`` (bad_config); the sentence names the key, where it stands, and a key that
    may have been meant.
    """
    values: dict[str, Any] = {}
    if path is not None:
        for key, value in _read_toml(Path(path)).items():
            values[key] = _convert(key, value, str(path), strict=True)
    for key, text in _from_environ(environ or {}):
        value = _split(text) if isinstance(_default(key), tuple) else text
        values[key] = _convert(key, value, ENV_PREFIX + key.upper(), strict=False)
    for key, value in (flags or {}).items():
        if value is not None:
            values[key] = _convert(key, value, "--" + key.replace("_", "-"), strict=False)
    config = Config(**values)
    _check_together(config)
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as problem:
        raise error("bad_config", f"cannot read {path}: {problem}", source=str(path)) from None


def _from_environ(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in environ.items():
        key = name.removeprefix(ENV_PREFIX).lower()
        if not name.startswith(ENV_PREFIX) or key in _OTHER_VARIABLES:
            continue
        if _KUBERNETES.fullmatch(key) or (key == "port" and text.startswith("tcp://")):
            continue
        yield key, text


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_ANY_SECRET: Final = f"expected {MIN_SECRET_CHARS} characters or more, no spaces"
_SECRET_FORMS: Final = {"webhook_secret": "expected `whsec_` and 32 characters or more of base64"}


def _convert(key: str, value: Any, source: str, *, strict: bool) -> Any:
    """The checked value of one key.  ``strict``: the source has types, so no number from text."""
    if key not in _FIELDS:
        raise _unknown(key, source)
    try:
        return msgspec.convert(value, _FIELDS[key].type, strict=strict)
    except msgspec.ValidationError as problem:
        raise _bad(key, value, source, str(problem)) from None


def _default(key: str) -> Any:
    return _FIELDS[key].default if key in _FIELDS else None


def _unknown(key: str, source: str) -> Exception:
    near = difflib.get_close_matches(key.lower().replace("-", "_"), KEYS, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "see docs/CONFIGURATION.md for those there are"
    message = f"{source}: no such key `{key}`; {hint}"
    return error("bad_config", message, key=key, source=source, near=near[0] if near else None)


def _bad(key: str, value: Any, source: str, reason: str) -> Exception:
    shown, expected = repr(value), reason[:1].lower() + reason[1:]
    if key in SECRETS:
        shown, expected = "(not shown)", _SECRET_FORMS.get(key, _ANY_SECRET)
    elif key == "origins":
        expected = "expected `*` or origins like `https://chat.example.com`, without a path"
    elif key == "media_types":
        expected = "expected `*/*` or types like `image/*` and `application/pdf`"
    elif isinstance(value, str) and (choices := _choices(key)):
        expected = "expected " + " or ".join(f"`{choice}`" for choice in choices)
    elif "got `str`" in expected:
        expected = "expected a number" if "float" in expected else "expected a whole number"
    return error("bad_config", f"{source}: {key} = {shown}: {expected}", key=key, source=source)


def _choices(key: str) -> tuple[str, ...]:
    """The values a key may have, when they can be listed."""
    return get_args(get_args(_FIELDS[key].type)[0])


def _check_together(config: Config) -> None:
    """Refuse values that are fine alone and make no sense together."""
    rules = (
        ("frame_bytes", f"body_bytes + {ENVELOPE_BYTES}", config.body_bytes + ENVELOPE_BYTES),
        ("outbox_bytes", "frame_bytes", config.frame_bytes),
        ("keys_days", "inbox_days", config.inbox_days),
    )
    if config.message_days:
        rules += (("message_days", "inbox_days", config.inbox_days),)
    for key, other, least in rules:
        value = getattr(config, key)
        if value < least:
            message = f"{key} = {value} must be at least {other} = {least}"
            raise error("bad_config", message, key=key)
    if config.mode == "development" and not is_loopback(config.host):
        message = f"mode = development lets anybody in: host = {config.host} must be 127.0.0.1"
        raise error("bad_config", message, key="mode")
