"""What has to hold before a command becomes a message: the words, the user's rights, the limits.

The draft is made of the command alone.  Then it is checked against directory and log, with all that
was staged before it.  ``rules`` says who may do what; here the facts are fetched that it asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from timewire.access import MediaAccess
from timewire.clock import Clock
from timewire.commands import (
    Add,
    Appoint,
    Ban,
    Block,
    Command,
    Create,
    Edit,
    EndLink,
    Join,
    MakeLink,
    Mute,
    React,
    Remove,
    Send,
    Unban,
    Update,
    change_of,
    place_of,
)
from timewire.conversation import Conversation
from timewire.directory import Directory
from timewire.errors import TimewireError, error
from timewire.kinds import Schemas, check_body, check_content, check_kind
from timewire.log import MessageLog
from timewire.media import references
from timewire.model import (
    CONTROL_KINDS,
    MAX_MEMBERS_A_REQUEST,
    MAX_SEQ,
    Blocked,
    Created,
    Draft,
    Edited,
    GroupChange,
    Members,
    MessageChange,
    OwnChange,
    Pinned,
    Reacted,
    Read,
    Recalled,
    Seq,
    Settings,
    Stored,
    StoredBody,
    decode_stored,
    encode_body,
    encode_change,
    has_expired,
)
from timewire.names import (
    check_emoji,
    check_id,
    check_link,
    check_name,
    implied_members,
    link_of,
)
from timewire.protocol import Ack
from timewire.rules import (
    check_edit,
    check_group,
    check_links,
    check_mentions,
    check_pin,
    check_post,
    check_reaction,
    check_recall,
    check_speech,
    check_target,
    joins,
)

MAX_TITLE_BYTES: Final = 512
"""Of a group's title, in UTF-8."""

Outcome = Ack | TimewireError


class Request(msgspec.Struct, eq=False, gc=False):
    """A command of a user, and where its answer goes: an ``Ack``, or the error why not.

    ``origin`` is handed through to the delivery, which skips the connection that it names.
    ``authority``: a product's backend acts as the system, which need not be a member.
    """

    user: str
    command: Command
    reply: Callable[[Command, Outcome], None]
    origin: object = None
    authority: Literal["member", "system"] = "member"


