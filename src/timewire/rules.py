"""Who may do what in a conversation.  Pure: the conversation, the message, the user, the time.

A user of None is the system, a product's own backend: it may do what owners may, everywhere.  What
keeps a conversation whole holds for it too: limits, and that a group has an owner left.
"""

from __future__ import annotations

from collections.abc import Collection, Sized
from typing import Final

from timewire.changes import MAX_LINKS
from timewire.conversation import Conversation
from timewire.errors import error
from timewire.model import (
    CONTROL_KINDS,
    EVERYBODY,
    GROUP_KINDS,
    OPEN_KINDS,
    Appointed,
    Banned,
    GroupChange,
    Linked,
    Members,
    Muted,
    Pinned,
    Reacted,
    Role,
    StoredBody,
    Unlinked,
    Updated,
)

MAX_MENTIONS: Final = 100
MAX_EDITS: Final = 100
"""Of one message."""

MAX_REACTION_EMOJI: Final = 20
"""Different ones at one message."""

MAX_REACTION_USERS: Final = 500
"""At one message, counted once for each of their emoji."""

MAX_PINS: Final = 100
MAX_STAFF: Final = 1_000
"""Owners and admins of one group."""

MAX_BANNED: Final = 10_000
MAX_MUTED: Final = 10_000

_RANKS: Final[dict[Role, int]] = {"member": 0, "admin": 1, "owner": 2}
_SYSTEM: Final = 3


# Groups ----------------------------------------------------------------------------------------


def check_group(conversation: Conversation, change: GroupChange, user: str | None) -> None:
    """Raise unless a user may change a group like this."""
    if conversation.kind not in GROUP_KINDS:
        raise error("not_a_group", conversation=conversation.name)
    match change:
        case Members():
            _check_members(conversation, change, user)
        case Updated():
            _need_admin(conversation, user)
        case Appointed():
            _check_role(conversation, change, user)
        case Banned():
            _need_admin(conversation, user)
            if change.on:
                _need_rank_over(conversation, user, change.users)
                _keep_an_owner(conversation, change.users)
                _check_room("banned", conversation.banned.union(change.users), MAX_BANNED)
        case Linked() | Unlinked():
            _check_link(conversation, change, user)
        case Muted():
            _need_admin(conversation, user)
            need_members(conversation, [change.user])
            _need_rank_over(conversation, user, [change.user])
            if change.until:
                _check_room("muted", {*conversation.muted, change.user}, MAX_MUTED)


def joins(conversation: Conversation, change: object, user: str) -> bool:
    """Whether a change is that somebody joins what is open to everybody, or comes by a link."""
    if not isinstance(change, Members) or (change.joined, change.left) != ([user], []):
        return False
    is_open = conversation.kind in OPEN_KINDS and conversation.invite == "members"
    return is_open or isinstance(change.link, str)


def check_links(conversation: Conversation, change: GroupChange, now: int) -> None:
    """Raise unless there is room for a new link, and one by which somebody comes lets them in."""
    links = conversation.links
    if isinstance(change, Linked):
        if 0 < change.expires <= now:
            raise error("bad_expiry", expires=change.expires)
        alive = {name for name, link in links.items() if not link.has_ended(now)}
        _check_room("links", {*alive, change.link}, MAX_LINKS)
    if isinstance(change, Members) and isinstance(change.link, str):
        link = links.get(change.link)
        if link is None:
            raise error("unknown_link")
        if link.has_expired(now):
            raise error("link_expired", expires=link.expires)
        if link.is_used_up() and not all(map(conversation.is_member, change.joined)):
            raise error("link_used_up", uses=link.uses)
        if link.role != "member":
            _check_room("staff", {*conversation.roles, *change.joined}, MAX_STAFF)


def _check_members(conversation: Conversation, change: Members, user: str | None) -> None:
    banned = [one for one in change.joined if one in conversation.banned]
    if banned:
        raise error("banned", users=banned)
    admins_add = conversation.invite == "admins" or conversation.kind in OPEN_KINDS
    if change.joined and admins_add and not (user and joins(conversation, change, user)):
        _need_admin(conversation, user)
    others = [one for one in change.left if one != user]
    if others:
        _need_admin(conversation, user)
        _need_rank_over(conversation, user, others)
    _keep_an_owner(conversation, change.left)


def _check_link(conversation: Conversation, change: Linked | Unlinked, user: str | None) -> None:
    _need_admin(conversation, user)
    if isinstance(change, Unlinked):
        if change.link not in conversation.links:
            raise error("unknown_link")
    elif change.role != "member" and _rank(conversation, user) < _RANKS["owner"]:
        raise error("not_owner", conversation=conversation.name)


def _check_role(conversation: Conversation, change: Appointed, user: str | None) -> None:
    if _rank(conversation, user) < _RANKS["owner"]:
        raise error("not_owner", conversation=conversation.name)
    need_members(conversation, [change.user])
    if change.role != "member":
        _check_room("staff", {*conversation.roles, change.user}, MAX_STAFF)
    if change.role != "owner":
        _check_owners(conversation, [change.user])


