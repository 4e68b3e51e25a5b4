"""The frames between a device and a server, defined once.

A frame is a JSON object with a ``type``.  Everything a client asks for carries an ``id`` of its
own choice, and the answer (or ``error``) carries the same.  docs/PROTOCOL.md and the OpenAPI page
are made from these structs.  Those that change something stand in ``timewire.commands``.

MessagePack (subprotocol ``timewire.msgpack.v1``) carries the same objects; JSON is what is stored,
so MessagePack frames are transcoded.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, Literal, Protocol, get_args

import msgspec

from timewire.commands import Command, Frame, Id
from timewire.errors import TimewireError, error
from timewire.model import ConversationKind, History, Inviters, Message, Role, Seq
from timewire.transcoding import to_json, to_msgpack

VERSION: Final = 1
SUBPROTOCOLS: Final = ("timewire.json.v1", "timewire.msgpack.v1")


MAX_WATCHED_USERS: Final = 500
"""By one connection."""


class Cursor(msgspec.Struct, frozen=True):
    """Where a device stands.  Opaque: keep both texts, in one transaction with the messages.

    ``base`` comes with ``welcome`` and ``reset`` and says whose inbox of which log; ``pos`` comes
    with every frame that moves the device on.
    """

    base: str
    pos: str


# From the device -------------------------------------------------------------------------------


class Hello(Frame, tag="hello"):
    """First frame.  Without a cursor the device is new and starts at the head, without replay.

    ``credit``: how many pages the server may send before it waits for ``credit`` frames.
    """

    token: str
    device: str
    cursor: Cursor | None = None
    credit: int = 4


class Credit(Frame, tag="credit"):
    """The device has stored this many pages; the server may send as many more."""

    pages: int = 1


class GetHistory(Frame, tag="history"):
    """Messages of a conversation, oldest first past ``after`` or newest first below ``before``.

    With neither: the newest.  Answer: ``history_page``.
    """

    id: Id
    conversation: str
    after: Seq | None = None
    before: Seq | None = None
    limit: int = 100


class ListConversations(Frame, tag="conversations"):
    """The user's conversations, by name, past ``after``.  Answer: ``conversation_page``."""

    id: Id
    after: str = ""
    limit: int = 100


class ListMembers(Frame, tag="members"):
    """The present members of a conversation, by name, past ``after``.  Answer: ``member_page``."""

    id: Id
    conversation: str
    after: str = ""
    limit: int = 100


class ReadBy(Frame, tag="read_by"):
    """Which members, by name, past ``after``, have read a message, beside its author.

    For direct conversations and for groups of at most 500.  Answer: ``reader_page``.
    """

    id: Id
    conversation: str
    seq: Seq
    after: str = ""
    limit: int = 100


class Watch(Frame, tag="watch"):
    """Be told when these users come and go, in place of those watched before; at most 500.

    It holds for this connection.  Answer: ``watching``, then ``presence`` with every change.
    """

    id: Id
    users: list[str]


class Typing(Frame, tag="typing"):
    """The user is typing.  Say it with each key: what is too much is dropped.  No answer."""

    conversation: str


class Ping(Frame, tag="ping"):
    """Is anybody there?  Answer: ``pong``."""

    id: Id = ""


Query = GetHistory | ListConversations | ListMembers | ReadBy
"""What asks for something that is stored."""

ClientFrame = Hello | Credit | Command | Query | Watch | Typing | Ping

COMMANDS: Final = frozenset[type](get_args(Command))
QUERIES: Final = frozenset[type](get_args(Query))

# From the server -------------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True):
    """What the server takes: larger is refused, never cut."""

    frame_bytes: int
    body_bytes: int
    page_entries: int
    sends_in_flight: int


class Welcome(Frame, tag="welcome"):
    """Answer to ``hello``: who one is, the cursor's base, and where one stands.

    ``pos`` is the position of the cursor given, or of the head for a new device.
    """

    user: str
    device: str
    session: str
    base: str
    pos: str
    time: int
    limits: Limits
    version: int = VERSION


class SyncPage(Frame, tag="page"):
    """Missed messages, oldest first; ``pos`` moves over them.  Costs one credit."""

    messages: list[msgspec.Raw]
    pos: str
    has_more: bool = False


class Live(Frame, tag="live"):
    """Nothing is missing up to ``pos``; from here on every message is pushed, in order."""

    pos: str


class Push(Frame, tag="push"):
    """A new message.  ``pos`` moves over it."""

    pos: str
    message: msgspec.Raw


class At(Frame, tag="at"):
    """Nothing more, up to ``pos``: sent now and then to keep a quiet device's cursor young."""

    pos: str


class Behind(Frame, tag="behind"):
    """The device reads too slowly; pushes stop and pages follow again, from what it has."""

    pos: str


ResetReason = Literal["garbage", "other_user", "other_log", "future", "expired"]


class Reset(Frame, tag="reset"):
    """The cursor cannot be served.  Rebuild from conversations and history; go on from ``pos``."""

    reason: ResetReason
    base: str
    pos: str


