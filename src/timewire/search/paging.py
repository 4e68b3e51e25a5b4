"""Page tokens: where a search goes on, for whoever asked it and for nobody else.

A token names the last message of a page and holds what the order ``best`` was made of, so that the
pages of one search fit together whatever is sent meanwhile.  It is bound to the user, the question
and the log's epoch.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from timewire.asking import Search
from timewire.errors import error
from timewire.finding import Found
from timewire.model import MAX_SEQ

MAX_TOKEN_CHARS: Final = 1024
MAX_WEIGHT: Final = 1000
_SEAL_BYTES: Final = 12
_NOT_THE_QUESTION: Final = {"id": "", "page": "", "limit": 1, "wait_for": 0}


_Number = Annotated[int, Meta(ge=0, le=MAX_SEQ)]


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a search goes on: past this message, among those up to ``upto``, so weighted."""

    seq: _Number
    quality: _Number
    upto: _Number
    weights: tuple[Annotated[int, Meta(ge=1, le=MAX_WEIGHT)], ...] = ()

    def found(self) -> Found:
        """The last message of the page before."""
        return Found(self.seq, "", self.quality)


_decoder = msgspec.msgpack.Decoder(Place)


def seal(place: Place, epoch: str, user: str, query: Search) -> str:
    """The token of a place."""
    packed = msgspec.msgpack.encode(place)
    return urlsafe_b64encode(_mark(packed, epoch, user, query) + packed).decode().rstrip("=")


def unseal(token: str, epoch: str, user: str, query: Search) -> Place:
    """The place that a token names.

    Raises ``Invalid`` (bad_page) for one that is garbage, of another user, question or log.
    """
    if len(token) > MAX_TOKEN_CHARS:
        raise error("bad_page")
    try:
        data = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise error("bad_page") from None
    mark, packed = data[:_SEAL_BYTES], data[_SEAL_BYTES:]
    if mark != _mark(packed, epoch, user, query):
        raise error("bad_page")
    try:
        return _decoder.decode(packed)
    except msgspec.DecodeError:
        raise error("bad_page") from None


def _mark(packed: bytes, epoch: str, user: str, query: Search) -> bytes:
    asked = msgspec.json.encode(msgspec.structs.replace(query, **_NOT_THE_QUESTION))
    whole = b"\0".join((packed.hex().encode(), epoch.encode(), user.encode(), asked))
    return blake2b(whole, digest_size=_SEAL_BYTES, person=b"timewire page").digest()
