"""What a user can do from a device: everything that the server answers with a receipt.

Awaiting means waiting for the server's ack; giving up the wait does not call it back.  Each raises
the typed error with which the server refuses, or what has ended the device.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from typing import Any, Final

import msgspec

from timewire.client.queries import new_id
from timewire.client.session import Answer
from timewire.commands import (
    AckLevel,
    Add,
    Appoint,
    Ban,
    Block,
    Command,
    Create,
    Edit,
    EndLink,
    Hide,
    Id,
    Join,
    MakeLink,
    MarkRead,
    Mute,
    Pin,
    PutSettings,
    React,
    Recall,
    Remove,
    Send,
    Unban,
    Update,
)
from timewire.errors import error
from timewire.kinds import check_kind
from timewire.model import (
    Forward,
    GroupKind,
    History,
    Inviters,
    LinkRole,
    Message,
    Role,
    Seq,
    Visibility,
)
from timewire.names import check_id, link_of
from timewire.protocol import Ack

TOKEN_BYTES: Final = 16
"""Of chance, in an invite's token."""


class Sent(msgspec.Struct, frozen=True):
    """A message is on stable storage: its id, its SeqId, and its time in ms."""

    id: Id
    seq: Seq
    time: int


class Invite(msgspec.Struct, frozen=True):
    """An invite to a group: the name of its link, and the token to hand on."""

    group: str
    link: str
    token: str


class Posted:
    """A message on its way.  Await it for its ``Sent``, once or often, or let it go."""

    def __init__(self, id: Id, answer: asyncio.Future[Answer]) -> None:
        self.id = id
        self._answer = answer

    def __await__(self) -> Generator[Any, None, Sent]:
        # Who stops waiting does not call the message back.
        ack = yield from asyncio.shield(self._answer).__await__()
        if not isinstance(ack, Ack):
            raise error("bad_frame", reason=f"a {type(ack).__name__} is no answer to a command")
        return Sent(ack.id, ack.seq, ack.time)


