"""Between JSON, which is what is stored, and MessagePack."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from timewire.errors import error


def to_msgpack(data: bytes) -> bytes:
    """The same value as MessagePack.

    Whole numbers beyond 64 bits, which JSON has and MessagePack has not, become floats.
    """
    value = msgspec.json.decode(data)
    try:
        return msgspec.msgpack.encode(value)
    except OverflowError:
        return msgspec.msgpack.encode(_narrowed(value))


def _narrowed(value: Any) -> Any:
    """The same JSON value, with floats in place of whole numbers beyond 64 bits."""
    if isinstance(value, dict):
        return {key: _narrowed(part) for key, part in value.items()}  # pyright: ignore
    if isinstance(value, list):
        return [_narrowed(part) for part in value]  # pyright: ignore
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def to_json(data: bytes | str) -> bytes:
    """The same value as JSON; bytes become base64 text.  Raises ``Invalid`` (bad_frame)."""
    try:
        if isinstance(data, str):
            raise error("bad_frame", reason="this connection speaks MessagePack in binary frames")
        return msgspec.json.encode(msgspec.msgpack.decode(data))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError) as problem:
        raise error("bad_frame", reason=str(problem)) from None
