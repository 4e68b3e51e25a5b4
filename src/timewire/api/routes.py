"""What can be asked over HTTP: the one list that the server, the OpenAPI document and tests read.

A route asks for a struct.  Its fields come from the path, from the query (GET, DELETE) or from the
JSON body (POST); its answer is a struct too.  Commands and questions are those of the protocol, and
so are their answers.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from timewire.adminkeys import Scope
from timewire.asking import (
    GetHistory,
    ListBans,
    ListConversations,
    ListDevices,
    ListLinks,
    ListMembers,
    LogOut,
    ReadBy,
    Search,
)
from timewire.auth import TOKEN_LIFE_S
from timewire.backups import Snapshot
from timewire.commands import (
    Add,
    Appoint,
    Ban,
    Block,
    Create,
    Edit,
    EndLink,
    Hide,
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
from timewire.explorer import Exploration, Explore, Follow, Way
from timewire.images import THUMBNAIL_SIZES
from timewire.logins import Revoke
from timewire.model import Media, Seq
from timewire.protocol import (
    Ack,
    BanPage,
    ConversationPage,
    Cursor,
    DevicePage,
    HistoryPage,
    LinkPage,
    MemberPage,
    ReaderPage,
    ResetReason,
    SearchPage,
)
from timewire.search.indexer import Progress
from timewire.webhooks import EndpointList, Replay

MAX_WAIT_S: Final = 60
"""Of one long poll."""

MIN_THUMBNAIL: Final = THUMBNAIL_SIZES[0]
MAX_THUMBNAIL: Final = THUMBNAIL_SIZES[-1]

MAX_TOKEN_LIFE_S: Final = 366 * 24 * 3600


class Poll(msgspec.Struct, frozen=True):
    """What has come since a cursor.  Without one, the answer is the cursor of now and no messages.

    ``wait``: how many seconds to wait for news when there is none.
    """

    base: str = ""
    pos: str = ""
    wait: Annotated[int, Meta(ge=0, le=MAX_WAIT_S)] = 0


class Synced(msgspec.Struct, frozen=True):
    """Messages past the cursor, oldest first, and the cursor that has moved over them.

    ``has_more``: ask again at once.  ``reset``: the cursor given cannot be served, for this reason.
    Rebuild from the conversation list and history, and go on from the new one.
    """

    messages: list[msgspec.Raw]
    cursor: Cursor
    has_more: bool = False
    reset: ResetReason | UnsetType = UNSET


class GetMedia(msgspec.Struct, frozen=True):
    """A file, or of an image a thumbnail whose longer side has ``size`` pixels or somewhat more."""

    media: str
    size: Annotated[int, Meta(ge=MIN_THUMBNAIL, le=MAX_THUMBNAIL)] | None = None


class TokenRequest(msgspec.Struct, frozen=True):
    """A token for a user, for one device or for all of them, with a life in seconds."""

    user: str
    device: str | None = None
    life_s: Annotated[int, Meta(ge=1, le=MAX_TOKEN_LIFE_S)] = TOKEN_LIFE_S


class Token(msgspec.Struct, frozen=True):
    """A token and the end of its life, in ms since 1970-01-01 UTC."""

    token: str
    expires: int


class Revoked(msgspec.Struct, frozen=True):
    """It is void, durably, and the connections it had opened are closed."""

    revoked: bool = True


class Health(msgspec.Struct, frozen=True):
    """The process is alive."""

    ok: bool = True


class Readiness(msgspec.Struct, frozen=True):
    """Whether the server can take traffic, and why not.

    ``head``: the newest durable message; ``position``: the newest that is in every inbox.
    """

    ready: bool
    reasons: list[str]
    head: Seq
    position: Seq


Access = Literal["user", "admin", "anyone"]
"""``user``: a user's token, or an admin key with ``as``; ``admin``: an admin key."""

Does = Literal[
    "command",
    "question",
    "poll",
    "upload",
    "download",
    "token",
    "revoke",
    "index",
    "reindex",
    "explore",
    "follow",
    "webhooks",
    "replay",
    "snapshot",
    "release",
    "health",
    "ready",
    "metrics",
    "openapi",
    "docs",
    "script",
]


