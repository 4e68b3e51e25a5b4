"""What is told of a message: pure of HTTP, and the same each time it is asked for.

    message   what somebody has said
    change    what has happened to messages, groups and members
    offline   whom a message did not reach at once: for push notifications

The id of an event names the log's life and the SeqId, so it is the same for every repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from timewire.conversation import Conversation
from timewire.directory import Directory
from timewire.model import (
    CONTROL_KINDS,
    EVERYBODY,
    INTERNAL,
    SELF,
    Stored,
    has_expired,
    message_head,
    message_json,
)

Type = Literal["message", "change", "offline"]

PIECE_USERS: Final = 500
"""Members that one ``offline`` event looks at: larger groups have several."""

MAX_NOTIFIED_MEMBERS: Final = 10_000
"""In larger groups ``offline`` tells only of members whom the message mentions by name."""

PREVIEW_CHARS: Final = 200


class Event(msgspec.Struct, frozen=True):
    """One request to an endpoint."""

    id: str
    type: Type
    body: bytes


class Absent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user without a connected device.  ``mentioned``: the message speaks to them."""

    user: str
    mentioned: bool = False


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a push service wants to know of a message, and for whom it is.

    ``preview``: the beginning of its text.  ``expires``: no use in telling after that (ms).
    """

    conversation: str
    kind: str
    sender: str
    users: list[Absent]
    message: msgspec.Raw
    title: str = ""
    preview: str = ""
    expires: int = 0


class _Said(msgspec.Struct, rename={"sender": "from"}):
    sender: str
    kind: str
    body: dict[str, Any]
    mentions: list[str] = []
    expires: int = 0


class _Wrapped(msgspec.Struct):
    type: Type
    timestamp: str
    data: msgspec.Raw


_decode_said = msgspec.json.Decoder(_Said).decode
_encode = msgspec.json.Encoder().encode


class Events:
    """Says what those who want some types is told.  ``online``: has a user a device here?"""

    def __init__(
        self,
        directory: Directory,
        online: Callable[[str], bool],
        epoch: str,
        types: Sequence[Type],
    ) -> None:
        self._directory = directory
        self._online = online
        self._epoch = epoch
        self._types = frozenset(types)

    async def of(self, message: Stored, now: int) -> list[Event]:
        """The events of a message, at a time in ms; none of what is gone or is nobody's business.

        What users keep for themselves (read marks, what they hide, whom they block) is not told.
        """
        name, payload = message.conversation, message.payload
        if name.startswith(INTERNAL) or not payload or has_expired(payload, now):
            return []
        said = _decode_said(payload)
        control = said.kind in CONTROL_KINDS
        if control and name.startswith(SELF):
            return []
        shown = message_json(message_head(name), message.seq, message.time, payload, now)
        type: Type = "change" if control else "message"
        events: list[Event] = []
        if type in self._types:
            events.append(self._event(message, type, "", shown))
        if "offline" in self._types and not control and not name.startswith(SELF):
            events += await self._offline(message, said, shown)
        return events

    async def _offline(self, message: Stored, said: _Said, shown: bytes) -> list[Event]:
        name = message.conversation
        conversation = await self._directory.conversation(name)
        if conversation is None:
            return []
        members = self._told(conversation, message, said)
        events: list[Event] = []
        for start in range(0, len(members), PIECE_USERS):
            absent = self._absent(members[start : start + PIECE_USERS], said)
            if absent:
                data = _encode(_notice(conversation, said, absent, shown))
                part = f"_offline_{start // PIECE_USERS}"
                events.append(self._event(message, "offline", part, data))
        return events

    def _told(self, conversation: Conversation, message: Stored, said: _Said) -> Sequence[str]:
        """Members who may want to know, in the same order whenever that is asked."""
        if len(conversation.windows) > MAX_NOTIFIED_MEMBERS:
            there = conversation.audience(message.seq)
            if len(there) > MAX_NOTIFIED_MEMBERS:
                return sorted(there & set(said.mentions))
        return conversation.members_at(message.seq)

    def _absent(self, members: Sequence[str], said: _Said) -> list[Absent]:
        everybody = EVERYBODY in said.mentions
        return [
            Absent(user, everybody or user in said.mentions)
            for user in members
            if user != said.sender and not self._online(user)
        ]

    def _event(self, message: Stored, type: Type, part: str, data: bytes) -> Event:
        time = datetime.fromtimestamp(message.time / 1000, UTC).isoformat()
        wrapped = _encode(_Wrapped(type, time, msgspec.Raw(data)))
        return Event(f"{self._epoch}_{message.seq}{part}", type, wrapped)


def _notice(conversation: Conversation, said: _Said, absent: list[Absent], shown: bytes) -> Notice:
    text = said.body.get("text")
    return Notice(
        conversation=conversation.name,
        kind=conversation.kind,
        sender=said.sender,
        users=absent,
        message=msgspec.Raw(shown),
        title=conversation.title,
        preview=text[:PREVIEW_CHARS] if isinstance(text, str) else "",
        expires=said.expires,
    )
