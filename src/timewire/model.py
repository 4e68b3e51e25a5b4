"""The nouns: entries, messages, changes.

Numbers: a SeqId is a whole number from 1; 0 means "before everything".  Times are whole
milliseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Literal, get_args

import msgspec

from timewire.epochs import Mode

Seq = int
"""A SeqId: the position of a message in the log, and in every timeline it appears in."""

MAX_SEQ: Final = 2**63 - 1
MAX_PAGE_ENTRIES: Final = 1024
"""In one page of any port.  Clients get less (``page_entries``): one more can be asked for."""

MAX_MEMBERS_A_REQUEST: Final = 1000


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One element of a timeline.  A redacted entry keeps its place; its payload is empty.

    So does one that is ``damaged``: it fails its checksum, and its time may be wrong.
    """

    timeline: str
    seq: Seq
    time: int
    payload: bytes
    redacted: bool = False
    damaged: bool = False


class Page(msgspec.Struct, frozen=True):
    """A bounded piece of a scan.  ``has_more`` is exact: False means nothing more in the range."""

    entries: list[Entry]
    has_more: bool


# Conversations ---------------------------------------------------------------------------------

GroupKind = Literal["group", "room", "channel"]
"""``group``: members talk.  ``room``: live comments, pushed to who is there and in no inbox.
``channel``: owners and admins post, followers read."""

ConversationKind = Literal["direct", "self", "group", "room", "channel"]

GROUP_KINDS: Final = frozenset[str](get_args(GroupKind))
OPEN_KINDS: Final = frozenset[str](("room", "channel"))
"""Conversations that anybody may join, unless only admins add members."""

DIRECT: Final = "direct:"
SELF: Final = "self:"

CREATED: Final = "created"
MEMBERS: Final = "members"
READ: Final = "read"
SETTINGS: Final = "settings"
EDITED: Final = "edited"
RECALLED: Final = "recalled"
REACTION: Final = "reaction"
HIDDEN: Final = "hidden"
BANNED: Final = "banned"

Visibility = Literal["all", "nobody"]
Role = Literal["owner", "admin", "member"]
LinkRole = Literal["admin", "member"]
History = Literal["joined", "all"]
"""What members may read of a group: from their joining on, or all of it."""

Inviters = Literal["members", "admins"]
"""Who may add members to a group, or mention everybody there.  In rooms and channels: whether
anybody may join."""

EVERYBODY: Final = "*"
"""In place of a name among those that a message mentions: all members."""


class Window(msgspec.Struct, frozen=True, array_like=True):
    """When a user was a member: from ``joined`` to ``left``, both included; 0 = still a member."""

    joined: Seq
    left: Seq = 0

    def holds(self, seq: Seq) -> bool:
        """Whether a message with this SeqId falls into the window."""
        return self.joined <= seq and (not self.left or seq <= self.left)


class Created(msgspec.Struct, frozen=True, tag=CREATED, omit_defaults=True):
    """The first message of a conversation: it makes the conversation and its first members.

    The sender owns a group that it is a member of.
    """

    kind: ConversationKind
    members: list[str]
    title: str = ""
    history: History = "joined"
    invite: Inviters = "members"
    mention_all: Inviters = "members"


class Members(msgspec.Struct, frozen=True, tag=MEMBERS):
    """Members who join with this message, and members for whom it is the last.

    ``link``: the invite link by which its sender has come.
    """

    joined: list[str] = []
    left: list[str] = []
    link: str | msgspec.UnsetType = msgspec.UNSET


class Read(msgspec.Struct, frozen=True, tag=READ):
    """Its sender has read a conversation up to a SeqId.  Marks merge by maximum."""

    conversation: str
    seq: Seq


class Updated(msgspec.Struct, frozen=True, tag="updated", omit_defaults=True):
    """New settings of a group; what is None stays."""

    title: str | None = None
    history: History | None = None
    invite: Inviters | None = None
    mention_all: Inviters | None = None


class Appointed(msgspec.Struct, frozen=True, tag="role"):
    """A member has another role from here on."""

    user: str
    role: Role


class Banned(msgspec.Struct, frozen=True, tag=BANNED):
    """Users who may not be members (``on``), or may again.  For members it is the last message."""

    users: list[str]
    on: bool = True


class Muted(msgspec.Struct, frozen=True, tag="muted"):
    """A member may not say anything until a time in ms; 0 lifts it."""

    user: str
    until: int


