"""Questions to the server, page by page: history, conversations, members, search."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol, TypeVar
from uuid import uuid4

import msgspec

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
from timewire.model import (
    ConversationKind,
    History,
    Inviters,
    Message,
    Role,
    Seq,
    decode_message,
)
from timewire.protocol import (
    BanPage,
    ConversationPage,
    ConversationState,
    DevicePage,
    DeviceState,
    HistoryPage,
    LinkPage,
    LinkState,
    MemberPage,
    Query,
    ReaderPage,
    SearchPage,
    WhyEmpty,
)

PAGE_ENTRIES: Final = 100
"""Asked for at a time, where the app does not say how many."""

SEARCH_HITS: Final = 20
"""Found at a time, where the app does not say how many."""

Page = TypeVar(
    "Page",
    HistoryPage,
    ConversationPage,
    MemberPage,
    BanPage,
    LinkPage,
    ReaderPage,
    SearchPage,
    DevicePage,
)


class Ask(Protocol):
    """Gets the answer to a query, over as many connections as it takes.

    Raises why it was refused.
    """

    async def __call__(self, query: Query, kind: type[Page], /) -> Page:
        """The answer, which is of this kind."""
        ...


class HistorySlice(msgspec.Struct, frozen=True):
    """Messages in the order asked for; ``has_more``: there are more in that direction.

    ``why``: there are messages, but one may not read them.
    """

    messages: list[Message]
    has_more: bool
    why: WhyEmpty | None = None


class Hit(msgspec.Struct, frozen=True):
    """A message that was found, and the part of its text to show.

    ``matches``: where in the snippet the words stand: ``snippet[start:end]`` for each pair.
    """

    message: Message
    snippet: str
    matches: list[tuple[int, int]]


class SearchSlice(msgspec.Struct, frozen=True):
    """What was found, in the order asked for, in everything up to the SeqId ``watermark``.

    ``next``: what to give as ``page`` for more; empty when there is nothing more.
    """

    hits: list[Hit]
    watermark: Seq
    next: str


class Conversation(msgspec.Struct, frozen=True):
    """A conversation as its member sees it; ``unread`` does not count one's own messages.

    ``member``: whether the user is one still.  ``read``: the SeqId up to which the user has read.
    ``mentioned``: how many of the unread messages speak to the user.  ``pins``: SeqIds of pinned
    messages.  ``muted``: until when (ms) the user may not say anything.
    """

    name: str
    kind: ConversationKind
    title: str
    member: bool
    read: Seq
    unread: int
    last: Message | None = None
    mentioned: int = 0
    role: Role = "member"
    history: History = "joined"
    invite: Inviters = "members"
    pins: list[Seq] = []
    muted: int = 0
    mention_all: Inviters = "members"


class Member(msgspec.Struct, frozen=True):
    """A member of a conversation; ``muted``: until when (ms) it may not say anything."""

    name: str
    role: Role = "member"
    muted: int = 0


def new_id() -> str:
    """An id that nobody else has."""
    return uuid4().hex


async def history(
    ask: Ask,
    conversation: str,
    *,
    after: Seq | None = None,
    before: Seq | None = None,
    limit: int = PAGE_ENTRIES,
) -> HistorySlice:
    """Messages past ``after``, oldest first, or below ``before`` (or all), newest first."""
    query = GetHistory(new_id(), conversation, after, before, limit)
    page = await ask(query, HistoryPage)
    return HistorySlice([decode_message(raw) for raw in page.messages], page.has_more, page.why)


async def scroll(
    ask: Ask, conversation: str, *, after: Seq | None = None, before: Seq | None = None
) -> AsyncIterator[Message]:
    """All messages past ``after``, oldest first, or below ``before`` (or all), newest first."""
    more = True
    while more:
        page = await history(ask, conversation, after=after, before=before)
        for message in page.messages:
            yield message
        more = page.has_more and bool(page.messages)
        if more and after is not None:
            after = page.messages[-1].seq
        elif more:
            before = page.messages[-1].seq


async def conversations(ask: Ask) -> AsyncIterator[Conversation]:
    """All of the user's conversations, by name."""
    after, more = "", True
    while more:
        query = ListConversations(new_id(), after, PAGE_ENTRIES)
        page = await ask(query, ConversationPage)
        for state in page.conversations:
            yield _conversation(state)
            after = state.conversation
        more = page.has_more and bool(page.conversations)


async def members(ask: Ask, conversation: str) -> AsyncIterator[Member]:
    """All present members of a conversation, by name."""
    after, more = "", True
    while more:
        page = await ask(ListMembers(new_id(), conversation, after, PAGE_ENTRIES), MemberPage)
        for name in page.members:
            yield Member(name, page.roles.get(name, "member"), page.muted.get(name, 0))
            after = name
        more = page.has_more and bool(page.members)


async def bans(ask: Ask, conversation: str) -> AsyncIterator[str]:
    """Who may not be a member of a group, by name."""
    after, more = "", True
    while more:
        page = await ask(ListBans(new_id(), conversation, after, PAGE_ENTRIES), BanPage)
        for after in page.users:
            yield after
        more = page.has_more and bool(page.users)


async def links(ask: Ask, conversation: str) -> AsyncIterator[LinkState]:
    """The invite links of a group, by name."""
    after, more = "", True
    while more:
        page = await ask(ListLinks(new_id(), conversation, after, PAGE_ENTRIES), LinkPage)
        for one in page.links:
            yield one
            after = one.link
        more = page.has_more and bool(page.links)


async def readers(ask: Ask, conversation: str, seq: Seq) -> AsyncIterator[str]:
    """The members who have read a message, by name."""
    after, more = "", True
    while more:
        page = await ask(ReadBy(new_id(), conversation, seq, after, PAGE_ENTRIES), ReaderPage)
        for name in page.readers:
            yield name
            after = name
        more = page.has_more and bool(page.readers)


async def search(ask: Ask, query: Search) -> SearchSlice:
    """A page of messages that were found."""
    page = await ask(query, SearchPage)
    hits = [Hit(decode_message(one.message), one.snippet, one.matches) for one in page.hits]
    return SearchSlice(hits, page.watermark, page.next)


def _conversation(state: ConversationState) -> Conversation:
    return Conversation(
        state.conversation,
        state.kind,
        state.title,
        state.member,
        state.read,
        state.unread,
        state.last,
        state.mentioned,
        state.role,
        state.history,
        state.invite,
        state.pins,
        state.muted,
        state.mention_all,
    )


async def devices(ask: Ask, *, log_out: str | None = None) -> list[DeviceState]:
    """The user's devices, after logging out one of them if that is asked for."""
    query = ListDevices(new_id()) if log_out is None else LogOut(new_id(), log_out)
    return (await ask(query, DevicePage)).devices
