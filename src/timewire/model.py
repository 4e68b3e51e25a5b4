"""The nouns: entries, messages, conversations, members, and the rules for their names.

Numbers: a SeqId is a whole number from 1; 0 means "before everything".  Times are whole
milliseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from timewire.errors import error

Seq = int
"""A SeqId: the position of a message in the log, and in every timeline it appears in."""

MAX_SEQ: Final = 2**63 - 1
MAX_ID_BYTES: Final = 128
MAX_NAME_BYTES: Final = 128
MAX_TIMELINE_BYTES: Final = 512
MAX_BODY_DEPTH: Final = 32
MAX_PAGE_ENTRIES: Final = 1024
"""In one page of any port.  Clients get less (``page_entries``): one more can be asked for."""

MAX_MEMBERS_A_REQUEST: Final = 1000

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_IN_NAMES = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff:/]")
_KIND = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One element of a timeline.  A redacted entry keeps its place; its payload is empty."""

    timeline: str
    seq: Seq
    time: int
    payload: bytes
    redacted: bool = False


class Page(msgspec.Struct, frozen=True):
    """A bounded piece of a scan.  ``has_more`` is exact: False means nothing more in the range."""

    entries: list[Entry]
    has_more: bool


# Conversations ---------------------------------------------------------------------------------

ConversationKind = Literal["direct", "group", "self"]

DIRECT: Final = "direct:"
SELF: Final = "self:"

CREATED: Final = "created"
MEMBERS: Final = "members"
READ: Final = "read"
CONTROL_KINDS: Final = frozenset({CREATED, MEMBERS, READ})
"""Message kinds that only the server writes; each one carries a change of the directory."""


class Window(msgspec.Struct, frozen=True, array_like=True):
    """When a user was a member: from ``joined`` to ``left``, both included; 0 = still a member."""

    joined: Seq
    left: Seq = 0

    def holds(self, seq: Seq) -> bool:
        """Whether a message with this SeqId falls into the window."""
        return self.joined <= seq and (not self.left or seq <= self.left)


class Created(msgspec.Struct, frozen=True, tag=CREATED):
    """The first message of a conversation: it makes the conversation and its first members."""

    kind: ConversationKind
    members: list[str]
    title: str = ""


class Members(msgspec.Struct, frozen=True, tag=MEMBERS):
    """Members who join with this message, and members for whom it is the last."""

    joined: list[str] = []
    left: list[str] = []


class Read(msgspec.Struct, frozen=True, tag=READ):
    """Its sender has read a conversation up to a SeqId.  Marks merge by maximum."""

    conversation: str
    seq: Seq


Change = Created | Members | Read
"""What a control message does to the directory, at the SeqId of the message."""


class Draft(msgspec.Struct, eq=False, gc=False):
    """A checked message on its way into the log.

    ``payload`` is what will be stored, as ``encode_stored`` made it.  ``origin`` is whatever the
    sender's side wants to find again at delivery (its connection); it is never stored.
    """

    conversation: str
    sender: str
    id: str
    payload: bytes
    change: Change | None = None
    origin: object = None


class Stored(msgspec.Struct, eq=False, gc=False):
    """A committed message as consumers of the log see it."""

    seq: Seq
    time: int
    conversation: str
    payload: bytes
    origin: object = None


class Ref(msgspec.Struct, frozen=True, gc=False):
    """Where a message is: an inbox entry, or a place to fetch from."""

    seq: Seq
    conversation: str


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where a message is: the same for every repeat of one id.  ``repeated``: it is one."""

    seq: Seq
    time: int
    repeated: bool = False


class Conversation(msgspec.Struct, eq=False):
    """A conversation and everyone who ever was a member, as of the newest change."""

    name: str
    kind: ConversationKind
    title: str
    created: Seq
    windows: dict[str, list[Window]]
    changed: Seq
    """SeqId of the newest change of its members."""
    _present: list[str] | None = None

    @classmethod
    def make(cls, name: str, seq: Seq, change: Created) -> Conversation:
        """The conversation that a ``created`` message with this SeqId makes."""
        windows = {user: [Window(seq)] for user in change.members}
        return cls(name, change.kind, change.title, seq, windows, seq)

    def apply(self, seq: Seq, change: Members) -> list[str]:
        """Let members join and leave with a message; returns those whose windows changed.

        Who is a member already does not join again; who is none does not leave.
        """
        self.changed, self._present = seq, None
        joining = [user for user in dict.fromkeys(change.joined) if not self.is_member(user)]
        for user in joining:
            self.windows.setdefault(user, []).append(Window(seq))
        leaving = [user for user in dict.fromkeys(change.left) if self.is_member(user)]
        for user in leaving:
            windows = self.windows[user]
            windows[-1] = Window(windows[-1].joined, seq)
        return list(dict.fromkeys(joining + leaving))

    def is_member(self, user: str) -> bool:
        """Whether the user is a member now."""
        windows = self.windows.get(user)
        return windows is not None and not windows[-1].left

    def present(self) -> list[str]:
        """The members of now, in the order in which they first joined.  Do not change the list."""
        if self._present is None:
            self._present = [user for user, windows in self.windows.items() if not windows[-1].left]
        return self._present

    def members_at(self, seq: Seq) -> list[str]:
        """Everyone whose windows hold this SeqId, in the order in which they first joined."""
        if seq > self.changed:
            return self.present()
        return [
            user for user, windows in self.windows.items() if any(w.holds(seq) for w in windows)
        ]


# What is stored of a message, and how it is shown ----------------------------------------------


class StoredBody(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """The stored JSON of a message.  What the timeline knows (place, time) is not repeated."""

    sender: str
    id: str
    kind: str
    body: dict[str, Any]
    sent: int = 0


class Message(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """A message as clients see it.

    ``sent`` is the client's logical time (0 = not given).  A redacted message has neither body
    nor sender's id left: kind "" and body ``{}``.
    """

    conversation: str
    seq: Seq
    time: int
    sender: str = ""
    id: str = ""
    kind: str = ""
    body: dict[str, Any] = {}
    sent: int = 0


_stored_encoder = msgspec.json.Encoder()
_message_decoder = msgspec.json.Decoder(Message)


def encode_stored(sender: str, id: str, kind: str, body: dict[str, Any], sent: int = 0) -> bytes:
    """The payload of a message's entry."""
    return _stored_encoder.encode(StoredBody(sender, id, kind, body, sent))


