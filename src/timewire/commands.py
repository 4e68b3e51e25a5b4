"""What a user can have done, as frames, and the change that each one asks for.

Every command becomes a message in the log and is answered by ``ack``.  It carries an ``id`` of the
device's own choice: repeated with the same id, it is done once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from timewire.model import (
    SELF,
    Appointed,
    Banned,
    Blocked,
    Change,
    Created,
    Edited,
    Forward,
    GroupKind,
    Hidden,
    History,
    Inviters,
    Linked,
    LinkRole,
    Members,
    Muted,
    Pinned,
    Reacted,
    Read,
    Recalled,
    Role,
    Seq,
    Settings,
    Unlinked,
    Updated,
    Visibility,
)

Id = str
LogicalTime = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A device's own count or clock: a number that every language has."""

Time = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""A time in ms since 1970-01-01 UTC; 0 for none."""

AckLevel = Literal["stored", "synced"]


class Frame(msgspec.Struct, tag_field="type", omit_defaults=True, gc=False):
    """Base of all frames."""


class Send(Frame, tag="send"):
    """A message.  Repeat it with the same ``id`` until it is acked: it will be there once.

    ``to`` is a conversation; a ``direct:`` one comes into being by its first message.  ``sent`` is
    the device's own logical time (any growing number).  ``ack``: when to answer, once the message
    is stored, or once it is also in every inbox (synced).

    ``reply``: the message of this conversation that it answers.  ``mentions``: members it speaks
    to, ``*`` for all.  ``expires``: after this time nothing is left of it but its place.
    ``forward``: where it comes from, when it is passed on; one has to be able to read that.
    """

    id: Id
    to: str
    body: dict[str, Any]
    kind: str = "text"
    sent: LogicalTime = 0
    ack: AckLevel = "stored"
    reply: Seq = 0
    mentions: list[str] = []
    expires: Time = 0
    forward: Forward | None = None


class Create(Frame, tag="create"):
    """Make a group with its first members; the maker is one, and owns it.

    ``kind``: a ``room`` is for live comments, which are pushed to who is there and come into no
    inbox; in a ``channel`` owners and admins post, and followers read.  ``history``: what members
    may read, from their joining on or all of it.  ``invite``: who may add members to a group; in
    rooms and channels, whether anybody may join.  ``mention_all``: who may mention everybody.
    """

    id: Id
    conversation: str
    members: list[str] = []
    title: str = ""
    history: History = "joined"
    invite: Inviters = "members"
    kind: GroupKind = "group"
    mention_all: Inviters = "members"


class Update(Frame, tag="update"):
    """Give a group another title or setting; what is left out stays.  For owners and admins."""

    id: Id
    conversation: str
    title: str | None = None
    history: History | None = None
    invite: Inviters | None = None
    mention_all: Inviters | None = None


class Add(Frame, tag="add"):
    """Add members to a group.  Whether members may, or only admins, is its ``invite`` setting.

    Adding oneself is joining: rooms and channels let everybody, unless only admins add members.
    There others are added by admins alone.
    """

    id: Id
    conversation: str
    users: list[str]


class Remove(Frame, tag="remove"):
    """Remove members from a group, for owners and admins; removing oneself is leaving.

    The last owner cannot leave while there are other members.
    """

    id: Id
    conversation: str
    users: list[str]


class Appoint(Frame, tag="role"):
    """Give a member another role.  For owners; one owner has to stay."""

    id: Id
    conversation: str
    user: str
    role: Role


class Ban(Frame, tag="ban"):
    """Remove users from a group, and have them stay out.  For owners and admins."""

    id: Id
    conversation: str
    users: list[str]


class Unban(Frame, tag="unban"):
    """Banned users may be added again.  For owners and admins."""

    id: Id
    conversation: str
    users: list[str]


class Mute(Frame, tag="mute"):
    """A member may not say anything until a time; 0 lifts it.  For owners and admins."""

    id: Id
    conversation: str
    user: str
    until: Time


class MakeLink(Frame, tag="link"):
    """Make an invite link: who knows its token can ``join``.  For owners and admins.

    ``link`` is the SHA-256 of the token, in hex: the server sees the token when somebody joins by
    it, and keeps it nowhere.  It should hold 128 bits of chance.  ``role``: what one becomes by the
    link; only owners can let in admins.  ``uses``: how many may come by it, 0 for any number.
    ``expires``: until when, 0 for ever.
    """

    id: Id
    conversation: str
    link: str
    role: LinkRole = "member"
    uses: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    expires: Time = 0


class EndLink(Frame, tag="unlink"):
    """Let nobody join by an invite link any more.  For owners and admins."""

    id: Id
    conversation: str
    link: str


class Join(Frame, tag="join"):
    """Join a group by an invite link: its name and its token.

    Whoever is a member already stays one, and it counts as no use.
    """

    id: Id
    conversation: str
    link: str
    token: str


class Edit(Frame, tag="edit"):
    """Have a message of one's own say something else, within ``edit_minutes``.

    The message itself changes, and who has it already is told by an ``edited`` message.
    """

    id: Id
    conversation: str
    seq: Seq
    body: dict[str, Any]


class Recall(Frame, tag="recall"):
    """Take back what a message said, for ever, and what its edits said; its place stays.

    One's own within ``edit_minutes``; owners and admins of a group any, at any time.
    """

    id: Id
    conversation: str
    seq: Seq


class React(Frame, tag="react"):
    """Put an emoji to a message, or take one's own back."""

    id: Id
    conversation: str
    seq: Seq
    emoji: str
    on: bool = True