def need_members(conversation: Conversation, users: Collection[str]) -> None:
    """Raise unless all of them are members now."""
    for user in users:
        if not conversation.is_member(user):
            raise error("unknown_member", conversation=conversation.name, user=user[:128])


def _rank(conversation: Conversation, user: str | None) -> int:
    return _SYSTEM if user is None else _RANKS[conversation.role(user)]


def _need_admin(conversation: Conversation, user: str | None) -> None:
    if _rank(conversation, user) < _RANKS["admin"]:
        raise error("not_admin", conversation=conversation.name)


def _need_rank_over(conversation: Conversation, user: str | None, others: Collection[str]) -> None:
    """Admins act on members only; owners on everyone."""
    if _rank(conversation, user) < _RANKS["owner"] and conversation.roles.keys() & set(others):
        raise error("not_owner", conversation=conversation.name)


def _keep_an_owner(conversation: Conversation, leaving: Collection[str]) -> None:
    """Somebody has to be left who can let others in: an owner, or nobody at all."""
    gone = sum(conversation.is_member(user) for user in set(leaving))
    if conversation.roles.keys() & set(leaving) and conversation.size() > gone:
        _check_owners(conversation, leaving)


def _check_owners(conversation: Conversation, losing: Collection[str]) -> None:
    owners = {user for user, role in conversation.roles.items() if role == "owner"}
    if owners and owners <= set(losing):
        raise error("last_owner", conversation=conversation.name)


def _check_room(what: str, after: Sized, limit: int) -> None:
    if len(after) > limit:
        raise error("list_full", list=what, limit=limit)


# Messages --------------------------------------------------------------------------------------


def check_speech(conversation: Conversation, user: str | None, now: int) -> None:
    """Raise when a user may not say anything here for now."""
    if user is None:
        return
    if conversation.kind == "direct" and user in conversation.banned:
        raise error("blocked", conversation=conversation.name)
    until = conversation.muted.get(user, 0)
    if until > now:
        raise error("muted", conversation=conversation.name, until=until)


def check_staff(conversation: Conversation, user: str | None) -> None:
    """Raise unless a user is an owner or admin of a group."""
    if conversation.kind not in GROUP_KINDS:
        raise error("not_a_group", conversation=conversation.name)
    _need_admin(conversation, user)


def check_post(conversation: Conversation, user: str | None) -> None:
    """Raise unless a user may send messages here at all: in a channel, owners and admins do."""
    if conversation.kind == "channel":
        _need_admin(conversation, user)


def check_mentions(conversation: Conversation, mentions: list[str], user: str | None) -> None:
    """Raise unless a user's message may speak to these."""
    if len(mentions) > MAX_MENTIONS:
        raise error("too_many_mentions", limit=MAX_MENTIONS)
    if EVERYBODY in mentions and conversation.mention_all == "admins":
        _need_admin(conversation, user)
    need_members(conversation, [user for user in mentions if user != EVERYBODY])


def check_target(message: StoredBody | None) -> StoredBody:
    """A message that can be changed: it was sent, and not recalled."""
    if message is None:
        raise error("recalled")
    if message.kind in CONTROL_KINDS:
        raise error("bad_target", kind=message.kind)
    return message


def check_edit(message: StoredBody, user: str | None, age_ms: int, window_ms: int) -> None:
    """Raise unless a user may edit a message that is so old."""
    if user is not None and user != message.sender:
        raise error("not_author")
    _check_age(user, age_ms, window_ms)
    if len(message.edits) >= MAX_EDITS:
        raise error("too_many_edits", limit=MAX_EDITS)


def check_recall(
    conversation: Conversation, message: StoredBody, user: str | None, age_ms: int, window_ms: int
) -> None:
    """Raise unless a user may recall a message that is so old."""
    if conversation.kind in GROUP_KINDS and _rank(conversation, user) >= _RANKS["admin"]:
        return
    if user is not None and user != message.sender:
        raise error("not_author")
    _check_age(user, age_ms, window_ms)


def _check_age(user: str | None, age_ms: int, window_ms: int) -> None:
    if user is not None and window_ms and age_ms > window_ms:
        raise error("too_late", minutes=window_ms // 60_000)


def check_reaction(message: StoredBody, change: Reacted) -> None:
    """Raise when a message has as many reactions as it may have."""
    if not change.on:
        return
    emoji = {*message.reactions, change.emoji}
    users = sum(len(users) for users in message.reactions.values())
    if len(emoji) > MAX_REACTION_EMOJI or users >= MAX_REACTION_USERS:
        raise error("reaction_limit", emoji=MAX_REACTION_EMOJI, users=MAX_REACTION_USERS)


def check_pin(conversation: Conversation, change: Pinned, user: str | None) -> None:
    """Raise unless a user may pin, or unpin, a message here."""
    if conversation.kind in GROUP_KINDS:
        _need_admin(conversation, user)
    if change.on and change.seq not in conversation.pins and len(conversation.pins) >= MAX_PINS:
        raise error("list_full", list="pins", limit=MAX_PINS)
