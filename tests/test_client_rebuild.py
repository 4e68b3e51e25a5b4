"""What a device fetches after a reset, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from timewire import asking
from timewire import protocol as wire
from timewire.client.events import Acked, Received
from timewire.client.queries import PAGE_ENTRIES
from timewire.client.rebuild import rebuild
from timewire.client.store import Change, MemoryStore
from timewire.errors import error
from timewire.model import Message, Seq


def message(seq: int, sender: str = "bob", conversation: str = "team") -> Message:
    return Message(conversation, seq, 1000 + seq, sender, f"m{seq}", "text", {})


class Library:
    """Answers queries from messages, as the server does."""

    def __init__(self, *messages: Message, closed: str = "") -> None:
        self.messages = messages
        self.closed = closed
        self.asked: list[str] = []

    async def ask(self, query: Any, kind: Any) -> Any:
        names = sorted({one.conversation for one in self.messages})
        if isinstance(query, asking.ListConversations):
            names = [name for name in names if name > query.after]
            listed = [self.state(name) for name in names[: query.limit]]
            return wire.ConversationPage(query.id, listed, len(names) > query.limit)
        assert isinstance(query, asking.GetHistory)
        self.asked.append(query.conversation)
        if query.conversation == self.closed:
            raise error("not_member", conversation=self.closed)
        found = self.newest_first(query.conversation)[: query.limit]
        raw = [msgspec.Raw(msgspec.json.encode(one)) for one in found]
        return wire.HistoryPage(query.id, query.conversation, raw, False)

    def newest_first(self, name: str) -> list[Message]:
        found = [one for one in self.messages if one.conversation == name]
        return sorted(found, key=lambda one: one.seq, reverse=True)

    def state(self, name: str) -> wire.ConversationState:
        last = self.newest_first(name)[0]
        return wire.ConversationState(name, "group", "", True, 3, 0, last)


async def rebuilt(library: Library, store: MemoryStore) -> tuple[list[Message], dict[str, Seq]]:
    """The messages and marks that a rebuild fetches for alice."""
    messages: list[Message] = []
    marks: dict[str, Seq] = {}

    async def fetched(
        some: Sequence[Message], read: dict[str, Seq], begins: dict[str, Seq]
    ) -> None:
        messages.extend(some)
        marks.update(read)

    await rebuild(library.ask, store, "alice", fetched)
    return messages, marks


async def test_the_newest_page_comes_oldest_first_with_the_mark() -> None:
    library = Library(*[message(seq) for seq in range(1, PAGE_ENTRIES + 51)])
    messages, marks = await rebuilt(library, MemoryStore())
    assert [one.seq for one in messages] == list(range(51, PAGE_ENTRIES + 51))
    assert marks == {"team": 3}


async def test_a_conversation_without_news_is_not_asked_for_but_its_mark_is_taken() -> None:
    library = Library(message(1), message(2), message(3, conversation="other"))
    store = MemoryStore()
    store.apply(Change(arrivals=[Received(message(1)), Received(message(2))]))
    messages, marks = await rebuilt(library, store)
    assert library.asked == ["other"]
    assert [one.seq for one in messages] == [3]
    assert marks == {"team": 3, "other": 3}


async def test_one_s_own_newest_message_does_not_hide_what_was_missed_before_it() -> None:
    library = Library(message(1), message(2), message(3, "alice"))
    store = MemoryStore()
    # The ack came while 2 was still on its way.
    store.apply(Change(arrivals=[Received(message(1)), Acked(message(3, "alice"))]))
    messages, _ = await rebuilt(library, store)
    assert [one.seq for one in messages] == [1, 2, 3]


async def test_what_was_sent_meanwhile_does_not_hide_what_was_missed_before_it() -> None:
    library = Library(message(1), message(2))
    store = MemoryStore()
    # Acked after the server had listed the conversation, whose newest message was 2 then.
    store.apply(Change(arrivals=[Received(message(1)), Acked(message(3, "alice"))]))
    messages, _ = await rebuilt(library, store)
    assert [one.seq for one in messages] == [1, 2]


async def test_a_conversation_that_is_lost_meanwhile_is_passed_over() -> None:
    library = Library(message(1, conversation="a"), message(2, conversation="b"), closed="a")
    messages, marks = await rebuilt(library, MemoryStore())
    assert library.asked == ["a", "b"]
    assert [one.seq for one in messages] == [2]
    assert marks == {"b": 3}


async def test_all_conversations_are_looked_at_however_many() -> None:
    names = [f"group{number:04}" for number in range(PAGE_ENTRIES * 2 + 1)]
    library = Library(*[message(seq, conversation=name) for seq, name in enumerate(names, 1)])
    messages, _ = await rebuilt(library, MemoryStore())
    assert [one.conversation for one in messages] == names