class Route(msgspec.Struct, frozen=True):
    """One method of one path.  ``does`` names what carries it out, ``name`` is unique.
    ``scope``: what an admin key must be for.

    ``answers`` is a struct, or the media type of something else.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    name: str
    does: Does
    asks: type[msgspec.Struct] | None
    answers: type[msgspec.Struct] | str
    summary: str
    group: str
    access: Access = "user"
    scope: Scope | None = None


_C: Final = "/v1/conversations"
_ONE: Final = "/v1/conversations/{conversation}"
_MESSAGE: Final = f"{_ONE}/messages/{{seq}}"


def _do(
    method: Literal["GET", "POST", "DELETE"],
    path: str,
    name: str,
    asks: type[msgspec.Struct],
    summary: str,
) -> Route:
    """A command about a conversation, or about one of its messages."""
    group = "Messages" if path.startswith(_MESSAGE) else "Conversations"
    return Route(method, path, name, "command", asks, Ack, summary, group)


def _ask(
    path: str,
    name: str,
    frames: tuple[type[msgspec.Struct], type[msgspec.Struct]],
    summary: str,
    group: str = "Conversations",
) -> Route:
    """A user's question; ``frames``: what asks, and what answers."""
    return Route("GET", path, name, "question", *frames, summary, group)


