"""The rules for names and ids, and what the names of direct conversations say."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from timewire.errors import error
from timewire.model import DIRECT, SELF

MAX_ID_BYTES: Final = 128
MAX_NAME_BYTES: Final = 128
MAX_TIMELINE_BYTES: Final = 512
MAX_EMOJI_BYTES: Final = 64

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LINK = re.compile(r"[0-9a-f]{64}")
_NOT_IN_NAMES = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff:/]")


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


def check_emoji(emoji: str) -> str:
    """What can be put to a message, as it was given.  Raises ``Invalid`` (bad_emoji)."""
    if not emoji or _CONTROL.search(emoji) or len(emoji.encode()) > MAX_EMOJI_BYTES:
        raise error("bad_emoji", emoji=emoji[:40])
    return emoji


def check_link(link: str) -> str:
    """The name of an invite link, as it was given.  Raises ``Invalid`` (bad_link)."""
    if not _LINK.fullmatch(link):
        raise error("bad_link")
    return link


def link_of(token: str) -> str:
    """The name of the invite link that has this token: nobody can tell the token from it."""
    return sha256(token.encode()).hexdigest()


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
