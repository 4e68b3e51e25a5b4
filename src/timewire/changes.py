"""What a change does: to its conversation, and to the earlier message that it names.

Everything here is a pure function of what was before and of the change, so server, stores and
devices that know the same changes end with the same.  Changes are applied in the order of their
SeqIds; of two that concern the same thing the one with the larger SeqId holds.  A recall is final.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import TypeVar

import msgspec

from timewire.model import (
    CONTROL_KINDS,
    EDITED,
    Appointed,
    Banned,
    Change,
    Conversation,
    Edited,
    Members,
    Message,
    MessageChange,
    Muted,
    Pinned,
    Reacted,
    Recalled,
    Seq,
    StoredBody,
    Updated,
    decode_stored,
    encode_body,
)

Revised = TypeVar("Revised", StoredBody, Message)

# To a conversation -----------------------------------------------------------------------------


def apply(conversation: Conversation, seq: Seq, time: int, change: Change) -> list[str]:
    """Let a change take effect with its message; the users whose windows have changed by it."""
    match change:
        case Members():
            return conversation.apply(seq, change)
        case Banned():
            if not change.on:
                conversation.banned.difference_update(change.users)
                return []
            conversation.banned.update(change.users)
            return conversation.apply(seq, Members(left=change.users))
        case Updated():
            _update(conversation, change)
        case Appointed():
            conversation.roles.pop(change.user, None)
            if change.role != "member" and conversation.is_member(change.user):
                conversation.roles[change.user] = change.role
        case Muted():
            _mute(conversation, time, change)
        case Pinned():
            _unpin(conversation, change.seq)
            if change.on:
                conversation.pins.append(change.seq)
        case Recalled():
            _unpin(conversation, change.seq)
        case _:
            pass
    return []


def _update(conversation: Conversation, change: Updated) -> None:
    conversation.title = conversation.title if change.title is None else change.title
    conversation.history = change.history or conversation.history
    conversation.invite = change.invite or conversation.invite


def _mute(conversation: Conversation, time: int, change: Muted) -> None:
    conversation.muted[change.user] = change.until
    for user in [user for user, until in conversation.muted.items() if until <= time]:
        del conversation.muted[user]


def _unpin(conversation: Conversation, seq: Seq) -> None:
    if seq in conversation.pins:
        conversation.pins.remove(seq)


# To an earlier message -------------------------------------------------------------------------


def target(change: Change | None) -> Seq:
    """The SeqId of the earlier message that a change rewrites; 0 for none."""
    return change.seq if isinstance(change, MessageChange) else 0


def revise(was: Revised, change: MessageChange, user: str, seq: Seq, time: int) -> Revised | None:
    """A message as a change with this SeqId and time, made by a user, leaves it; None: nothing."""
    version = max(was.version, seq)
    match change:
        case Recalled():
            return None
        case Reacted():
            reactions = _react(was.reactions, change, user)
            return msgspec.structs.replace(was, reactions=reactions, version=version)
        case Edited():
            edits = was.edits if seq in was.edits else sorted([*was.edits, seq])
            if edits[-1] == seq:
                was = msgspec.structs.replace(was, body=change.body, edited=time)
            return msgspec.structs.replace(was, edits=edits, version=version)


def _react(before: dict[str, list[str]], change: Reacted, user: str) -> dict[str, list[str]]:
    users = [one for one in before.get(change.emoji, ()) if one != user]
    if change.on:
        insort(users, user)
    after = {**before, change.emoji: users}
    return {emoji: users for emoji, users in after.items() if users}


def rewrite(
    payload: bytes, change: MessageChange, user: str, seq: Seq, time: int
) -> tuple[bytes, Sequence[Seq]]:
    """A stored message after a change: its payload, and which others lose theirs with it."""
    was = decode_stored(payload)
    now = revise(was, change, user, seq, time)
    if now is None:
        return b"", was.edits
    return encode_body(now), ()


def is_repeat(stored: bytes, again: bytes) -> bool:
    """Whether what is stored can have been written with this payload.

    Of a message that was changed since, what has not been changed is compared; of one that is
    redacted, nothing is left to be.
    """
    if not stored or stored == again:
        return True
    was, wanted = decode_stored(stored), decode_stored(again)
    was = msgspec.structs.replace(
        was,
        body=wanted.body if was.edits else was.body,
        expires=wanted.expires if was.kind == EDITED else was.expires,
        version=0,
        edited=0,
        edits=[],
        reactions={},
    )
    return was == wanted


def change_in(message: Message) -> Change | None:
    """The change that a control message carries; None for what is none, or of a newer server."""
    if message.kind not in CONTROL_KINDS:
        return None
    try:
        return msgspec.convert({**message.body, "type": message.kind}, Change)
    except msgspec.ValidationError:
        return None
