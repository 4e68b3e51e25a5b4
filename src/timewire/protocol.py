"""The frames between a device and a server, defined once.

A frame is a JSON object with a ``type``.  Everything a client asks for carries an ``id`` of its
own choice, and the answer (or ``error``) carries the same.  docs/PROTOCOL.md and the OpenAPI page
are made from these structs.  Those that change something stand in ``timewire.commands``, questions
in ``timewire.asking``; how frames become bytes stands in ``timewire.coding``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, Literal, get_args

import msgspec

from timewire.asking import Query
from timewire.commands import Command, Frame, Id
from timewire.errors import TimewireError
from timewire.model import (
    ConversationKind,
    History,
    Inviters,
    LinkRole,
    Message,
    Role,
    Seq,
    Visibility,
)

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
    ``kind``: what sort of device it is, such as `phone`; a server may allow one of a kind.
    """

    token: str
    device: str
    cursor: Cursor | None = None
    credit: int = 4
    kind: str = ""


class Credit(Frame, tag="credit"):
    """The device has stored this many pages; the server may send as many more."""

    pages: int = 1


class Watch(Frame, tag="watch"):
    """Be told when these users come and go, in place of those watched before; at most 500.

    It holds for this connection.  Answer: ``watching``, then ``presence`` with every change.
    """

    id: Id
    users: list[str]


class Typing(Frame, tag="typing"):
    """The user is typing.  Say it with each key: what is too much is dropped.  No answer."""

    conversation: str


class Renew(Frame, tag="renew"):
    """A newer token of the same user, before the one in use expires.  Answer: ``renewed``.

    The connection ends with the token; a refused one changes nothing.
    """

    id: Id
    token: str


class Ping(Frame, tag="ping"):
    """Is anybody there?  Answer: ``pong``."""

    id: Id = ""


ClientFrame = Hello | Credit | Command | Query | Watch | Typing | Renew | Ping

COMMANDS: Final = frozenset[type](get_args(Command))
QUERIES: Final = frozenset[type](get_args(Query))

# From the server -------------------------------------------------------------------------------


class Limits(msgspec.Struct, frozen=True):
    """What the server takes: larger is refused, never cut.

    ``..._per_second``: what this device may do; 0: any number.  Other devices of the same user and
    others at the same address may use it up.
    """

    frame_bytes: int
    body_bytes: int
    page_entries: int
    sends_in_flight: int
    frames_per_second: int = 0
    bytes_per_second: int = 0
    sends_per_second: int = 0
    conversation_sends_per_second: int = 0


class Welcome(Frame, tag="welcome"):
    """Answer to ``hello``: who one is, the cursor's base, and where one stands.

    ``pos`` is the position of the cursor given, or of the head for a new device.  ``expires``:
    when the token does, and the connection with it, in ms like ``time``.
    """

    user: str
    device: str
    session: str
    base: str
    pos: str
    time: int
    limits: Limits
    version: int = VERSION
    expires: int = 0


class Renewed(Frame, tag="renewed"):
    """Answer to ``renew``: the connection may last until ``expires``; now is ``time``, in ms."""

    id: Id
    expires: int
    time: int


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
    ``pins``: SeqIds of pinned messages.  ``muted``: one may not say anything until then.  In rooms
    nothing is counted.  ``presence``: in one's own conversation, who may see whether one is online.
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
    mention_all: Inviters = "members"
    presence: Visibility = "all"


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


class BanPage(Frame, tag="ban_page"):
    """Answer to ``bans``.  Resume with ``after`` = the last name."""

    id: Id
    conversation: str
    users: list[str]
    has_more: bool


class LinkState(msgspec.Struct, frozen=True):
    """An invite link: its name, what one becomes by it, how many may come, and how many have.

    ``uses``: 0 for any number.  ``expires``: until when, 0 for ever.
    """

    link: str
    role: LinkRole
    uses: int
    used: int
    expires: int


class LinkPage(Frame, tag="link_page"):
    """Answer to ``links``.  Resume with ``after`` = the last name."""

    id: Id
    conversation: str
    links: list[LinkState]
    has_more: bool


class ReaderPage(Frame, tag="reader_page"):
    """Answer to ``read_by``.  Resume with ``after`` = the last name."""

    id: Id
    conversation: str
    seq: Seq
    readers: list[str]
    has_more: bool


class DeviceState(msgspec.Struct, frozen=True):
    """A device of the user.  ``seen``: when it last was known to be there (ms)."""

    device: str
    kind: str
    online: bool
    seen: int


class DevicePage(Frame, tag="device_page"):
    """Answer to ``devices`` and ``log_out``."""

    id: Id
    devices: list[DeviceState]


class SearchHit(msgspec.Struct, frozen=True):
    """A message that was found.  ``snippet``: the part of its text to show.

    ``matches``: where in the snippet the words stand, as pairs of offsets in characters (Unicode
    code points), from and to before.
    """

    message: msgspec.Raw
    snippet: str
    matches: list[tuple[int, int]]


class SearchPage(Frame, tag="search_page"):
    """Answer to ``search``, in the order asked for.

    ``next``: give it as ``page`` to go on; empty when there is nothing more.  A page may hold fewer
    than asked for, and there may be more.  ``watermark``: everything up to this SeqId was searched.
    """

    id: Id
    hits: list[SearchHit]
    watermark: Seq
    next: str = ""


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
    | BanPage
    | LinkPage
    | ReaderPage
    | SearchPage
    | DevicePage
    | Presence
    | Watching
    | SomeoneTyping
    | Renewed
    | Pong
)


def problem(fault: TimewireError, id: Id = "") -> Problem:
    """The ``error`` frame for an error."""
    return Problem(fault.code, fault.message, id, fault.retry, fault.fields)


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
    TOKEN_REVOKED = 4102
    REPLACED = 4200
    VIOLATION = 4201
    LOGGED_OUT = 4202
    DISPLACED = 4203
    TOO_MANY_DEVICES = 4204


Advice = Literal["reconnect", "renew", "stop"]


def advice(code: int) -> Advice:
    """What a client should do after a close with this code (also one of WebSocket's own, 1xxx)."""
    if 4200 <= code < 4300:
        return "stop"
    return "renew" if 4100 <= code < 4200 else "reconnect"


MAX_TOLD_PAUSE_MS: Final = 60_000
"""How long a server that stops may ask a device to stay away."""


def closing(code: CloseCode, pause_ms: int = 0) -> str:
    """The reason that a close carries: its name, and how long to stay away when that is asked."""
    return f"{code.name.lower()} {pause_ms}" if pause_ms else code.name.lower()


def told_pause_ms(code: int, reason: str) -> int:
    """How long a server that stops has asked to stay away, so that not all come back at once."""
    told = reason.rpartition(" ")[2]
    if code != CloseCode.SHUTTING_DOWN or not (told.isascii() and told.isdigit() and len(told) < 9):
        return 0
    return min(int(told), MAX_TOLD_PAUSE_MS)
