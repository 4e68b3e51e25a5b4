"""What the messages that a device has look like, now that later ones have changed them.

Changes come in the order of their SeqIds, with one exception: the device's own are known by their
acks, which wait for nothing.  So a change that comes is applied, and then again those behind it.  A
message comes with the changes that the server had then (``version``); those are not repeated.

Who is no member of a conversation is not told of changes.  So after a return what stands before it
may be out of date: it is shown no more, and can be read from the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

import msgspec

from timewire.changes import Made, change_in, revise
from timewire.model import (
    MAX_SEQ,
    Banned,
    Edited,
    Hidden,
    Members,
    Message,
    MessageChange,
    Recalled,
    Seq,
)

FINAL: Final = MAX_SEQ
"""The base of a message of which nothing is left: no change is behind it."""

UNREAD: Final = -1
"""The base of a message that the server could not read: any state of it that comes is newer."""


class Row(NamedTuple):
    """A message as it is now.  ``base``: the SeqId of the newest change that it came with."""

    message: Message
    base: Seq


class Rows(Protocol):
    """The messages of a device, by conversation and SeqId."""

    def get(self, conversation: str, seq: Seq) -> Row | None:
        """A message, or None."""
        ...

    def put(self, row: Row) -> None:
        """Keep a message in this form."""
        ...

    def note(self, conversation: str, seq: Seq, change: Seq) -> None:
        """The message with the SeqId ``change`` changes that with the SeqId ``seq``."""
        ...

    def noted(self, conversation: str, seq: Seq) -> Iterable[Message]:
        """The messages that change this one, in their order."""
        ...

    def hide(self, conversation: str, seq: Seq) -> None:
        """The user does not want to see this message, whether it is here or not."""
        ...

    def leave(self, conversation: str, seq: Seq) -> None:
        """With this message the user has left the conversation."""
        ...

    def come_back(self, conversation: str, seq: Seq) -> None:
        """With this message the user is a member again, if not all the time."""
        ...

    def is_hidden(self, conversation: str, seq: Seq) -> bool:
        """Whether the user does not want to see it."""
        ...


def bare(message: Message) -> Message:
    """What is left of a redacted message: its place and its time."""
    return Message(message.conversation, message.seq, message.time)


def add(rows: Rows, user: str, message: Message) -> bool:
    """Keep a message on a user's device, and do to earlier ones what it says.

    False when it was here already; then it is replaced if it comes with newer changes.
    """
    known = rows.get(message.conversation, message.seq)
    change = change_in(message)
    if known is not None:
        if _is_newer(message, known):
            rows.put(_settle(rows, message))
        return False
    rows.put(_settle(rows, message))
    if isinstance(change, MessageChange):
        rows.note(message.conversation, change.seq, message.seq)
        _follow(rows, message.conversation, change.seq, message.seq)
        _limit_edits(rows, message.conversation, change.seq)
    elif isinstance(change, Hidden):
        rows.hide(change.conversation, change.seq)
        target = rows.get(change.conversation, change.seq)
        if target is not None:
            rows.put(Row(bare(target.message), FINAL))
    elif isinstance(change, Members | Banned):
        _follow_membership(rows, user, message, change)
    elif message.expires:
        _limit_edits(rows, message.conversation, message.seq)
    return True


def _is_newer(message: Message, known: Row) -> bool:
    if message.damaged:
        return False  # what is here is more than what the server has left
    if not message.kind:
        return bool(known.message.kind) or known.message.damaged
    return message.version > known.base


def _settle(rows: Rows, message: Message) -> Row:
    """A message that has come, with the later changes that are here already."""
    if message.damaged:
        return Row(message, UNREAD)
    if not message.kind or rows.is_hidden(message.conversation, message.seq):
        return Row(bare(message), FINAL)
    return _fold(Row(message, message.version), rows.noted(message.conversation, message.seq))


def _follow(rows: Rows, conversation: str, seq: Seq, since: Seq) -> None:
    """A change with the SeqId ``since`` has come: apply it, and those behind it again."""
    changes = list(rows.noted(conversation, seq))
    row = rows.get(conversation, seq)
    if row is not None:
        rows.put(_fold(row, [one for one in changes if one.seq >= since]))
    if any(isinstance(change_in(one), Recalled) for one in changes):
        for one in changes:
            if isinstance(change_in(one), Edited):
                rows.put(Row(bare(one), FINAL))


def _fold(row: Row, changes: Iterable[Message]) -> Row:
    message = row.message
    for one in changes:
        change = _message_change(one)
        if change is not None and one.seq > row.base:
            revised = revise(message, change, Made(one.sender, one.seq, one.time))
            if revised is None:
                return Row(bare(message), FINAL)
            message = revised
    return Row(message, row.base)


def _message_change(message: Message) -> MessageChange | None:
    change = change_in(message)
    return change if isinstance(change, MessageChange) else None


def _follow_membership(rows: Rows, user: str, message: Message, change: Members | Banned) -> None:
    banned = isinstance(change, Banned)
    if not banned and user in change.joined:
        rows.come_back(message.conversation, message.seq)
    if user in ((change.users if change.on else ()) if banned else change.left):
        rows.leave(message.conversation, message.seq)


def _limit_edits(rows: Rows, conversation: str, seq: Seq) -> None:
    """What an edit says lives no longer than what it edits; an own edit's ack does not tell."""
    target = rows.get(conversation, seq)
    if target is None or not target.message.expires:
        return
    for one in rows.noted(conversation, seq):
        if isinstance(change_in(one), Edited) and not one.expires:
            limited = msgspec.structs.replace(one, expires=target.message.expires)
            rows.put(Row(limited, one.version))
