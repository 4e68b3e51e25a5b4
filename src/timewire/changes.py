"""What a change does: to its conversation, and to the earlier message that it names.

Everything here is a pure function of what was before and of the change, so server, stores and
devices that know the same changes end with the same.  Changes are applied in the order of their
SeqIds; of two that concern the same thing the one with the larger SeqId holds.  A recall is final.
"""

from __future__ import annotations

from bisect import insort
from typing import Final, NamedTuple, TypeVar

import msgspec

from timewire.conversation import Conversation, Link
from timewire.model import (
    CONTROL_KINDS,
    Appointed,
    Banned,
    Blocked,
    Change,
    Edited,
    Linked,
    Members,
    Message,
    MessageChange,
    Muted,
    Pinned,
    Reacted,
    Recalled,
    Seq,
    StoredBody,
    Unlinked,
    Updated,
    decode_stored,
    encode_body,
)

MAX_LINKS: Final = 100
"""Invite links of one group."""

_VERSION: Final = b'"version":'

Revised = TypeVar("Revised", StoredBody, Message)

# To a conversation -----------------------------------------------------------------------------


def apply(conversation: Conversation, seq: Seq, time: int, change: Change) -> list[str]:
    """Let a change take effect with its message; the users whose windows have changed by it."""
    match change:
        case Members():
            return conversation.apply(seq, change)
        case Banned():
            return _ban(conversation, seq, change)
        case Updated():
            _update(conversation, change)
        case Appointed():
            conversation.roles.pop(change.user, None)
            if change.role != "member" and conversation.is_member(change.user):
                conversation.roles[change.user] = change.role
        case Muted():
            _mute(conversation, time, change)
        case Linked():
            _link(conversation, time, change)
        case Unlinked():
            conversation.links.pop(change.link, None)
        case Pinned():
            _unpin(conversation, change.seq)
            if change.on:
                conversation.pins.append(change.seq)
        case Recalled():
            _unpin(conversation, change.seq)
        case _:
            pass
    return []


def block(direct: Conversation, change: Blocked) -> None:
    """In the direct conversation of two users, let a block take effect, or end."""
    if change.on:
        direct.banned.add(change.user)
    else:
        direct.banned.discard(change.user)


def _update(conversation: Conversation, change: Updated) -> None:
    conversation.title = conversation.title if change.title is None else change.title
    conversation.history = change.history or conversation.history
    conversation.invite = change.invite or conversation.invite
    conversation.mention_all = change.mention_all or conversation.mention_all


def _mute(conversation: Conversation, time: int, change: Muted) -> None:
    conversation.muted[change.user] = change.until
    for user in [user for user, until in conversation.muted.items() if until <= time]:
        del conversation.muted[user]


def _ban(conversation: Conversation, seq: Seq, change: Banned) -> list[str]:
    if not change.on:
        conversation.banned.difference_update(change.users)
        return []
    conversation.banned.update(change.users)
    return conversation.apply(seq, Members(left=change.users))


def _link(conversation: Conversation, time: int, change: Linked) -> None:
    """There is a link.  Those of no more use make room; until then it is known why they ended."""
    links = conversation.links
    known = links.get(change.link, Link())
    links[change.link] = Link(change.role, change.uses, known.used, change.expires)
    excess = max(0, len(links) - MAX_LINKS)
    for name in [name for name, link in links.items() if link.has_ended(time)][:excess]:
        del links[name]


def _unpin(conversation: Conversation, seq: Seq) -> None:
    if seq in conversation.pins:
        conversation.pins.remove(seq)


# To an earlier message -------------------------------------------------------------------------


def target(change: Change | None) -> Seq:
    """The SeqId of the earlier message that a change rewrites; 0 for none."""
    return change.seq if isinstance(change, MessageChange) else 0


class Made(NamedTuple):
    """By whom a change was made, and the SeqId and time of the message that carries it."""

    user: str
    seq: Seq
    time: int


def revise(was: Revised, change: MessageChange, made: Made) -> Revised | None:
    """A message as a change leaves it; None when nothing is left."""
    version = max(was.version, made.seq)
    match change:
        case Recalled():
            return None
        case Reacted():
            reactions = _react(was.reactions, change, made.user)
            return msgspec.structs.replace(was, reactions=reactions, version=version)
        case Edited():
            edits = sorted({*was.edits, made.seq})
            if edits[-1] == made.seq:
                was = msgspec.structs.replace(was, body=change.body, edited=made.time)
            return msgspec.structs.replace(was, edits=edits, version=version)


def _react(before: dict[str, list[str]], change: Reacted, user: str) -> dict[str, list[str]]:
    users = [one for one in before.get(change.emoji, ()) if one != user]
    if change.on:
        insort(users, user)
    after = {**before, change.emoji: users}
    return {emoji: users for emoji, users in after.items() if users}


class Revision(NamedTuple):
    """A message gets another payload; an empty one redacts it.  ``expires``: its new end (ms)."""

    seq: Seq
    payload: bytes
    expires: int = 0


def revisions(change: MessageChange, made: Made, target: bytes, own: bytes) -> list[Revision]:
    """What a change does to stored messages.

    ``target``: the payload of the message that it names, not redacted; ``own``: that of the message
    which carries it.
    """
    was = decode_stored(target)
    now = revise(was, change, made)
    if now is None:
        return [Revision(change.seq, b""), *(Revision(edit, b"") for edit in was.edits)]
    found = [Revision(change.seq, encode_body(now))]
    if isinstance(change, Edited) and was.expires:
        # What an edit says lives no longer than what it edits.
        edit = msgspec.structs.replace(decode_stored(own), expires=was.expires)
        found.append(Revision(made.seq, encode_body(edit), was.expires))
    return found


def was_changed(payload: bytes) -> bool:
    """Whether a stored message may have been edited or reacted to; quick."""
    return _VERSION in payload


def as_left(payload: bytes, left: Seq) -> bytes:
    """A stored message as far as it concerns someone who has left with this SeqId (0: a member).

    What others have done to it since is not for him: reactions are left out, and of a message that
    was edited since, nothing is shown.
    """
    if not left or not was_changed(payload):
        return payload
    was = decode_stored(payload)
    if was.version <= left:
        return payload
    if was.edits and was.edits[-1] > left:
        return b""
    version = was.edits[-1] if was.edits else 0
    return encode_body(msgspec.structs.replace(was, reactions={}, version=version))


def change_in(message: Message) -> Change | None:
    """The change that a control message carries; None for what is none, or of a newer server."""
    if message.kind not in CONTROL_KINDS:
        return None
    try:
        return msgspec.convert({**message.body, "type": message.kind}, Change)
    except msgspec.ValidationError:
        return None
