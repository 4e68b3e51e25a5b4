"""Questions about what is stored: history, conversations, members.  All within one's windows.

Nothing here changes anything, and nothing needs fan-out: history reaches up to the durable head.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec

from timewire.directory import Directory, Membership
from timewire.errors import error
from timewire.model import (
    CONTROL_KINDS,
    MAX_PAGE_ENTRIES,
    Conversation,
    Entry,
    Seq,
    Window,
    decode_message,
    message_head,
    message_json,
)
from timewire.protocol import (
    ConversationPage,
    ConversationState,
    GetHistory,
    HistoryPage,
    ListConversations,
    ListMembers,
    MemberPage,
)
from timewire.timeline import TimelineStore

MAX_COUNTS_KEPT: Final = 100_000
"""Unread counts that are remembered, so that the next one only reads what is new."""

MAX_ANSWER_BYTES: Final = 256 * 1024
"""Bytes of messages in one page: it ends early, after at least one."""


class Queries:
    """Answers from the message store and the directory."""

    def __init__(self, messages: TimelineStore, directory: Directory, *, page_entries: int) -> None:
        self._messages = messages
        self._directory = directory
        self._page_entries = page_entries
        self._unread = Unread(messages)

    async def answer(
        self, user: str, query: GetHistory | ListConversations | ListMembers
    ) -> HistoryPage | ConversationPage | MemberPage:
        """The answer to a user's question.  Raises what is wrong with it."""
        if not 1 <= query.limit <= self._page_entries:
            raise error("bad_limit", limit=query.limit, largest=self._page_entries)
        if isinstance(query, GetHistory):
            return await self._history(user, query)
        if isinstance(query, ListConversations):
            return await self._conversations(user, query)
        return await self._members(user, query)

    async def _history(self, user: str, query: GetHistory) -> HistoryPage:
        conversation = await self._conversation_of(user, query.conversation)
        windows = conversation.windows[user]
        if query.after is not None and query.before is not None:
            raise error("bad_range")
        if (query.after or 0) < 0 or (query.before or 0) < 0:
            raise error("bad_range")
        wanted = query.limit + 1
        if query.after is not None:
            found = await self._forward(query.conversation, windows, query.after, wanted)
        else:
            found = await self._backward(query.conversation, windows, query.before, wanted)
        head = message_head(query.conversation)
        page: list[msgspec.Raw] = []
        size = 0
        for entry in found[: query.limit]:
            size += len(entry.payload)
            if page and size > MAX_ANSWER_BYTES:
                break
            page.append(_show(head, entry))
        return HistoryPage(query.id, query.conversation, page, len(found) > len(page))

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
            newest = await self._backward(one.conversation, one.windows, None, 1)
            size += sum(len(entry.payload) for entry in newest)
            if states and size > MAX_ANSWER_BYTES:
                break
            states.append(await self._state(user, one, newest))
        return ConversationPage(query.id, states, len(found) > len(states))

    async def _state(self, user: str, mine: Membership, newest: list[Entry]) -> ConversationState:
        conversation = await self._directory.conversation(mine.conversation)
        if conversation is None:
            raise error("unknown_conversation", conversation=mine.conversation)
        return ConversationState(
            conversation.name,
            conversation.kind,
            conversation.title,
            conversation.is_member(user),
            mine.read,
            await self._unread.count(user, mine),
            decode_message(_show(message_head(conversation.name), newest[0])) if newest else None,
        )

    async def _members(self, user: str, query: ListMembers) -> MemberPage:
        conversation = await self._conversation_of(user, query.conversation)
        if not conversation.is_member(user):
            raise error("not_member", conversation=conversation.name)
        found = await self._directory.members(
            conversation.name, after=query.after, limit=query.limit + 1
        )
        return MemberPage(
            query.id, conversation.name, found[: query.limit], len(found) > query.limit
        )

    async def _conversation_of(self, user: str, name: str) -> Conversation:
        conversation = await self._directory.conversation(name)
        if conversation is None:
            raise error("unknown_conversation", conversation=name[:300])
        if user not in conversation.windows:
            raise error("not_member", conversation=name)
        return conversation


class _Counted(msgspec.Struct):
    mark: Seq
    upto: Seq
    unread: int


class _Author(msgspec.Struct, rename={"sender": "from"}):
    sender: str
    kind: str


class Unread:
    """Counts messages past a read mark, but not one's own and not the server's."""

    def __init__(self, messages: TimelineStore) -> None:
        self._messages = messages
        self._counts: OrderedDict[tuple[str, str], _Counted] = OrderedDict()
        self._author = msgspec.json.Decoder(_Author)

    async def count(self, user: str, mine: Membership) -> int:
        """How many messages the user has not read in one conversation; exact, however many."""
        key = (user, mine.conversation)
        known = self._counts.pop(key, None)
        if known is None or known.mark != mine.read:
            known = _Counted(mine.read, mine.read, 0)
        for window in mine.windows:
            await self._count_window(user, mine.conversation, window, known)
        self._counts[key] = known
        if len(self._counts) > MAX_COUNTS_KEPT:
            self._counts.popitem(last=False)
        return known.unread

    async def _count_window(self, user: str, name: str, window: Window, known: _Counted) -> None:
        more = not window.left or window.left > known.upto
        while more:
            after = max(known.upto, window.joined - 1)
            page = await self._messages.scan(
                name, after=after, upto=window.left or None, limit=MAX_PAGE_ENTRIES
            )
            for entry in page.entries:
                known.unread += self._counts_for(user, entry)
                known.upto = entry.seq
            more = page.has_more
            if more:
                await asyncio.sleep(0)

    def _counts_for(self, user: str, entry: Entry) -> bool:
        if not entry.payload:
            return False
        author = self._author.decode(entry.payload)
        return author.sender != user and author.kind not in CONTROL_KINDS


def _show(head: bytes, entry: Entry) -> msgspec.Raw:
    return msgspec.Raw(message_json(head, entry.seq, entry.time, entry.payload))
