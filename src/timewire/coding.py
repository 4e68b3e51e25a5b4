"""How frames become bytes: as JSON, or as MessagePack.

MessagePack (subprotocol ``timewire.msgpack.v1``) carries the same objects; JSON is what is stored,
so MessagePack frames are transcoded.
"""

from __future__ import annotations

import math
from typing import Any, Final, Protocol, get_args

import msgspec

from timewire.errors import TimewireError, error
from timewire.protocol import SUBPROTOCOLS, ClientFrame, Frame, ServerFrame

_client_decoder = msgspec.json.Decoder(ClientFrame)
_server_decoder = msgspec.json.Decoder(ServerFrame)
_encoder = msgspec.json.Encoder()
_CLIENT_TYPES: Final = frozenset(str(f.__struct_config__.tag) for f in get_args(ClientFrame))


class Codec(Protocol):
    """How frames become bytes.  ``text``: whether a WebSocket carries them as text."""

    name: str
    text: bool

    def encode(self, frame: Frame) -> bytes:
        """The bytes of a frame."""
        ...

    def push(self, pos: str, message: bytes) -> bytes:
        """The bytes of a ``push`` around a message's JSON, the same for all receivers."""
        ...

    def decode_client(self, data: bytes | str) -> ClientFrame:
        """A frame from a device.  Raises ``Invalid`` (bad_frame, unknown_type)."""
        ...

    def decode_server(self, data: bytes | str) -> ServerFrame:
        """A frame from a server.  Raises ``Invalid`` (bad_frame)."""
        ...


class JsonCodec:
    """JSON: the default."""

    name = SUBPROTOCOLS[0]
    text = True

    def encode(self, frame: Frame) -> bytes:
        return _encoder.encode(frame)

    def push(self, pos: str, message: bytes) -> bytes:
        return b'{"type":"push","pos":"%b","message":%b}' % (pos.encode(), message)

    def decode_client(self, data: bytes | str) -> ClientFrame:
        try:
            return _client_decoder.decode(data if isinstance(data, str) else data.decode())
        except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
            raise _why(data, problem) from None

    def decode_server(self, data: bytes | str) -> ServerFrame:
        try:
            return _server_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as problem:
            raise error("bad_frame", reason=str(problem)) from None


class MsgpackCodec:
    """MessagePack, transcoded from and to JSON.

    Bytes become base64 text; whole numbers beyond 64 bits, which JSON has and MessagePack has not,
    become floats.
    """

    name = SUBPROTOCOLS[1]
    text = False

    def encode(self, frame: Frame) -> bytes:
        return _to_msgpack(JSON.encode(frame))

    def push(self, pos: str, message: bytes) -> bytes:
        return _to_msgpack(JSON.push(pos, message))

    def decode_client(self, data: bytes | str) -> ClientFrame:
        return JSON.decode_client(_to_json(data))

    def decode_server(self, data: bytes | str) -> ServerFrame:
        return JSON.decode_server(_to_json(data))


JSON: Final = JsonCodec()
MSGPACK: Final = MsgpackCodec()
CODECS: Final[dict[str, Codec]] = {JSON.name: JSON, MSGPACK.name: MSGPACK}


def _to_msgpack(data: bytes) -> bytes:
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


def _to_json(data: bytes | str) -> bytes:
    try:
        if isinstance(data, str):
            raise error("bad_frame", reason="this connection speaks MessagePack in binary frames")
        return msgspec.json.encode(msgspec.msgpack.decode(data))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError, ValueError) as problem:
        raise error("bad_frame", reason=str(problem)) from None


class _Shape(msgspec.Struct):
    type: str = ""
    id: str = ""


def _why(data: bytes | str, problem: Exception) -> TimewireError:
    """The typed error for a frame that did not decode, with the id it carries if that is clear."""
    try:
        shape = msgspec.json.decode(data, type=_Shape)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return error("bad_frame", reason=str(problem))
    code = "unknown_type" if shape.type and shape.type not in _CLIENT_TYPES else "bad_frame"
    return error(code, reason=str(problem), id=shape.id[:128])