class Ack(Frame, tag="ack"):
    """The message is on stable storage as ``seq``, for every repeat of ``id`` the same."""

    id: Id
    seq: Seq
    time: int
    synced: bool = False


class Problem(Frame, tag="error"):
    """What was asked for (``id``, if known) was refused.  ``retry``: it may succeed later."""

    code: str
    message: str
    id: Id = ""
    retry: bool = False
    fields: dict[str, Any] = {}


WhyEmpty = Literal["before_joining", "after_leaving"]


class HistoryPage(Frame, tag="history_page"):
    """Answer to ``history``, in the order asked for.  ``has_more``: in that direction.

    ``why``: there are messages, but one may not read them.
    """

    id: Id
    conversation: str
    messages: list[msgspec.Raw]
    has_more: bool
    why: WhyEmpty | None = None


class ConversationState(msgspec.Struct, frozen=True):
    """A conversation as its member sees it.

    ``unread`` does not count one's own messages; ``mentioned``: how many of them speak to one.
    ``pins``: SeqIds of pinned messages.  ``muted``: one may not say anything until then.
    """

    conversation: str
    kind: ConversationKind
    title: str
    member: bool
    read: Seq
    unread: int
    last: Message | None = None
    mentioned: int = 0
    role: Role = "member"
    history: History = "joined"
    invite: Inviters = "members"
    pins: list[Seq] = []
    muted: int = 0


class ConversationPage(Frame, tag="conversation_page"):
    """Answer to ``conversations``.  Resume with ``after`` = the last name."""

    id: Id
    conversations: list[ConversationState]
    has_more: bool


class MemberPage(Frame, tag="member_page"):
    """Answer to ``members``.  Resume with ``after`` = the last name.

    ``roles``: of the owners and admins among them.  ``muted``: who may not speak, until when.
    """

    id: Id
    conversation: str
    members: list[str]
    has_more: bool
    roles: dict[str, Role] = {}
    muted: dict[str, int] = {}


class ReaderPage(Frame, tag="reader_page"):
    """Answer to ``read_by``.  Resume with ``after`` = the last name."""

    id: Id
    conversation: str
    seq: Seq
    readers: list[str]
    has_more: bool


class Presence(Frame, tag="presence"):
    """A user that is watched is online now, or no longer: then ``seen`` says since when (ms).

    ``seen`` is 0 where it is not known or not for this watcher.
    """

    user: str
    online: bool
    seen: int = 0


class Watching(Frame, tag="watching"):
    """Answer to ``watch``: how things stand.  Who does not exist, or hides, is offline for ever."""

    id: Id
    users: list[Presence]


class SomeoneTyping(Frame, tag="typing"):
    """A member of the conversation is typing.  Forget it after some seconds without another."""

    conversation: str
    user: str


class Pong(Frame, tag="pong"):
    """Answer to ``ping``."""

    id: Id = ""
    time: int = 0


ServerFrame = (
    Welcome
    | SyncPage
    | Live
    | Push
    | At
    | Behind
    | Reset
    | Ack
    | Problem
    | HistoryPage
    | ConversationPage
    | MemberPage
    | ReaderPage
    | Presence
    | Watching
    | SomeoneTyping
    | Pong
)

# Closing ---------------------------------------------------------------------------------------


class CloseCode(IntEnum):
    """Why a connection ends.  40xx: come back (with a pause).  41xx: come back with another token.
    42xx: do not come back by yourself."""

    SHUTTING_DOWN = 4000
    HELLO_TIMEOUT = 4001
    SILENT = 4002
    FAULT = 4003
    BAD_TOKEN = 4100
    TOKEN_EXPIRED = 4101
    REPLACED = 4200
    VIOLATION = 4201


Advice = Literal["reconnect", "renew", "stop"]


def advice(code: int) -> Advice:
    """What a client should do after a close with this code (also one of WebSocket's own, 1xxx)."""
    if 4200 <= code < 4300:
        return "stop"
    return "renew" if 4100 <= code < 4200 else "reconnect"


# Coding ----------------------------------------------------------------------------------------

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
    """MessagePack, transcoded from and to JSON."""

    name = SUBPROTOCOLS[1]
    text = False

    def encode(self, frame: Frame) -> bytes:
        return to_msgpack(JSON.encode(frame))

    def push(self, pos: str, message: bytes) -> bytes:
        return to_msgpack(JSON.push(pos, message))

    def decode_client(self, data: bytes | str) -> ClientFrame:
        return JSON.decode_client(to_json(data))

    def decode_server(self, data: bytes | str) -> ServerFrame:
        return JSON.decode_server(to_json(data))


JSON: Final = JsonCodec()
MSGPACK: Final = MsgpackCodec()
CODECS: Final[dict[str, Codec]] = {JSON.name: JSON, MSGPACK.name: MSGPACK}


def problem(fault: TimewireError, id: Id = "") -> Problem:
    """The ``error`` frame for an error."""
    return Problem(fault.code, fault.message, id, fault.retry, fault.fields)


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