def encode_change(sender: str, id: str, change: Change) -> bytes:
    """The payload of the control message that carries a change: the kind is the change's own."""
    body = msgspec.to_builtins(change)
    return encode_stored(sender, id, body.pop("type"), body)


@lru_cache(maxsize=65_536)
def message_head(conversation: str) -> bytes:
    """The first bytes of every message's JSON in one conversation."""
    return b'{"conversation":%b,"seq":' % msgspec.json.encode(conversation)


def message_json(head: bytes, seq: Seq, time: int, payload: bytes) -> bytes:
    """A message's JSON (see ``Message``) from its place and its stored payload, undecoded."""
    if not payload:
        return b'%b%d,"time":%d}' % (head, seq, time)
    return b'%b%d,"time":%d,%b' % (head, seq, time, payload[1:])


def decode_message(data: bytes | msgspec.Raw) -> Message:
    """A ``Message`` from its JSON."""
    return _message_decoder.decode(data)


# Names -----------------------------------------------------------------------------------------


def check_id(id: str) -> str:
    """A client's message id, as it was given.  Raises ``Invalid`` (bad_id)."""
    if id.isascii() and id.isprintable() and 0 < len(id) <= MAX_ID_BYTES:
        return id
    if not id or _CONTROL.search(id) or len(id.encode()) > MAX_ID_BYTES:
        raise error("bad_id", id=id[:40])
    return id


def check_name(name: str) -> str:
    """A user's, device's or group's name, as it was given.  Raises ``Invalid`` (bad_name)."""
    if not _is_name(name):
        raise error("bad_name", name=name[:40])
    return name


def _is_name(name: str) -> bool:
    """Names stand in URL paths, where "." and ".." mean something else."""
    if not name or name in {".", ".."} or _NOT_IN_NAMES.search(name):
        return False
    return len(name.encode()) <= MAX_NAME_BYTES


def check_timeline(name: str) -> str:
    """A timeline's name, as it was given.  Raises ``Invalid`` (bad_timeline)."""
    if not name or _CONTROL.search(name) or len(name.encode()) > MAX_TIMELINE_BYTES:
        raise error("bad_timeline", name=name[:40])
    return name


def check_body(body: dict[str, Any], payload: bytes, limit_bytes: int) -> None:
    """Refuse what readers could not take: a body too large, or nested too deeply for their parsers.

    ``payload`` is the encoded message around it.  Raises ``Invalid`` (body_too_large, bad_body).
    """
    if len(payload) > limit_bytes and len(_stored_encoder.encode(body)) > limit_bytes:
        raise error("body_too_large", limit=limit_bytes)
    brackets = payload.count(b"{") + payload.count(b"[")
    if brackets > MAX_BODY_DEPTH and _depth(body) > MAX_BODY_DEPTH:
        raise error("bad_body", reason=f"nested more than {MAX_BODY_DEPTH} deep")


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


def direct(one: str, other: str) -> str:
    """The name of the direct conversation of two users, whoever asks; with oneself, one's own."""
    if one == other:
        return SELF + check_name(one)
    first, second = sorted((check_name(one), check_name(other)))
    return f"{DIRECT}{first}:{second}"


def implied_members(conversation: str) -> list[str] | None:
    """Who belongs to a direct or self conversation, read from its name; None for a group's.

    Raises ``NotFound`` (unknown_conversation) for a name that looks direct but is not well formed.
    """
    if conversation.startswith(SELF):
        members = [conversation.removeprefix(SELF)]
    elif conversation.startswith(DIRECT):
        members = conversation.removeprefix(DIRECT).split(":")
        if len(members) != 2 or members[0] >= members[1]:
            raise error("unknown_conversation", conversation=conversation[:300])
    else:
        return None
    if not all(_is_name(member) for member in members):
        raise error("unknown_conversation", conversation=conversation[:300])
    return members
