"""Questions about what is stored: history, conversations, members.  All within one's windows.

Nothing here changes anything, and nothing needs fan-out: history reaches up to the durable head.
"""

from __future__ import annotations

from heapq import nsmallest
from typing import Final

import msgspec

from timewire.asking import (
    GetHistory,
    ListBans,
    ListConversations,
    ListLinks,
    ListMembers,
    ReadBy,
    Reading,
)
from timewire.changes import as_left, was_changed
from timewire.clock import Clock, wall_clock
from timewire.conversation import Conversation
from timewire.directory import Directory, Membership
from timewire.errors import error
from timewire.model import (
    SELF,
    Entry,
    Seq,
    Window,
    decode_message,
    decode_stored,
    message_head,
    shown_json,
)
from timewire.protocol import (
    BanPage,
    ConversationPage,
    ConversationState,
    HistoryPage,
    LinkPage,
    LinkState,
    MemberPage,
    ReaderPage,
    WhyEmpty,
)
from timewire.rules import check_staff
from timewire.timeline import TimelineStore
from timewire.unread import Count, Unread

Answer = HistoryPage | ConversationPage | MemberPage | BanPage | LinkPage | ReaderPage

MAX_RECEIPT_MEMBERS: Final = 500
"""Of a group in which it is told who has read a message."""

MAX_ANSWER_BYTES: Final = 256 * 1024
"""Bytes of messages in one page: it ends early, after at least one."""