class Pin(Frame, tag="pin"):
    """Keep a message in sight, or no longer.  In groups for owners and admins."""

    id: Id
    conversation: str
    seq: Seq
    on: bool = True


class Hide(Frame, tag="hide"):
    """Delete a message for oneself, on all of one's devices.  Nobody else notices."""

    id: Id
    conversation: str
    seq: Seq


class Block(Frame, tag="block"):
    """Take no messages from a user in the direct conversation, or take them again."""

    id: Id
    user: str
    on: bool = True


class MarkRead(Frame, tag="read"):
    """The user has read the conversation up to a SeqId."""

    id: Id
    conversation: str
    seq: Seq


class PutSettings(Frame, tag="settings"):
    """Set what holds for oneself.  ``presence``: who may see whether one is online."""

    id: Id
    presence: Visibility = "all"


GroupCommand = (
    Create | Update | Add | Remove | Appoint | Ban | Unban | Mute | MakeLink | EndLink | Join
)
MessageCommand = Edit | Recall | React | Pin
OwnCommand = MarkRead | Hide | Block | PutSettings
"""What concerns the user alone: it becomes a message in the user's own conversation."""

Command = Send | GroupCommand | MessageCommand | OwnCommand
"""What changes something: answered by ``ack``, safe to repeat."""


def place_of(user: str, command: Command) -> str:
    """The conversation in which a user's command becomes a message."""
    if isinstance(command, Send):
        return command.to
    if isinstance(command, OwnCommand):
        return SELF + user
    return command.conversation


def concerns(user: str, command: Command) -> str:
    """The conversation that a command is about."""
    if isinstance(command, Send):
        return command.to
    return SELF + user if isinstance(command, Block | PutSettings) else command.conversation


def change_of(command: Command, user: str, makers: Sequence[str]) -> Change | None:
    """The change that a user's command asks for; None for a message.

    ``makers``: who is a member of a new group beside those that the command names.
    """
    if isinstance(command, Send):
        return None
    if isinstance(command, Create):
        everyone = list(dict.fromkeys([*makers, *command.members]))
        return Created(
            command.kind,
            everyone,
            command.title,
            command.history,
            command.invite,
            command.mention_all,
        )
    if isinstance(command, Join):
        return Members(joined=[user], link=command.link)
    return _CHANGES[type(command)](command)


_CHANGES: Final[dict[type, Callable[[Any], Change]]] = {
    Update: lambda update: Updated(update.title, update.history, update.invite, update.mention_all),
    Add: lambda add: Members(joined=_once(add.users)),
    Remove: lambda remove: Members(left=_once(remove.users)),
    Appoint: lambda appoint: Appointed(appoint.user, appoint.role),
    Ban: lambda ban: Banned(_once(ban.users)),
    Unban: lambda unban: Banned(_once(unban.users), on=False),
    MakeLink: lambda made: Linked(made.link, made.role, made.uses, made.expires),
    EndLink: lambda ended: Unlinked(ended.link),
    Mute: lambda mute: Muted(mute.user, mute.until),
    Edit: lambda edit: Edited(edit.seq, edit.body),
    Recall: lambda recall: Recalled(recall.seq),
    React: lambda react: Reacted(react.seq, react.emoji, react.on),
    Pin: lambda pin: Pinned(pin.seq, pin.on),
    Hide: lambda hide: Hidden(hide.conversation, hide.seq),
    Block: lambda block: Blocked(block.user, block.on),
    PutSettings: lambda settings: Settings(settings.presence),
    MarkRead: lambda read: Read(read.conversation, read.seq),
}


def _once(users: list[str]) -> list[str]:
    return list(dict.fromkeys(users))