class Acts(ABC):
    """What a device's user can do."""

    _sent = 0
    """The logical time of the newest message."""

    @property
    @abstractmethod
    def user(self) -> str:
        """The user whose device this is."""

    @abstractmethod
    def _put(self, command: Command) -> Posted:
        """Queue a command."""

    # -- messages -------------------------------------------------------------------------------

    async def send(
        self,
        to: str,
        body: str | dict[str, Any],
        *,
        kind: str = "text",
        id: Id | None = None,
        ack: AckLevel = "stored",
        reply: Seq = 0,
        mentions: Iterable[str] = (),
        expires: int = 0,
        forward: Message | None = None,
    ) -> Sent:
        """Send a message (a text, or any JSON object) to a conversation, and wait for its receipt.

        An ``id`` of your own makes it safe to send again after a crash of the app: the same id is
        one message for ever.  ``ack="synced"`` waits until it is in every receiver's inbox.

        ``reply``: the SeqId of the message that it answers.  ``mentions``: members it speaks to,
        ``*`` for all.  ``expires``: when nothing is to be left of it (ms).  ``forward``: the
        message that is passed on with it.
        """
        return await self.post(
            to,
            body,
            kind=kind,
            id=id,
            ack=ack,
            reply=reply,
            mentions=mentions,
            expires=expires,
            forward=forward,
        )

    def post(
        self,
        to: str,
        body: str | dict[str, Any],
        *,
        kind: str = "text",
        id: Id | None = None,
        ack: AckLevel = "stored",
        reply: Seq = 0,
        mentions: Iterable[str] = (),
        expires: int = 0,
        forward: Message | None = None,
    ) -> Posted:
        """Queue a message, as ``send`` does, without waiting.  Raises ``Retryable`` (too_busy)."""
        if id is None:
            self._sent = max(self._sent + 1, time.time_ns() // 1_000_000)
        message = Send(
            new_id() if id is None else check_id(id),
            to,
            {"text": body} if isinstance(body, str) else body,
            check_kind(kind),
            # Without a time of its own, with an id: a repeat must be the same to the last byte.
            self._sent if id is None else 0,
            ack,
            reply,
            list(mentions),
            expires,
            forward and Forward(forward.conversation, forward.seq, forward.sender),
        )
        return self._put(message)

    async def edit(self, conversation: str, seq: Seq, body: str | dict[str, Any]) -> Sent:
        """Have a message of one's own say something else."""
        content = {"text": body} if isinstance(body, str) else body
        return await self._put(Edit(new_id(), conversation, seq, content))

    async def recall(self, conversation: str, seq: Seq) -> Sent:
        """Take back what a message said, for ever: one's own; as an admin of the group, any."""
        return await self._put(Recall(new_id(), conversation, seq))

    async def react(self, conversation: str, seq: Seq, emoji: str, *, on: bool = True) -> Sent:
        """Put an emoji to a message, or take one's own back."""
        return await self._put(React(new_id(), conversation, seq, emoji, on))

    async def pin(self, conversation: str, seq: Seq, *, on: bool = True) -> Sent:
        """Keep a message in sight for everybody, or no longer."""
        return await self._put(Pin(new_id(), conversation, seq, on))

    async def hide(self, conversation: str, seq: Seq) -> Sent:
        """Delete a message for oneself, on all of one's devices."""
        return await self._put(Hide(new_id(), conversation, seq))

    async def mark_read(self, conversation: str, seq: Seq) -> Sent:
        """Note, for all devices of the user, that a conversation is read up to a SeqId."""
        return await self._put(MarkRead(new_id(), conversation, seq))

    # -- groups and users -----------------------------------------------------------------------

    async def create(
        self,
        group: str,
        members: Iterable[str] = (),
        *,
        title: str = "",
        history: History = "joined",
        invite: Inviters = "members",
        kind: GroupKind = "group",
        mention_all: Inviters = "members",
    ) -> Sent:
        """Make a group, with oneself, its owner, and others as its first members.

        ``history``: what members may read, from their joining on or all of it.  ``invite``: who
        may add members.  ``kind``: a ``room`` is for live comments, which come into no inbox; in a
        ``channel`` only owners and admins post; anybody may ``join`` both, unless ``invite`` is
        ``admins``.  ``mention_all``: who may mention everybody.
        """
        members = list(members)
        command = Create(new_id(), group, members, title, history, invite, kind, mention_all)
        return await self._put(command)

    async def update(
        self,
        group: str,
        *,
        title: str | None = None,
        history: History | None = None,
        invite: Inviters | None = None,
        mention_all: Inviters | None = None,
    ) -> Sent:
        """Give a group another title or setting; None leaves it as it is."""
        return await self._put(Update(new_id(), group, title, history, invite, mention_all))

    async def add(self, group: str, users: Iterable[str]) -> Sent:
        """Add members to a group that one is a member of."""
        return await self._put(Add(new_id(), group, list(users)))

    async def join(self, group: str, token: str = "") -> Sent:
        """Come into a room, or follow a channel; or come into any group by an invite's token."""
        if not token:
            return await self.add(group, [self.user])
        return await self._put(Join(new_id(), group, link_of(token), token))

    async def invite(
        self, group: str, *, role: LinkRole = "member", uses: int = 0, expires: int = 0
    ) -> Invite:
        """Make an invite link to a group, as an owner or admin.

        Whoever has its token can ``join``: nobody else is told it, and it is kept nowhere.
        ``role``: what they become.  ``uses``: how many may come; 0: any number.  ``expires``: until
        when (ms); 0: for ever.
        """
        token = secrets.token_urlsafe(TOKEN_BYTES)
        link = link_of(token)
        await self._put(MakeLink(new_id(), group, link, role, uses, expires))
        return Invite(group, link, token)

    async def uninvite(self, group: str, link: str) -> Sent:
        """Let nobody come by an invite link any more."""
        return await self._put(EndLink(new_id(), group, link))

    async def remove(self, group: str, users: Iterable[str]) -> Sent:
        """Remove members from a group that one is an owner or admin of."""
        return await self._put(Remove(new_id(), group, list(users)))

    async def leave(self, group: str) -> Sent:
        """Leave a group.  What was said until then stays readable."""
        return await self.remove(group, [self.user])

    async def role(self, group: str, user: str, role: Role) -> Sent:
        """Give a member another role, as an owner."""
        return await self._put(Appoint(new_id(), group, user, role))

    async def ban(self, group: str, users: Iterable[str], *, on: bool = True) -> Sent:
        """Remove users from a group and have them stay out; or let them in again."""
        command = Ban if on else Unban
        return await self._put(command(new_id(), group, list(users)))

    async def mute(self, group: str, user: str, until: int) -> Sent:
        """Let a member say nothing until a time (ms); 0 lifts it."""
        return await self._put(Mute(new_id(), group, user, until))

    async def show_presence(self, to: Visibility) -> Sent:
        """Say who may see whether the user is online; it holds for all devices."""
        return await self._put(PutSettings(new_id(), to))

    async def block(self, user: str, *, on: bool = True) -> Sent:
        """Take no messages from a user in the direct conversation, or take them again."""
        return await self._put(Block(new_id(), user, on))