class Queries:
    """Answers from the message store and the directory."""

    def __init__(
        self,
        messages: TimelineStore,
        directory: Directory,
        clock: Clock = wall_clock,
        *,
        page_entries: int,
    ) -> None:
        self._messages = messages
        self._directory = directory
        self._clock = clock
        self._page_entries = page_entries
        self._unread = Unread(messages, directory, clock)

    async def answer(self, user: str, query: Reading) -> Answer:
        """The answer to a user's question.  Raises what is wrong with it."""
        if not 1 <= query.limit <= self._page_entries:
            raise error("bad_limit", limit=query.limit, largest=self._page_entries)
        match query:
            case GetHistory():
                return await self._history(user, query)
            case ListConversations():
                return await self._conversations(user, query)
            case ListMembers():
                return await self._members(user, query)
            case ListBans():
                return await self._bans(user, query)
            case ListLinks():
                return await self._links(user, query)
            case ReadBy():
                return await self._readers(user, query)

    async def _history(self, user: str, query: GetHistory) -> HistoryPage:
        conversation = await self._conversation_of(user, query.conversation)
        if query.after is not None and query.before is not None:
            raise error("bad_range")
        if (query.after or 0) < 0 or (query.before or 0) < 0:
            raise error("bad_range")
        found = await self._find(user, conversation, query.after, query.before, query.limit + 1)
        head = message_head(query.conversation)
        page: list[msgspec.Raw] = []
        size = 0
        for entry in found[: query.limit]:
            size += len(entry.payload)
            if page and size > MAX_ANSWER_BYTES:
                break
            page.append(self._show(head, entry))
        why = None if found else _why_empty(conversation, user, query)
        return HistoryPage(query.id, query.conversation, page, len(found) > len(page), why)

    async def _find(
        self,
        user: str,
        conversation: Conversation,
        after: Seq | None,
        before: Seq | None,
        wanted: int,
    ) -> list[Entry]:
        """Messages that a user may read and has not hidden, in the order asked for."""
        name, left = conversation.name, conversation.left(user)
        windows = conversation.readable(user)
        found: list[Entry] = []
        while len(found) < wanted:
            missing = wanted - len(found)
            if after is not None:
                some = await self._forward(name, windows, after, missing)
                after = some[-1].seq if some else after
            else:
                some = await self._backward(name, windows, before, missing)
                before = some[-1].seq if some else before
            hidden = await self._directory.hidden(user, name, [entry.seq for entry in some])
            found += [_as_left(entry, left) for entry in some if entry.seq not in hidden]
            if len(some) < missing:
                break
        return found

    def _show(self, head: bytes, entry: Entry) -> msgspec.Raw:
        return msgspec.Raw(shown_json(head, entry, self._clock()))

    async def _forward(
        self, name: str, windows: list[Window], after: Seq, limit: int
    ) -> list[Entry]:
        found: list[Entry] = []
        for window in windows:
            if len(found) < limit and (not window.left or window.left > after):
                start = max(after, window.joined - 1)
                page = await self._messages.scan(
                    name, after=start, upto=window.left or None, limit=limit - len(found)
                )
                found += page.entries
        return found

    async def _backward(
        self, name: str, windows: list[Window], before: Seq | None, limit: int
    ) -> list[Entry]:
        found: list[Entry] = []
        for window in reversed(windows):
            ends = [end for end in (before, window.left + 1 if window.left else None) if end]
            if len(found) < limit and (before is None or before > window.joined):
                page = await self._messages.scan_back(
                    name,
                    before=min(ends, default=None),
                    downto=window.joined,
                    limit=limit - len(found),
                )
                found += page.entries
        return found

    async def _conversations(self, user: str, query: ListConversations) -> ConversationPage:
        found = await self._directory.memberships(user, after=query.after, limit=query.limit + 1)
        states: list[ConversationState] = []
        size = 0
        for one in found[: query.limit]:
            conversation = await self._conversation_of(user, one.conversation)
            newest = await self._find(user, conversation, None, None, 1)
            size += sum(len(entry.payload) for entry in newest)
            if states and size > MAX_ANSWER_BYTES:
                break
            states.append(await self._state(user, one, conversation, newest))
        return ConversationPage(query.id, states, len(found) > len(states))

    async def _state(
        self, user: str, mine: Membership, conversation: Conversation, newest: list[Entry]
    ) -> ConversationState:
        # Nobody reads all of a room.
        room, own = conversation.kind == "room", conversation.kind == "self"
        count = Count(0, 0) if room else await self._unread.count(user, mine)
        head = message_head(conversation.name)
        return ConversationState(
            conversation.name,
            conversation.kind,
            conversation.title,
            conversation.is_member(user),
            mine.read,
            count.unread,
            decode_message(self._show(head, newest[0])) if newest else None,
            count.mentioned,
            conversation.role(user),
            conversation.history,
            conversation.invite,
            conversation.pins.copy(),
            conversation.muted.get(user, 0),
            conversation.mention_all,
            (await self._directory.settings(user)).presence if own else "all",
        )

    async def _members(self, user: str, query: ListMembers) -> MemberPage:
        conversation = await self._conversation_of(user, query.conversation)
        if not conversation.is_member(user):
            raise error("not_member", conversation=conversation.name)
        found = await self._directory.members(
            conversation.name, after=query.after, limit=query.limit + 1
        )
        page = found[: query.limit]
        return MemberPage(
            query.id,
            conversation.name,
            page,
            len(found) > query.limit,
            {user: conversation.roles[user] for user in page if user in conversation.roles},
            {user: conversation.muted[user] for user in page if user in conversation.muted},
        )

    async def _bans(self, user: str, query: ListBans) -> BanPage:
        if query.conversation == SELF + user:
            wanted = query.limit + 1
            blocked = await self._directory.blocked(user, after=query.after, limit=wanted)
            more = len(blocked) > query.limit
            return BanPage(query.id, query.conversation, blocked[: query.limit], more)
        conversation = await self._conversation_of(user, query.conversation)
        check_staff(conversation, user)
        page = nsmallest(query.limit + 1, (u for u in conversation.banned if u > query.after))
        more = len(page) > query.limit
        return BanPage(query.id, conversation.name, page[: query.limit], more)

    async def _links(self, user: str, query: ListLinks) -> LinkPage:
        conversation = await self._conversation_of(user, query.conversation)
        check_staff(conversation, user)
        links = conversation.links
        page = nsmallest(query.limit + 1, (name for name in links if name > query.after))
        states = [
            LinkState(name, one.role, one.uses, one.used, one.expires)
            for name in page[: query.limit]
            for one in [links[name]]
        ]
        return LinkPage(query.id, conversation.name, states, len(page) > query.limit)

    async def _readers(self, user: str, query: ReadBy) -> ReaderPage:
        conversation = await self._conversation_of(user, query.conversation)
        if conversation.size() > MAX_RECEIPT_MEMBERS:
            raise error("group_too_large", limit=MAX_RECEIPT_MEMBERS)
        entry = None
        if any(window.holds(query.seq) for window in conversation.readable(user)):
            entry = await self._messages.get(conversation.name, query.seq)
        if entry is None:
            raise error("unknown_message", conversation=conversation.name, seq=query.seq)
        author = decode_stored(entry.payload).sender if entry.payload else ""
        readers = [
            one
            for one in sorted(conversation.present())
            if one > query.after
            and one != author
            and await self._directory.read_mark(one, conversation.name) >= query.seq
        ]
        page = readers[: query.limit]
        return ReaderPage(query.id, conversation.name, query.seq, page, len(readers) > len(page))

    async def _conversation_of(self, user: str, name: str) -> Conversation:
        conversation = await self._directory.conversation(name)
        if conversation is None:
            raise error("unknown_conversation", conversation=name[:300])
        if user not in conversation.windows:
            raise error("not_member", conversation=name)
        return conversation


def _as_left(entry: Entry, left: Seq) -> Entry:
    if not left or not was_changed(entry.payload):
        return entry
    return msgspec.structs.replace(entry, payload=as_left(entry.payload, left))


def _why_empty(conversation: Conversation, user: str, query: GetHistory) -> WhyEmpty | None:
    """Why there is nothing to show where there are messages."""
    windows = conversation.readable(user)
    if query.before is not None and query.before <= windows[0].joined > conversation.created:
        return "before_joining"
    if query.after is not None and 0 < windows[-1].left <= query.after:
        return "after_leaving"
    return None
