"""How messages look as text on a terminal.

What others have written is shown as text and nothing else: characters that could steer a terminal
or turn a line around are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from timewire.model import (
    CONTROL_KINDS,
    CREATED,
    DIRECT,
    GROUP_KINDS,
    MEMBERS,
    READ,
    SELF,
    SETTINGS,
    Message,
)
from timewire.names import direct

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_GROUP: Final = "group "
_BREAKS: Final = re.compile("\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
MAX_NAMES: Final = 10
"""Names that one line lists before it only counts."""


_EVENTS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "updated": lambda body: "changed the group: " + _pairs(body),
    "role": lambda body: f"made {body.get('user')} {body.get('role')}",
    "banned": lambda body: (
        f"{'banned' if body.get('on') else 'unbanned'} {_names(body.get('users'))}"
    ),
    "muted": lambda body: f"{'muted' if body.get('until') else 'unmuted'} {body.get('user')}",
    "linked": lambda body: f"made an invite link for {body.get('role')}s",
    "unlinked": lambda body: "ended an invite link",
    "edited": lambda body: f"edited {body.get('seq')}: {_pairs(body.get('body'))}",
    "recalled": lambda body: f"recalled {body.get('seq')}",
    "reaction": lambda body: (
        f"{'put' if body.get('on') else 'took'} {body.get('emoji')}"
        f" {'to' if body.get('on') else 'from'} {body.get('seq')}"
    ),
    "pinned": lambda body: f"{'pinned' if body.get('on') else 'unpinned'} {body.get('seq')}",
    "hidden": lambda body: f"hid {body.get('seq')} of {body.get('conversation')}",
    "blocked": lambda body: f"{'blocked' if body.get('on') else 'unblocked'} {body.get('user')}",
    SETTINGS: lambda body: f"shows presence to {body.get('presence')}",
    READ: lambda body: f"has read {body.get('conversation')} up to {body.get('seq')}",
}
"""What control messages say."""


def printable(text: str) -> str:
    """The text as one line that cannot steer a terminal."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub(" ⏎ ", text).replace("\t", "    "))


def label(conversation: str, user: str) -> str:
    """A conversation as its member calls it: ``@bob`` for the direct one with bob.

    A group whose name looks like that is told apart by a word before it.
    """
    if conversation == SELF + user:
        return "@" + user
    if conversation.startswith(DIRECT):
        members = conversation.removeprefix(DIRECT).split(":")
        others = [member for member in members if member != user]
        if len(members) == 2 and len(others) == 1:
            return "@" + others[0]
    return _GROUP + conversation if conversation.startswith("@") else conversation


def resolve(text: str, user: str) -> str:
    """The conversation that a user calls so: the reverse of ``label``.

    Raises ``Invalid`` (bad_name) for an ``@`` name that no user can have.
    """
    return direct(user, text[1:]) if text.startswith("@") else text.removeprefix(_GROUP)


def marked(snippet: str, matches: Iterable[tuple[int, int]]) -> list[tuple[str, bool]]:
    """A snippet in pieces, each fit for a terminal: what was searched for (True), and the rest."""
    pieces: list[tuple[str, bool]] = []
    shown = 0
    for start, end in matches:
        pieces += [(snippet[shown:start], False), (snippet[start:end], True)]
        shown = end
    pieces.append((snippet[shown:], False))
    return [(printable(text), found) for text, found in pieces if text]


def heading(message: Message, user: str) -> str:
    """When, where and who: the first part of a message's line."""
    where = printable(label(message.conversation, user))
    return f"{moment(message.time)}  {where}  {printable(message.sender) or '?'}"


def content(message: Message) -> str:
    """What a message says, on one line, without who and when; and what has become of it."""
    reactions = [f"{emoji}{len(users)}" for emoji, users in message.reactions.items()]
    marks = ["(edited)"] * bool(message.edits) + [printable(one) for one in reactions]
    return " ".join([_said(message), *marks])


def _said(message: Message) -> str:
    body = message.body
    if not message.kind:
        return "(removed)"
    if message.kind == "text" and isinstance(body.get("text"), str):
        return printable(body["text"])
    if message.kind == CREATED and body.get("kind") not in GROUP_KINDS:
        return "started this conversation"
    if message.kind == CREATED:
        title = f" “{body['title']}”" if body.get("title") else ""
        return printable(f"made this {body['kind']}{title}: {_names(body.get('members'))}")
    if message.kind == MEMBERS:
        return printable(_membership(message))
    if message.kind in _EVENTS:
        return printable(_EVENTS[message.kind](body))
    return printable(f"[{message.kind}] {msgspec.json.encode(body).decode()}")


def moment(time: int) -> str:
    """A time (ms) as this machine's wall clock shows it, to the second."""
    return datetime.fromtimestamp(time / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def line(message: Message, user: str) -> str:
    """A message as one line of a list: when, where, who, what."""
    between = " " if message.kind in CONTROL_KINDS else ": "
    return f"{heading(message, user)}{between}{content(message)}"


def _membership(message: Message) -> str:
    joined, left = message.body.get("joined"), message.body.get("left")
    parts: list[str] = []
    if joined:
        by_link = joined == [message.sender] and message.body.get("link")
        parts.append("joined by a link" if by_link else f"added {_names(joined)}")
    if left:
        parts.append("left" if left == [message.sender] else f"removed {_names(left)}")
    return " and ".join(parts) or "changed nothing"


def _pairs(body: Any) -> str:
    if not isinstance(body, dict):
        return "?"
    pairs: dict[str, Any] = body  # pyright: ignore[reportUnknownVariableType]
    return ", ".join(f"{key} {value}" for key, value in pairs.items()) or "nothing"


def _names(names: Any) -> str:
    if not isinstance(names, Iterable) or isinstance(names, str):
        return "?"
    listed = [str(name) for name in names]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    more = len(listed) - MAX_NAMES
    return ", ".join(listed[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