ROUTES: Final = (
    Route("POST", "/v1/messages", "send", "command", Send, Ack, "Send a message", "Messages"),
    _ask(
        f"{_ONE}/messages",
        "history",
        (GetHistory, HistoryPage),
        "Read a conversation, in either direction",
        "Messages",
    ),
    _do("POST", _MESSAGE, "edit", Edit, "Edit a message"),
    _do("DELETE", _MESSAGE, "recall", Recall, "Recall a message, for ever"),
    _do(
        "POST",
        f"{_MESSAGE}/reactions",
        "react",
        React,
        "Put an emoji to a message, or take it back",
    ),
    _do("POST", f"{_MESSAGE}/pin", "pin", Pin, "Pin a message, or unpin it"),
    _do("POST", f"{_MESSAGE}/hide", "hide", Hide, "Delete a message for oneself"),
    _ask(
        f"{_MESSAGE}/readers",
        "read_by",
        (ReadBy, ReaderPage),
        "List who has read a message",
        "Messages",
    ),
    _ask(
        "/v1/search",
        "search",
        (Search, SearchPage),
        "Find messages by words and fields",
        "Messages",
    ),
    Route("GET", "/v1/sync", "sync", "poll", Poll, Synced, "Get what has come", "Messages"),
    _ask(
        _C, "conversations", (ListConversations, ConversationPage), "List the user's conversations"
    ),
    _do("POST", _C, "create", Create, "Make a group"),
    _do("POST", _ONE, "update", Update, "Change title and settings of a group"),
    _ask(
        f"{_ONE}/members",
        "members",
        (ListMembers, MemberPage),
        "List the members of a conversation",
    ),
    _do("POST", f"{_ONE}/members", "add", Add, "Add members"),
    _do("DELETE", f"{_ONE}/members/{{user}}", "remove", Remove, "Remove a member, or leave"),
    _do("POST", f"{_ONE}/roles", "role", Appoint, "Give a member another role"),
    _ask(f"{_ONE}/bans", "bans", (ListBans, BanPage), "List who is banned"),
    _do("POST", f"{_ONE}/bans", "ban", Ban, "Ban users"),
    _do("DELETE", f"{_ONE}/bans/{{user}}", "unban", Unban, "Lift a ban"),
    _ask(f"{_ONE}/links", "links", (ListLinks, LinkPage), "List invite links"),
    _do("POST", f"{_ONE}/links", "link", MakeLink, "Make an invite link"),
    _do("DELETE", f"{_ONE}/links/{{link}}", "unlink", EndLink, "End an invite link"),
    _do("POST", f"{_ONE}/links/{{link}}", "join", Join, "Join by an invite link"),
    _do("POST", f"{_ONE}/mutes", "mute", Mute, "Mute a member, or lift it"),
    _do("POST", f"{_ONE}/read", "read", MarkRead, "Mark as read"),
    _do("POST", "/v1/blocks", "block", Block, "Block a user, or lift it"),
    _do("POST", "/v1/settings", "settings", PutSettings, "Say who may see one's presence"),
    Route(
        "POST", "/v1/media", "upload", "upload", None, Media, "Upload a file, as the body", "Media"
    ),
    Route(
        "GET",
        "/v1/media/{media}",
        "download",
        "download",
        GetMedia,
        "application/octet-stream",
        "Get a file that one may see",
        "Media",
    ),
    Route(
        "POST",
        "/v1/tokens",
        "token",
        "token",
        TokenRequest,
        Token,
        "Make a token for a user",
        "Tokens",
        "admin",
        "tokens",
    ),
    Route(
        "POST",
        "/v1/revocations",
        "revoke",
        "revoke",
        Revoke,
        Revoked,
        "Make a token void, or all of a user or of a device",
        "Tokens",
        "admin",
        "tokens",
    ),
    _ask("/v1/devices", "devices", (ListDevices, DevicePage), "List the user's devices", "Tokens"),
    Route(
        "DELETE",
        "/v1/devices/{device}",
        "log_out",
        "question",
        LogOut,
        DevicePage,
        "Log out a device of the user",
        "Tokens",
    ),
    Route(
        "GET",
        "/v1/search/index",
        "index",
        "index",
        None,
        Progress,
        "How far the search index has come",
        "Operation",
        "admin",
        "search",
    ),
    Route(
        "POST",
        "/v1/search/index",
        "reindex",
        "reindex",
        None,
        Progress,
        "Make the search index anew, while the old one answers",
        "Operation",
        "admin",
        "search",
    ),
    Route(
        "GET",
        "/v1/explorer",
        "explore",
        "explore",
        Explore,
        Exploration,
        "A stretch of the log, with conversations, inboxes, consumers and devices beside it",
        "Operation",
        "admin",
        "explorer",
    ),
    Route(
        "GET",
        "/v1/explorer/{seq}",
        "follow",
        "follow",
        Follow,
        Way,
        "The way of one message: which consumers, inboxes and devices it has reached",
        "Operation",
        "admin",
        "explorer",
    ),
    Route(
        "GET",
        "/v1/webhooks",
        "webhooks",
        "webhooks",
        None,
        EndpointList,
        "How far webhook endpoints have come, and what they would not take",
        "Operation",
        "admin",
        "webhooks",
    ),
    Route(
        "POST",
        "/v1/webhooks/replay",
        "replay",
        "replay",
        Replay,
        EndpointList,
        "Tell a webhook endpoint again what was parked, or all from a SeqId on",
        "Operation",
        "admin",
        "webhooks",
    ),
    Route(
        "POST",
        "/v1/snapshot",
        "snapshot",
        "snapshot",
        None,
        Snapshot,
        "Make a snapshot of the store in the data directory, for a backup",
        "Operation",
        "admin",
        "backups",
    ),
    Route(
        "DELETE",
        "/v1/snapshot",
        "release",
        "release",
        None,
        Health,
        "Remove the snapshot",
        "Operation",
        "admin",
        "backups",
    ),
    Route("GET", "/healthz", "health", "health", None, Health, "Alive?", "Operation", "anyone"),
    Route(
        "GET",
        "/readyz",
        "ready",
        "ready",
        None,
        Readiness,
        "Ready for traffic? 503: no, and why",
        "Operation",
        "anyone",
    ),
    Route(
        "GET",
        "/metrics",
        "metrics",
        "metrics",
        None,
        "text/plain",
        "Prometheus metrics",
        "Operation",
        "anyone",
    ),
    Route(
        "GET",
        "/openapi.json",
        "openapi",
        "openapi",
        None,
        "application/json",
        "This document",
        "Documentation",
        "anyone",
    ),
    Route(
        "GET",
        "/docs",
        "docs",
        "docs",
        None,
        "text/html",
        "This document, to read and to try",
        "Documentation",
        "anyone",
    ),
    Route(
        "GET",
        "/docs/rapidoc.js",
        "script",
        "script",
        None,
        "text/javascript",
        "What that page loads",
        "Documentation",
        "anyone",
    ),
)
"""Every path there is over HTTP, beside the WebSocket's."""
