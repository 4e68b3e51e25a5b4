"""What of a stored message can be found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from timewire.finding import EVERYONE, Document
from timewire.model import CONTROL_KINDS, CREATED, EDITED, INTERNAL, MEMBERS, RECALLED, Seq, Stored
from timewire.names import MAX_ID_BYTES
from timewire.words import words

REVISIONS: Final = frozenset({EDITED, RECALLED})
"""Kinds of messages that change an earlier one of their conversation, named by ``seq``."""

AUDIENCE_KINDS: Final = frozenset({CREATED, MEMBERS, "updated", "banned"})
"""Kinds of messages that change who may read what of their conversation."""

_CHANGES_AUDIENCE: Final = re.compile(rb'"kind":"(?:created|members|updated|banned)"')
_KIND_BYTES: Final = 8 * MAX_ID_BYTES
"""A stored message begins with sender, id and kind."""

TEXT_KEYS: Final = ("text", "title", "name", "caption", "description", "url")
"""Keys of a body whose texts can be searched, in this order."""

MEDIA_KINDS: Final = frozenset({"image", "file", "audio", "video"})
MEDIA_KEY: Final = "ref"
"""A key of a body that names what is kept elsewhere."""

MAX_TEXT_CHARS: Final = 65_536
"""Of one message; what comes after is not searched."""

MAX_MENTIONS: Final = 100

_MENTION: Final = re.compile(r"(?<![^\s(\[{\"'])@([^\s@:/,;!?()\[\]{}\"'<>]{1,128})")
_ALL: Final = "all"


class _Body(msgspec.Struct, rename={"sender": "from"}):
    """What is read of a stored message."""

    sender: str
    kind: str
    body: dict[str, Any]
    mentions: list[str] = []
    expires: int = 0


_decoder = msgspec.json.Decoder(_Body)


class _Target(msgspec.Struct):
    seq: Seq


class _Revision(msgspec.Struct):
    kind: str
    body: _Target


class _Coming(msgspec.Struct):
    members: list[str] = []
    joined: list[str] = []


class _AudienceChange(msgspec.Struct):
    kind: str
    body: _Coming


_audience_decoder = msgspec.json.Decoder(_AudienceChange)
_revision_decoder = msgspec.json.Decoder(_Revision)


def document(message: Stored, audience: Seq, now: int = 0) -> Document | None:
    """What can be found of a message; None for what nobody looks for, and what is gone.

    That is what the server writes, what was redacted, and what has expired by ``now`` (ms).
    """
    if not message.payload or message.conversation.startswith(INTERNAL):
        return None
    stored = _decoder.decode(message.payload)
    if stored.kind in CONTROL_KINDS or 0 < stored.expires <= now:
        return None
    text = text_of(stored.body)
    return Document(
        message.seq,
        message.time,
        message.conversation,
        audience,
        stored.sender,
        stored.kind,
        " ".join(words(text)),
        stored.kind in MEDIA_KINDS or isinstance(stored.body.get(MEDIA_KEY), str),
        _mentions(stored.mentions, text),
        stored.expires,
    )


def text_of(body: dict[str, Any]) -> str:
    """The text of a body, a line each for what has several."""
    texts = [text for key in TEXT_KEYS if isinstance(text := body.get(key), str) and text]
    return "\n".join(texts)[:MAX_TEXT_CHARS]


def stored_text(payload: bytes) -> str:
    """The text of a stored message."""
    return text_of(_decoder.decode(payload).body)


def revised(message: Stored) -> Seq:
    """The SeqId of the earlier message that a message changes; 0 for none."""
    if b'"edited"' not in message.payload and b'"recalled"' not in message.payload:
        return 0
    try:
        revision = _revision_decoder.decode(message.payload)
    except msgspec.ValidationError:
        return 0
    return revision.body.seq if revision.kind in REVISIONS else 0


def audience_change(message: Stored) -> list[str] | None:
    """Who came into a conversation with a message that changed its readers; None for any other."""
    if not _CHANGES_AUDIENCE.search(message.payload, 0, _KIND_BYTES):
        return None
    try:
        change = _audience_decoder.decode(message.payload)
    except msgspec.ValidationError:
        return None
    return change.body.members + change.body.joined if change.kind in AUDIENCE_KINDS else None


def _mentions(named: Iterable[str], text: str) -> tuple[str, ...]:
    """Whom a message speaks to: those that it names, and those whom its text calls ``@name``."""
    found = dict.fromkeys(named)
    if "@" in text:
        for match in _MENTION.finditer(text):
            if name := match[1].rstrip("."):
                found[EVERYONE if name == _ALL else name] = None
    return tuple(found)[:MAX_MENTIONS] if found else ()