class Linked(msgspec.Struct, frozen=True, tag="linked"):
    """There is an invite link: who knows its token can join.

    ``link`` is the SHA-256 of the token, in hex.  ``role``: what one becomes by it.  ``uses``: how
    many may come by it (0: any number).  ``expires``: until when (ms; 0: for ever).
    """

    link: str
    role: LinkRole = "member"
    uses: int = 0
    expires: int = 0


class Unlinked(msgspec.Struct, frozen=True, tag="unlinked"):
    """Nobody can join by an invite link any more."""

    link: str


class Edited(msgspec.Struct, frozen=True, tag=EDITED):
    """An earlier message says something else now.  Of several edits the last one holds."""

    seq: Seq
    body: dict[str, Any]


class Recalled(msgspec.Struct, frozen=True, tag=RECALLED):
    """What an earlier message said is gone for ever, and what its edits said."""

    seq: Seq


class Reacted(msgspec.Struct, frozen=True, tag=REACTION):
    """Its sender has put an emoji to an earlier message (``on``), or has taken it back."""

    seq: Seq
    emoji: str
    on: bool = True


class Pinned(msgspec.Struct, frozen=True, tag="pinned"):
    """An earlier message is kept in sight (``on``), or no longer."""

    seq: Seq
    on: bool = True


class Hidden(msgspec.Struct, frozen=True, tag=HIDDEN):
    """Its sender does not want to see a message any more, on any device."""

    conversation: str
    seq: Seq


class Blocked(msgspec.Struct, frozen=True, tag="blocked"):
    """Its sender takes no messages from a user (``on``), or takes them again."""

    user: str
    on: bool = True


class Settings(msgspec.Struct, frozen=True, tag=SETTINGS):
    """What its sender has set.  ``presence``: who may see whether the user is online."""

    presence: Visibility = "all"


class Uploaded(msgspec.Struct, frozen=True, tag="uploaded"):
    """Its sender has uploaded a medium: its size in bytes, its type, an image's size in pixels."""

    media: str
    bytes: int
    media_type: str
    width: int = 0
    height: int = 0


class Swept(msgspec.Struct, frozen=True, tag="swept"):
    """A medium that nothing refers to is gone."""

    media: str


GroupChange = Members | Updated | Appointed | Banned | Muted | Linked | Unlinked
"""What happens to a group itself."""

MessageChange = Edited | Recalled | Reacted
"""What rewrites an earlier message of the same conversation, in the same commit."""

OwnChange = Read | Hidden | Blocked | Settings
"""What concerns its sender alone: it stands in the sender's own conversation."""

MediaChange = Uploaded | Swept
"""What happens to media: it stands in the internal conversation ``MEDIA_LOG``."""

INTERNAL: Final = "system:"
"""What stands in conversations whose names begin so concerns servers alone, and is kept for ever.

Nobody is a member of them, so nobody is sent what they hold.
"""

MEDIA_LOG: Final = f"{INTERNAL}media"

Change = Created | GroupChange | MessageChange | Pinned | OwnChange | MediaChange | Mode
"""What a control message does, at the SeqId of the message."""

CONTROL_KINDS: Final = frozenset(str(c.__struct_config__.tag) for c in get_args(Change))
"""Message kinds that only the server writes; each one carries a change."""


class Draft(msgspec.Struct, eq=False, gc=False):
    """A checked message on its way into the log.

    ``payload`` is what will be stored, as ``encode_stored`` made it; ``expires`` is the end of its
    life (ms; 0: none).  ``origin`` is whatever the sender's side wants to find again at delivery
    (its connection); it is never stored.  ``media``: the media that it refers to.

    ``digest`` is for copies of what was stored elsewhere and has changed there: what that store has
    kept to tell repeats of what the message said first.  An empty payload is a redacted one then.
    """

    conversation: str
    sender: str
    id: str
    payload: bytes
    change: Change | None = None
    origin: object = None
    expires: int = 0
    media: tuple[str, ...] = ()
    digest: bytes = b""


class Stored(msgspec.Struct, eq=False, gc=False):
    """A committed message as consumers of the log see it; a ``damaged`` one has no payload."""

    seq: Seq
    time: int
    conversation: str
    payload: bytes
    origin: object = None
    damaged: bool = False


class Ref(msgspec.Struct, frozen=True, gc=False):
    """Where a message is: an inbox entry, or a place to fetch from."""

    seq: Seq
    conversation: str


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """Where a message is: the same for every repeat of one id.  ``repeated``: it is one."""

    seq: Seq
    time: int
    repeated: bool = False


# What is stored of a message, and how it is shown ----------------------------------------------


class Forward(msgspec.Struct, frozen=True, rename={"sender": "from"}):
    """Where a message that is passed on was said first, and by whom."""

    conversation: str
    seq: Seq
    sender: str


