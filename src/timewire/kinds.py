"""Message kinds: those that are known, what the body of each holds, and the bounds of all bodies.

A kind of your own needs no leave: its body is any JSON object.  A body of a known kind has the
fields of its struct, and may have more.  Who wants more kinds to be known gives the server another
table than ``SCHEMAS``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from timewire.errors import error
from timewire.model import CONTROL_KINDS

MAX_BODY_DEPTH: Final = 32

_KIND = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class Text(msgspec.Struct, frozen=True):
    """``text``: what is said."""

    text: str = ""


class File(msgspec.Struct, frozen=True):
    """A file: the name of an upload (``media``), or where it is kept elsewhere (``ref``).

    ``type``: its media type.
    """

    media: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")] | None = None
    ref: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    name: str = ""
    type: str = ""
    bytes: Count = 0
    text: str = ""

    def __post_init__(self) -> None:
        if self.media is None and self.ref is None:
            raise ValueError("a file has `media` or `ref`")


class Image(File, frozen=True):
    """A picture, with its size in pixels."""

    width: Count = 0
    height: Count = 0


class Audio(File, frozen=True):
    """Sound, with its length."""

    duration_ms: Count = 0


class Video(Image, frozen=True):
    """A film, with its size in pixels and its length."""

    duration_ms: Count = 0


class Location(msgspec.Struct, frozen=True):
    """A place on earth, in degrees."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]
    name: str = ""


Schemas = Mapping[str, type[msgspec.Struct]]
"""What the bodies of known kinds hold."""

SCHEMAS: Final[Schemas] = {
    "text": Text,
    "image": Image,
    "file": File,
    "audio": Audio,
    "video": Video,
    "location": Location,
}
"""The kinds that are known from the start."""

_encoder = msgspec.json.Encoder()
_NESTED: Final = dict, list


def check_content(kind: str, body: dict[str, Any], schemas: Schemas) -> None:
    """Raise unless a body is as its kind wants it.  ``Invalid`` (bad_body)."""
    schema = schemas.get(kind)
    if schema is None:
        return
    try:
        msgspec.convert(body, schema)
    except msgspec.ValidationError as problem:
        raise error("bad_body", kind=kind, reason=str(problem)) from None


def check_body(body: dict[str, Any], payload: bytes, limit_bytes: int) -> None:
    """Refuse what readers could not take: a body too large, or nested too deeply for their parsers.

    ``payload`` is the encoded message around it.  Raises ``Invalid`` (body_too_large, bad_body).
    """
    if len(payload) > limit_bytes and len(_encoder.encode(body)) > limit_bytes:
        raise error("body_too_large", limit=limit_bytes)
    # From the cheapest to the dearest: most bodies are flat, and few have many brackets.
    if (
        not _is_flat(body)
        and payload.count(b"{") + payload.count(b"[") > MAX_BODY_DEPTH
        and _depth(body) > MAX_BODY_DEPTH
    ):
        raise error("bad_body", reason=f"nested more than {MAX_BODY_DEPTH} deep")


def _is_flat(body: dict[str, Any]) -> bool:
    for value in body.values():  # noqa: SIM110 - twice as fast as a generator
        if isinstance(value, _NESTED):
            return False
    return True


def _depth(value: Any) -> int:
    depth = 0
    level: list[Any] = [value]
    while level:
        depth += 1
        level = [part for item in level for part in _parts(item) if isinstance(part, dict | list)]
    return depth


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value  # pyright: ignore


@lru_cache(maxsize=1024)
def check_kind(kind: str) -> str:
    """A kind that clients may send, as it was given.  Raises ``Invalid`` (bad_kind)."""
    if not _KIND.fullmatch(kind) or kind in CONTROL_KINDS:
        raise error("bad_kind", kind=kind[:40])
    return kind