class Permits:
    """Says of each command what it becomes, and whether it may.

    Without ``media`` no message can refer to any.  ``edit_minutes``: how long a message can be
    changed by its author; 0 means for ever.
    """

    def __init__(
        self,
        log: MessageLog,
        directory: Directory,
        clock: Clock,
        *,
        body_bytes: int,
        max_members: int,
        edit_minutes: float,
        schemas: Schemas,
        media: MediaAccess | None,
    ) -> None:
        self._log = log
        self._directory = directory
        self._media = media
        self._clock = clock
        self._body_bytes = body_bytes
        self._max_members = max_members
        self._edit_ms = round(edit_minutes * 60_000)
        self._schemas = schemas

    def at_once(self, request: Request) -> bool:
        """Whether a request is allowed, by what is at hand; False says nothing: ``check`` it.

        That is the short way of almost every request: a member's message that names no other.
        """
        send = request.command
        if type(send) is not Send or send.reply or send.mentions or send.expires or send.forward:
            return False
        if "media" in send.body:
            return False
        conversation = self._directory.known(send.to)
        if conversation is None or conversation.muted or not conversation.is_member(request.user):
            return False
        if conversation.kind == "direct":
            return not conversation.banned
        return conversation.kind != "channel"

    def draft(self, request: Request) -> Draft:
        """The draft a command asks for; of the command alone, so that a repeat makes the same."""
        command, user, origin = request.command, request.user, request.origin
        check_id(command.id)
        if isinstance(command, Send):
            check_kind(command.kind)
            stored = StoredBody(
                user,
                command.id,
                command.kind,
                command.body,
                command.sent,
                command.reply,
                command.mentions,
                command.forward,
                command.expires,
            )
            payload = encode_body(stored)
            check_body(command.body, payload, self._body_bytes)
            check_content(command.kind, command.body, self._schemas)
            media = references(command.body)
            return Draft(
                command.to, user, command.id, payload, None, origin, command.expires, media
            )
        _check_words(command)
        makers = [user] if request.authority == "member" else []
        change = change_of(command, user, makers)
        assert change is not None
        payload = encode_change(user, command.id, change)
        if isinstance(command, Edit):
            check_body(command.body, payload, self._body_bytes)
        media = references(command.body) if isinstance(command, Edit) else ()
        place = place_of(user, command)
        return Draft(place, user, command.id, payload, change, origin, media=media)

    async def check(self, request: Request, draft: Draft) -> Created | None:
        """Raise unless directory and log, with all that was staged before, allow this draft.

        A direct or self conversation comes into being by the first thing sent to it: what is
        returned makes it, and is to be staged before the draft.
        """
        command, change = request.command, draft.change
        by = draft.sender if request.authority == "member" else None
        conversation = await self._directory.conversation(draft.conversation)
        if isinstance(change, Created):
            self._permit_create(change, conversation, draft)
            await self._permit_adding(change.members, by)
            return None
        making = None
        if conversation is None:
            making = self._implied(draft, by)
            conversation = await self._as_made(making, draft)
        if by is not None and not (conversation.is_member(by) or joins(conversation, change, by)):
            raise error("not_member", conversation=draft.conversation)
        if isinstance(command, Send):
            check_post(conversation, by)
            check_speech(conversation, by, self._clock())
            await self._permit_references(command, conversation, by)
        elif isinstance(change, GroupChange):
            check_group(conversation, change, by)
            check_links(conversation, change, self._clock())
            if isinstance(change, Members):
                self._permit_joining(change, conversation)
                await self._permit_adding(change.joined, by)
        elif isinstance(change, OwnChange):
            await self._permit_own(change, draft.sender)
        elif isinstance(change, MessageChange | Pinned):
            await self._permit_revision(change, conversation, by)
        if draft.media:
            await self._permit_media(draft, by)
        return making

    async def _permit_media(self, draft: Draft, by: str | None) -> None:
        """What a message refers to has to be there, and its sender has to be able to see it."""
        if self._media is None:
            raise error("unknown_media", media=draft.media[0])
        await self._media.attach(by, draft.media)

    def _permit_create(
        self, change: Created, conversation: Conversation | None, draft: Draft
    ) -> None:
        if conversation is not None:
            raise error("conversation_exists", conversation=draft.conversation)
        if len(change.members) > self._max_members:
            raise error("too_many_members", limit=self._max_members)

    def _permit_joining(self, change: Members, conversation: Conversation) -> None:
        joining = sum(not conversation.is_member(user) for user in change.joined)
        if joining and conversation.size() + joining > self._max_members:
            raise error("too_many_members", limit=self._max_members)

    async def _permit_adding(self, users: list[str], by: str | None) -> None:
        """Who has blocked somebody is not added to anything by him."""
        if by is None:
            return
        blocking = [user for user in users if await self._directory.blocks(user, by)]
        if blocking:
            raise error("blocked", users=blocking)

    async def _permit_own(self, change: OwnChange, user: str) -> None:
        if isinstance(change, Blocked | Settings):
            return
        target = await self._directory.conversation(change.conversation)
        if target is None or user not in target.windows:
            raise error("not_member", conversation=change.conversation[:300])
        if isinstance(change, Read):
            if not 0 < change.seq <= self._log.head:
                raise error("bad_seq", seq=change.seq)
            return
        stored = await self._find(target, change.seq, user)
        if stored.payload and decode_stored(stored.payload).kind in CONTROL_KINDS:
            raise error("bad_target")

    async def _permit_references(
        self, send: Send, conversation: Conversation, by: str | None
    ) -> None:
        """What a message names has to be there, and its sender has to be able to read it."""
        check_mentions(conversation, send.mentions, by)
        if send.expires and send.expires <= self._clock():
            raise error("bad_expiry", expires=send.expires)
        if send.reply:
            await self._find(conversation, send.reply, by)
        if send.forward is None:
            return
        source = await self._directory.conversation(send.forward.conversation)
        if source is None or (by is not None and by not in source.windows):
            raise error("unknown_message", seq=send.forward.seq)
        stored = await self._find(source, send.forward.seq, by)
        message = check_target(self._alive(stored))
        if message.sender != send.forward.sender:
            raise error("unknown_message", seq=send.forward.seq)

    async def _permit_revision(
        self,
        change: Edited | Recalled | Reacted | Pinned,
        conversation: Conversation,
        by: str | None,
    ) -> None:
        stored = await self._find(conversation, change.seq, by)
        if not isinstance(change, Recalled):
            check_speech(conversation, by, self._clock())
        if isinstance(change, Pinned):
            check_pin(conversation, change, by)
            if change.on:
                check_target(self._alive(stored))
            return
        message, age_ms = check_target(self._alive(stored)), self._clock() - stored.time
        if isinstance(change, Recalled):
            check_recall(conversation, message, by, age_ms, self._edit_ms)
            return
        if isinstance(change, Reacted):
            check_reaction(message, change)
            return
        check_edit(message, by, age_ms, self._edit_ms)
        check_content(message.kind, change.body, self._schemas)

    def _implied(self, draft: Draft, by: str | None) -> Created:
        """What makes a conversation that nobody has to make."""
        members = implied_members(draft.conversation)
        if members is None:
            raise error("unknown_conversation", conversation=draft.conversation[:300])
        if by is not None and by not in members:
            raise error("not_member", conversation=draft.conversation)
        return Created("direct" if len(members) > 1 else "self", members)

    async def _as_made(self, making: Created, draft: Draft) -> Conversation:
        """A conversation as it would be, before it has any message."""
        made = Conversation.make(draft.conversation, MAX_SEQ, making, draft.sender)
        for user in making.members:
            if user != draft.sender and await self._directory.blocks(user, draft.sender):
                made.banned.add(draft.sender)
        return made

    async def _find(self, conversation: Conversation, seq: Seq, by: str | None) -> Stored:
        """A message that a user may read.  Raises unknown_message."""
        if by is None or any(window.holds(seq) for window in conversation.readable(by)):
            found = await self._log.peek(conversation.name, seq)
            if found is not None:
                return found
        raise error("unknown_message", conversation=conversation.name, seq=seq)

    def _alive(self, stored: Stored) -> StoredBody | None:
        """What is left of a message now."""
        if not stored.payload or has_expired(stored.payload, self._clock()):
            return None
        return decode_stored(stored.payload)


def _check_words(command: Command) -> None:
    """Raise when a name, a title or an emoji of a command is none."""
    match command:
        case Create(members=names) | Add(users=names) | Remove(users=names):
            pass
        case Ban(users=names) | Unban(users=names):
            pass
        case Appoint(user=name) | Mute(user=name) | Block(user=name):
            names = [name]
        case _:
            names = []
    if isinstance(command, MakeLink | EndLink | Join):
        check_link(command.link)
    if isinstance(command, Join) and link_of(command.token) != command.link:
        raise error("unknown_link")
    if len(names) > MAX_MEMBERS_A_REQUEST:
        raise error("too_many_members", limit=MAX_MEMBERS_A_REQUEST)
    for name in names:
        check_name(name)
    if isinstance(command, Create):
        check_name(command.conversation)
    if (
        isinstance(command, Create | Update)
        and len((command.title or "").encode()) > MAX_TITLE_BYTES
    ):
        raise error("body_too_large", limit=MAX_TITLE_BYTES)
    if isinstance(command, React):
        check_emoji(command.emoji)