class StoredBody(msgspec.Struct, frozen=True, rename={"sender": "from"}, omit_defaults=True):
    """The stored JSON of a message.  What the timeline knows (place, time) is not repeated.

    See ``Message`` for the fields.
    """

    sender: str
    id: str
    kind: str
    body: dict[str, Any]
    sent: int = 0
    reply: Seq = 0
    mentions: list[str] = []
    forward: Forward | None = None
    expires: int = 0
    version: Seq = 0
    edited: int = 0
    edits: list[Seq] = []
    reactions: dict[str, list[str]] = {}


class Message(msgspec.Struct, frozen=True, rename={"sender": "from"}, omit_defaults=True):
    """A message as clients see it.

    ``sent`` is the client's logical time (0 = not given).  ``reply``: the SeqId of the message that
    it answers.  ``mentions``: the users it speaks to, ``*`` for all.  ``forward``: where it comes
    from.  ``expires``: after this time (ms) nothing is left of it but its place.

    What has become of it: ``version`` is the SeqId of the newest change that it shows; ``edited``
    when it was edited last (ms), ``edits`` the SeqIds of its edits; ``reactions`` who has put which
    emoji to it, by name.

    A redacted message has neither body nor sender's id left: kind "" and body ``{}``.  So has one
    that is ``damaged``: the server has it and cannot read it, for now or for ever.
    """

    conversation: str
    seq: Seq
    time: int
    sender: str = ""
    id: str = ""
    kind: str = ""
    body: dict[str, Any] = {}
    sent: int = 0
    reply: Seq = 0
    mentions: list[str] = []
    forward: Forward | None = None
    expires: int = 0
    version: Seq = 0
    edited: int = 0
    edits: list[Seq] = []
    reactions: dict[str, list[str]] = {}
    damaged: bool = False


class _Life(msgspec.Struct):
    expires: int = 0


class Media(msgspec.Struct, frozen=True, omit_defaults=True):
    """An uploaded file.  Messages refer to it by ``media``, the SHA-256 of its content in hex.

    ``bytes``: its size.  ``type``: its media type.  ``width``, ``height``: of an image, in pixels,
    as it is shown.
    """

    media: str
    bytes: int
    type: str
    width: int = 0
    height: int = 0


encode_body: Final[Callable[[StoredBody], bytes]] = msgspec.json.Encoder().encode
"""The payload of a message's entry."""

decode_stored: Final = msgspec.json.Decoder(StoredBody).decode
"""What is stored of a message, from the payload of its entry, which is not redacted."""

decode_message: Final = msgspec.json.Decoder(Message).decode
"""A ``Message`` from its JSON."""

_life_decoder = msgspec.json.Decoder(_Life)
_EXPIRES: Final = b'"expires":'


def encode_stored(sender: str, id: str, kind: str, body: dict[str, Any], sent: int = 0) -> bytes:
    """The payload of the entry of a message that has only these."""
    return encode_body(StoredBody(sender, id, kind, body, sent))


def encode_change(sender: str, id: str, change: Change, expires: int = 0) -> bytes:
    """The payload of the control message that carries a change: the kind is the change's own."""
    body = msgspec.to_builtins(change)
    return encode_body(StoredBody(sender, id, body.pop("type"), body, expires=expires))


@lru_cache(maxsize=65_536)
def message_head(conversation: str) -> bytes:
    """The first bytes of every message's JSON in one conversation."""
    return b'{"conversation":%b,"seq":' % msgspec.json.encode(conversation)


def message_json(head: bytes, seq: Seq, time: int, payload: bytes, now: int) -> bytes:
    """A message's JSON (see ``Message``) from its place and its stored payload, undecoded.

    ``now`` (ms): of what has expired by then, only the place is shown.
    """
    if not payload or has_expired(payload, now):
        return b'%b%d,"time":%d}' % (head, seq, time)
    return b'%b%d,"time":%d,%b' % (head, seq, time, payload[1:])


def shown_json(head: bytes, one: Entry | Stored, now: int) -> bytes:
    """The JSON of what is stored, which may be damaged: then of its place."""
    if one.damaged:
        return b'%b%d,"time":%d,"damaged":true}' % (head, one.seq, one.time)
    return message_json(head, one.seq, one.time, one.payload, now)


def has_expired(payload: bytes, now: int) -> bool:
    """Whether the life of what is stored was over at a time (ms)."""
    # From the right, which is several times faster than `in` for what most often is not there.
    if payload.rfind(_EXPIRES) < 0:
        return False
    return 0 < _life_decoder.decode(payload).expires <= now
